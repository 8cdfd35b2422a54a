"""A stand-in until the branch `monitor` brings the real one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from carot.calibration.evidence import EvidenceTable
from carot.calibration.intervals import Interval, wilson_interval
from carot.calibration.numbers import Numbers


class Watched(NamedTuple):
    confidence_N: NDArray[np.float64]
    raw_confidence_N: NDArray[np.float64]
    shift_N: NDArray[np.float64]
    correct_N: NDArray[np.int8]
    weight_N: NDArray[np.float64]


class LiveCalibration(Numbers):
    predictions: int
    labels: int
    accuracy: float | None
    accuracy_interval: Interval | None
    ece: float | None
    expected_accuracy: float


def live_calibration(watched: Watched, reference: EvidenceTable | None) -> LiveCalibration:
    known = watched.correct_N >= 0
    n = int(known.sum())
    right = int(watched.correct_N[known].sum())
    c = watched.confidence_N[known]
    ece = abs(float((watched.correct_N[known] - c).mean())) if n else None
    return LiveCalibration(
        predictions=len(known),
        labels=n,
        accuracy=right / n if n else None,
        accuracy_interval=wilson_interval(right, n) if n else None,
        ece=ece,
        expected_accuracy=float(watched.confidence_N.mean()),
    )
