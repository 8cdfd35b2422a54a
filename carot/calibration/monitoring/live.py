"""How calibrated the answers of a window were, and what can be said before labels arrive.

Loads torch only when something is measured. Shape suffix: N logged predictions, in time order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from carot.calibration.metrics.intervals import Interval, wilson_interval
from carot.calibration.metrics.numbers import BINS, Bin, Numbers
from carot.calibration.monitoring.drift import (
    Drift,
    confidence_drift,
    effective_number,
    shift_drift,
)
from carot.calibration.sets.evidence import EvidenceTable
from carot.errors import CalibrationError

UNKNOWN = -1


@dataclass(frozen=True)
class Watched:
    """Logged predictions, one row each.

    Attributes:
        confidence_N: float64, of the top class, as it was served.
        raw_confidence_N: float64, of the same answer before any calibrator.
        shift_N: float64, shift score from 0 to 1; NaN where there was none.
        correct_N: int8, 1 right, 0 wrong, −1 no label yet.
        weight_N: float64, 1 / the chance of being logged.
    """

    confidence_N: NDArray[np.float64]
    raw_confidence_N: NDArray[np.float64]
    shift_N: NDArray[np.float64]
    correct_N: NDArray[np.int8]
    weight_N: NDArray[np.float64]

    def take(self, chosen_N: NDArray[np.bool_]) -> Self:
        """Some of the rows."""
        return type(self)(
            self.confidence_N[chosen_N],
            self.raw_confidence_N[chosen_N],
            self.shift_N[chosen_N],
            self.correct_N[chosen_N],
            self.weight_N[chosen_N],
        )

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Which rows have a label."""
        labelled_N: NDArray[np.bool_] = self.correct_N != UNKNOWN
        return labelled_N


class LiveAccuracy(Numbers):
    """Accuracy and calibration of the answers that have a label.

    Where logging rates differ, every figure is weighted by 1 / rate, and intervals are those of as
    many images of equal weight as tell as much (Kish). It speaks for the unlabelled ones as well
    only if having a label says nothing about being right, given the confidence.
    """

    labels: int = Field(ge=1)
    effective_labels: float = Field(
        gt=0, description="Labels of equal weight that would tell as much; `labels` for one rate."
    )
    accuracy: float = Field(ge=0, le=1)
    accuracy_interval: Interval = Field(description="Wilson's 95 % interval.")
    mean_confidence: float = Field(ge=0, le=1)
    ece: float = Field(ge=0, le=1, description="15 equal-width bins, L1, as in the report.")
    ece_null_mean: float = Field(
        ge=0, description="Mean ECE if every answer were right with its confidence as the chance."
    )
    ece_null_p95: float = Field(
        ge=0, description="95th percentile of that; an ECE below it is no sign of miscalibration."
    )
    debiased_ece: float = Field(ge=0, le=1, description="Root of `debiased_squared`, at least 0.")
    debiased_squared: float = Field(
        ge=-1, le=1, description="Unbiased mean square calibration error, 15 bins of equal mass."
    )
    debiased_squared_interval: Interval = Field(description="Its asymptotic 95 % interval.")
    reliability: tuple[Bin, ...] = Field(description="15 equal-width bins, empty ones too.")


class LiveCalibration(Numbers):
    """What a window of logged predictions shows."""

    predictions: int = Field(ge=0, description="Logged predictions in the window.")
    labels: int = Field(ge=0, description="How many of them have a label.")
    expected_accuracy: float | None = Field(
        description="Mean confidence of all predictions of the window, labelled or not: what their "
        "accuracy would be **if confidences are still calibrated**. No check of that: only labels "
        "are. Null without predictions."
    )
    expected_accuracy_interval: Interval | None = Field(
        description="Where the accuracy of these very images lies 19 times of 20 in that case."
    )
    measured: LiveAccuracy | None = Field(description="From labels; null where there are none.")
    confidence_drift: Drift | None = Field(
        description="Raw confidences against the calibration images'; null without either."
    )
    shift_drift: Drift | None = Field(
        description="Shift scores against the calibration images'; null without either."
    )


