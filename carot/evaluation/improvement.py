"""Whether a model is worth having: better than its start, and than the commonest class."""

from __future__ import annotations

from collections.abc import Sequence

from carot.evaluation.reports import DatasetReport
from carot.warnings import CodedWarning


def improvement_warnings(
    measured: Sequence[DatasetReport], before: Sequence[DatasetReport]
) -> list[CodedWarning]:
    """What the in-distribution row says against the model; nothing without such a row.

    Args:
        before: the same rows of the model that it started from, if they were measured.
    """
    row = next((each for each in measured if each.in_distribution), None)
    if row is None:
        return []
    start = next((each for each in before if each.in_distribution), None)
    found = [_against_commonest(row), None if start is None else _against_start(row, start)]
    return [each for each in found if each is not None]


def _against_commonest(row: DatasetReport) -> CodedWarning | None:
    share = row.commonest_share
    if share is None or row.raw.accuracy > share:
        return None
    message = (
        f"right on {row.raw.accuracy:.1%} of {row.name}: always answering its commonest class "
        f"would be right on {share:.1%}"
    )
    return CodedWarning(code="not_better_than_commonest_class", message=message)


def _against_start(row: DatasetReport, start: DatasetReport) -> CodedWarning | None:
    """More often right, or as often with likelier answers, is better."""
    if row.raw.accuracy > start.raw.accuracy:
        return None
    likelihoods = _likelihood(row), _likelihood(start)
    if row.raw.accuracy == start.raw.accuracy and likelihoods[0] < likelihoods[1]:
        return None
    message = (
        f"right on {row.raw.accuracy:.1%} of {row.name}, no more than the {start.raw.accuracy:.1%} "
        f"of the model that it started from (mean negative log-likelihood {likelihoods[0]:.3f} "
        f"against {likelihoods[1]:.3f})"
    )
    return CodedWarning(code="not_better_than_start", message=message)


def _likelihood(row: DatasetReport) -> float:
    return (row.calibrated or row.raw).nll
