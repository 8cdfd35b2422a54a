"""Prometheus metrics of each model: served confidences, and the reported figures."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry, Histogram, Summary

CONFIDENCES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
LABELS = ("project", "model")
BY_CHECKPOINT = "(checkpoint)"
OTHERS = "(other)"
"""Brackets: no alias can have such a name."""
MAX_MODELS = 200


class Served:
    """Measurements by alias, of the checkpoint that it points to and of no other.

    An alias must exist when it is recorded; those that are gone are dropped by `keep`, and one that
    points elsewhere starts again, so that confidences of two checkpoints are never mixed. Labels
    are therefore no more than there are aliases, and at most `MAX_MODELS` in a project.
    """

    def __init__(self, registry: CollectorRegistry, seconds: Sequence[float]) -> None:
        self._lock = threading.Lock()
        self._checkpoints: dict[tuple[str, str], str] = {}
        self._seconds = Histogram(
            "carot_prediction_seconds",
            "Time from a request to its answer",
            LABELS,
            buckets=seconds,
            registry=registry,
        )
        self._confidence = Histogram(
            "carot_served_confidence",
            "Calibrated confidence in the top label",
            LABELS,
            buckets=CONFIDENCES,
            registry=registry,
        )
        self._raw_confidence = Summary(
            "carot_served_raw_confidence",
            "Confidence in the top label before calibration",
            LABELS,
            registry=registry,
        )

    def record(
        self,
        project: str,
        model: str | None,
        checkpoint: str,
        seconds: float,
        confidences: Sequence[tuple[float, float]],
    ) -> None:
        """Count one answered request.

        Args:
            model: the alias that was asked for; None when it was the checkpoint itself.
            confidences: (raw, calibrated) in the top label of each image, each 0 to 1.
        """
        with self._lock:
            if model is None:
                self._seconds.labels(project, BY_CHECKPOINT).observe(seconds)
                return
            key = (project, model)
            if key not in self._checkpoints and self._is_full(project):
                self._seconds.labels(project, OTHERS).observe(seconds)
                return
            if self._checkpoints.get(key, checkpoint) != checkpoint:
                self._drop(key)
            self._checkpoints[key] = checkpoint
            self._seconds.labels(*key).observe(seconds)
            for raw, calibrated in confidences:
                self._confidence.labels(*key).observe(calibrated)
                self._raw_confidence.labels(*key).observe(raw)

    def keep(self, current: Mapping[tuple[str, str], str]) -> None:
        """Drop whatever is not of these aliases and the checkpoints that they point to."""
        with self._lock:
            for key, checkpoint in list(self._checkpoints.items()):
                if current.get(key) != checkpoint:
                    self._drop(key)

    def models(self) -> list[tuple[str, str]]:
        """(project, alias) of all that have labels."""
        with self._lock:
            return list(self._checkpoints)

    def _is_full(self, project: str) -> bool:
        return sum(each == project for each, _ in self._checkpoints) >= MAX_MODELS

    def _drop(self, key: tuple[str, str]) -> None:
        del self._checkpoints[key]
        for measure in (self._seconds, self._confidence, self._raw_confidence):
            measure.remove(*key)
