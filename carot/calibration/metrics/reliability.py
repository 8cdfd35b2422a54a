"""The bars of a reliability diagram. Shape suffixes: N images, C classes."""

from __future__ import annotations

from torch import Tensor

from carot.calibration.metrics.bins import BinStatistics, equal_width_bins
from carot.calibration.metrics.intervals import wilson_interval
from carot.calibration.metrics.metrics import top_label
from carot.calibration.metrics.numbers import BINS, Bin


def reliability(
    logits_NC: Tensor, labels_N: Tensor, bins: int = BINS, *, ranked_by: Tensor | None = None
) -> tuple[Bin, ...]:
    """Confidence and accuracy per equal-width bin; empty bins are there, with count 0.

    Args:
        ranked_by: see `compute_metrics`.

    Raises:
        CalibrationError: empty, misshapen or non-finite input, labels out of range.
    """
    confidence_N, correct_N = top_label(logits_NC, labels_N, ranked_by=ranked_by)
    bins_N = equal_width_bins(confidence_N, bins)
    return bars(BinStatistics.of(confidence_N, correct_N, bins_N, bins))


def bars(statistics: BinStatistics) -> tuple[Bin, ...]:
    """One bar per bin of `statistics`, taken as equal-width bins of [0, 1]."""
    bins = len(statistics.count_B)
    rows = zip(
        statistics.count_B.tolist(),
        statistics.confidence_B.tolist(),
        statistics.correct_B.tolist(),
        strict=True,
    )
    return tuple(
        Bin(
            lower=index / bins,
            upper=(index + 1) / bins,
            count=count,
            confidence=confidence / count if count else None,
            accuracy=correct / count if count else None,
            accuracy_interval=wilson_interval(correct, count) if count else None,
        )
        for index, (count, confidence, correct) in enumerate(rows)
    )