def live_calibration(watched: Watched, reference: EvidenceTable | None) -> LiveCalibration:
    """Measure a window; `reference` holds the calibration images' raw confidences.

    Raises:
        CalibrationError: rows that do not fit together, confidences outside 0 to 1, weights of 0
            or less, outcomes other than 1, 0 and −1.
    """
    _check(watched)
    predictions = len(watched.confidence_N)
    if predictions == 0:
        return LiveCalibration(
            predictions=0,
            labels=0,
            expected_accuracy=None,
            expected_accuracy_interval=None,
            measured=None,
            confidence_drift=None,
            shift_drift=None,
        )
    import torch

    from carot.calibration.metrics.weighted import expected_accuracy

    confidence_N, weight_N = map(torch.from_numpy, (watched.confidence_N, watched.weight_N))
    expected, interval = expected_accuracy(confidence_N, weight_N)
    drifts = (None, None) if reference is None else _drifts(watched, reference)
    labelled = watched.take(watched.labelled)
    labels = len(labelled.correct_N)
    return LiveCalibration(
        predictions=predictions,
        labels=labels,
        expected_accuracy=expected,
        expected_accuracy_interval=interval,
        measured=live_accuracy(labelled) if labels else None,
        confidence_drift=drifts[0],
        shift_drift=drifts[1],
    )


def live_accuracy(labelled: Watched) -> LiveAccuracy:
    """Of rows that all have a label, one or more."""
    import torch

    from carot.calibration.metrics.bins import equal_mass_bins, equal_width_bins
    from carot.calibration.metrics.weighted import WeightedBins, weighted_chance_level

    confidence_N, weight_N = map(torch.from_numpy, (labelled.confidence_N, labelled.weight_N))
    correct_N = torch.from_numpy(labelled.correct_N == 1)
    width_N = equal_width_bins(confidence_N, BINS)
    width = WeightedBins.of(confidence_N, correct_N, weight_N, width_N, BINS)
    mass_N = equal_mass_bins(confidence_N, BINS)
    mass = WeightedBins.of(confidence_N, correct_N, weight_N, mass_N, BINS)
    null_mean, null_p95 = weighted_chance_level(confidence_N, weight_N)
    accuracy = min(1.0, float((width.share_B * width.accuracy_B).sum()))
    effective = effective_number(labelled.weight_N)
    square = mass.debiased_square()
    return LiveAccuracy(
        labels=len(correct_N),
        effective_labels=effective,
        accuracy=accuracy,
        accuracy_interval=wilson_interval(accuracy * effective, effective),
        mean_confidence=min(1.0, float((width.share_B * width.confidence_B).sum())),
        ece=width.error(),
        ece_null_mean=null_mean,
        ece_null_p95=null_p95,
        debiased_ece=max(0.0, square) ** 0.5,
        debiased_squared=square,
        debiased_squared_interval=mass.debiased_interval(),
        reliability=width.bars(),
    )


def _drifts(watched: Watched, reference: EvidenceTable) -> tuple[Drift, Drift | None]:
    confidences_M = np.array(reference.confidences)
    confidence = confidence_drift(watched.raw_confidence_N, watched.weight_N, confidences_M)
    scored_N = ~np.isnan(watched.shift_N)
    if not bool(scored_N.any()):
        return confidence, None
    scored = watched.take(scored_N)
    # Shift scores are percentiles among the images of the same calibration split.
    return confidence, shift_drift(scored.shift_N, scored.weight_N, len(confidences_M))


def _check(watched: Watched) -> None:
    columns = vars(watched)
    if len({column.shape for column in columns.values()}) != 1 or watched.correct_N.ndim != 1:
        shapes = {name: column.shape for name, column in columns.items()}
        raise CalibrationError(f"as many rows in every column are needed, not {shapes}")
    for name in ("confidence_N", "raw_confidence_N"):
        column = columns[name]
        if not bool(((column >= 0) & (column <= 1)).all()):
            raise CalibrationError("confidences are numbers from 0 to 1")
    if not bool((np.isfinite(watched.weight_N) & (watched.weight_N > 0)).all()):
        raise CalibrationError("weights are finite and above 0")
    if not bool(np.isin(watched.correct_N, (1, 0, UNKNOWN)).all()):
        raise CalibrationError("outcomes are 1, 0, or -1 where there is no label")
