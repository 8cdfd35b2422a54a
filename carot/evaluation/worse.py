"""Whether a calibrator makes confidences worse than they are without one. Loads no torch."""

from __future__ import annotations

from collections.abc import Sequence

from carot.evaluation.reports import DatasetReport


def worse_than_raw(row: DatasetReport) -> str | None:
    """What the calibrator that is served does to a data set, in words; None if it looks no worse.

    Worse is a higher negative log-likelihood together with a higher ECE, which must lie above its
    chance level: either alone may be chance, or what a calibrator gives up for the other.
    """
    raw, served = row.raw, row.calibrated
    if served is None or served.nll <= raw.nll or served.ece <= raw.ece:
        return None
    if served.ece <= served.ece_null_p95:
        return None
    return (
        f"on {row.name} confidences are worse with it than without: ECE {raw.ece:.2%} raw, "
        f"{served.ece:.2%} calibrated (chance level {served.ece_null_p95:.2%}), negative "
        f"log-likelihood {raw.nll:.4f} raw, {served.nll:.4f} calibrated"
    )


def in_distribution(rows: Sequence[DatasetReport]) -> DatasetReport | None:
    """The row that a calibrator is made for; None where none was measured."""
    return next((row for row in rows if row.in_distribution), None)
