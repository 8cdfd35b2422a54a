"""Live figures of models, from rows of predictions.

N predictions.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import asdict
from operator import attrgetter
from typing import Any

import numpy as np
from cachetools import TTLCache, cachedmethod

from carot.calibration.monitoring.delays import Delays, delays
from carot.calibration.monitoring.live import (
    LiveAccuracy,
    LiveCalibration,
    Watched,
    live_accuracy,
    live_calibration,
)
from carot.calibration.sets.evidence import EvidenceTable
from store.database import Database
from store.models.evidence import Served
from store.monitoring.statistics import MAX_MODELS
from store.predictions.log import Window, read_window

FRESH_SECONDS = 30.0
LATELY = 1000
"""Labelled predictions that `/metrics` looks at."""


def live(rows: Sequence[Any], reference: EvidenceTable | None) -> LiveCalibration | None:
    """Figures of the rows that `read_window` gives; None without any."""
    return live_calibration(watched(rows), reference) if rows else None


def delays_of(rows: Sequence[Any]) -> Delays | None:
    """How long the labels of the rows that `read_window` gives took; None without any."""
    labelled = [row for row in rows if row.truth is not None]
    if not labelled:
        return None
    return delays(
        np.array([row.confidence for row in labelled], dtype=np.float64),
        np.array([row.truth == row.class_index for row in labelled], dtype=np.bool_),
        np.array([_seconds(row) for row in labelled], dtype=np.float64),
    )


def _seconds(row: Any) -> float:
    # By the clocks of two processes: a label may seem to come before its prediction.
    seconds: float = (row.given_at - row.created_at).total_seconds()
    return max(0.0, seconds)


def watched(rows: Sequence[Any]) -> Watched:
    """The rows that `read_window` gives as arrays."""
    right = [-1 if row.truth is None else row.truth == row.class_index for row in rows]
    shift = [np.nan if row.shift is None else row.shift for row in rows]
    return Watched(
        confidence_N=np.array([row.confidence for row in rows], dtype=np.float64),
        raw_confidence_N=np.array([row.raw_confidence for row in rows], dtype=np.float64),
        shift_N=np.array(shift, dtype=np.float64),
        correct_N=np.array(right, dtype=np.int8),
        weight_N=1.0 / np.array([row.log_rate for row in rows], dtype=np.float64),
    )


class LiveFigures:
    """Live figures for `/metrics`, worked out again when they are some age."""

    def __init__(self, database: Database, seconds: float = FRESH_SECONDS) -> None:
        self._database = database
        self._known: TTLCache[Served, LiveAccuracy | None] = TTLCache(MAX_MODELS, seconds)
        self._lock = threading.Lock()

    @cachedmethod(attrgetter("_known"), lock=attrgetter("_lock"))
    def read(self, served: Served) -> LiveAccuracy | None:
        """Figures of the newest labels of an alias; None without any."""
        window = Window(**asdict(served), last=LATELY)
        with self._database.reading() as session:
            rows = read_window(session, window, labelled=True)
        return live_accuracy(watched(rows)) if rows else None
