"""The statistics of `benchmarks/shift.py`: means over seeds, their intervals, paired tests."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from benchmarks.shift_suite import ID, PRINTED, SHIFTS

Measured = dict[str, Any]
"""What `Suite.measure` says of one checkpoint."""

SPLITS = {"ood": SHIFTS, "ood_handwritten": tuple(s for s in SHIFTS if s != PRINTED)}
"""The two averages under shift: with printed digits and without."""

COLUMNS = {
    "id_accuracy": "ID accuracy, %",
    "ood_accuracy": "OOD accuracy, %",
    "ood_handwritten_accuracy": "OOD accuracy, without printed, %",
    "id_ece": "ID ECE, %",
    "ood_ece": "OOD ECE, %",
    "ood_handwritten_ece": "OOD ECE, without printed, %",
    "id_calibrated_ece": "ID ECE after temperature, %",
    "ood_calibrated_ece": "OOD ECE after temperature, %",
    "ood_handwritten_calibrated_ece": "OOD ECE after temperature, without printed, %",
    "ood_ece_null_mean": "OOD ECE if calibrated, %",
    "ood_handwritten_ece_null_mean": "OOD ECE if calibrated, without printed, %",
    "sigma_min": "σ min",
}
"""What is shown. If calibrated: the mean ECE of perfectly calibrated confidences on these sets."""

LOWER_IS_BETTER = frozenset(name for name in COLUMNS if name.endswith("ece"))
NEITHER_IS_BETTER = frozenset(name for name in COLUMNS if name.endswith("null_mean"))


def row_of(measured: Measured) -> dict[str, float]:
    """The figures of one checkpoint, by the names of `COLUMNS`."""
    sets = measured["sets"]
    row = {"sigma_min": float(measured["sigma_min"])}
    for figure in ("accuracy", "ece", "calibrated_ece", "ece_null_mean"):
        row[f"id_{figure}"] = float(sets[ID][figure])
        for split, names in SPLITS.items():
            row[f"{split}_{figure}"] = statistics.fmean(sets[name][figure] for name in names)
    return row


@dataclass(frozen=True)
class Mean:
    """A mean over seeds and half the width of its 95 % interval (Student's t); 0 for one seed."""

    mean: float
    half: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean:
        """Raises ValueError where there are no values."""
        if not values:
            raise ValueError("no values")
        mean = statistics.fmean(values)
        if len(values) < 2:
            return cls(mean, 0.0)
        error = statistics.stdev(values) / math.sqrt(len(values))
        return cls(mean, float(stats.t.ppf(0.975, len(values) - 1)) * error)

    def text(self, *, factor: int, digits: int) -> str:
        """Such as `92.5 ± 0.3`; `factor` is 100 for percent."""
        text = f"{factor * self.mean:.{digits}f}"
        return f"{text} ± {factor * self.half:.{digits}f}" if self.half else text


@dataclass(frozen=True)
class Comparison:
    """The mean difference of paired runs (ours minus theirs) and Student's two-sided p.

    `p` is None where the pairs do not differ or there are fewer than two.
    """

    difference: float
    p: float | None

    @classmethod
    def of(cls, ours: Sequence[float], theirs: Sequence[float]) -> Comparison:
        """Pairs are runs of the same seed."""
        differences = [a - b for a, b in zip(ours, theirs, strict=True)]
        mean = statistics.fmean(differences)
        if len(differences) < 2 or max(differences) - min(differences) < 1e-12:
            return cls(mean, None)
        return cls(mean, float(stats.ttest_rel(ours, theirs).pvalue))

    def holds(self, *, lower: bool, level: float = 0.05) -> bool:
        """Whether ours is better than theirs, beyond chance."""
        better = self.difference < 0 if lower else self.difference > 0
        return better and self.p is not None and self.p < level


def column(rows: Sequence[dict[str, float]], name: str) -> list[float]:
    """One figure of every seed."""
    return [row[name] for row in rows]
