"""Whether a calibrator makes confidences worse than they are without one. Loads no torch."""

from __future__ import annotations

from collections.abc import Sequence

from carot.evaluation.reports import DatasetReport

MUCH = 0.1


def worse_than_raw(row: DatasetReport) -> str | None:
    """What the calibrator that is served does to a data set, in words; None if it looks no worse.

    Worse is a higher negative log-likelihood with an ECE above its chance level, if that is higher,
    too, or the likelihood is by more than `MUCH`: either alone may be chance, or what a calibrator
    gives up for the other.
    """
    raw, served = row.raw, row.calibrated
    if served is None or served.nll <= raw.nll or served.ece <= served.ece_null_p95:
        return None
    if served.ece <= raw.ece and served.nll <= (1 + MUCH) * raw.nll:
        return None
    return (
        f"on {row.name} confidences are worse with it than without: ECE {raw.ece:.2%} raw, "
        f"{served.ece:.2%} calibrated (chance level {served.ece_null_p95:.2%}), negative "
        f"log-likelihood {raw.nll:.4f} raw, {served.nll:.4f} calibrated"
    )


def in_distribution(rows: Sequence[DatasetReport]) -> DatasetReport | None:
    """The row that a calibrator is made for; None where none was measured."""
    return next((row for row in rows if row.in_distribution), None)
