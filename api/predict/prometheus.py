"""Prometheus metrics of predictions. docs/operations.md lists every measurement."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from api.predict.prometheus_by_model import Served
from api.web.prometheus import SECONDS

SIZES = (1, 2, 4, 8, 16, 32, 64)
REFUSALS = ("unreadable", "too_large", "not_finite", "busy", "deadline", "gone")


class PredictionMeasures:
    """What predictions are made of: images, waits, passes of models.

    Attributes:
        refused: images that were not classified, by reason (`REFUSALS`).
        served: predictions by model.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.predictions = Counter("carot_predictions", "Images classified", registry=registry)
        self.refused = Counter(
            "carot_prediction_images_refused",
            "Images not classified",
            ["reason"],
            registry=registry,
        )
        self.wait_seconds = Histogram(
            "carot_prediction_wait_seconds",
            "Time that a decoded image waits for its pass of a model",
            buckets=SECONDS,
            registry=registry,
        )
        self.batch_sizes = Histogram(
            "carot_prediction_batch_images",
            "Images in one pass of a model",
            buckets=SIZES,
            registry=registry,
        )
        self.batch_seconds = Histogram(
            "carot_prediction_batch_seconds",
            "Time of one pass of a model",
            buckets=SECONDS,
            registry=registry,
        )
        self.loads = Counter("carot_model_loads", "Models loaded", ["outcome"], registry=registry)
        self.load_seconds = Histogram(
            "carot_model_load_seconds",
            "Time to load a model and warm it up",
            buckets=SECONDS,
            registry=registry,
        )
        self.served = Served(registry, SECONDS)
        for reason in REFUSALS:
            self.refused.labels(reason)
        for outcome in ("ready", "failed"):
            self.loads.labels(outcome)

    def batch(self, images: int, seconds: float) -> None:
        """Count one pass of a model."""
        self.predictions.inc(images)
        self.batch_sizes.observe(images)
        self.batch_seconds.observe(seconds)

    def load(self, seconds: float | None) -> None:
        """Count one model that is ready, or with None one that could not be loaded."""
        self.loads.labels("failed" if seconds is None else "ready").inc()
        if seconds is not None:
            self.load_seconds.observe(seconds)
