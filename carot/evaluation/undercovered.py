"""Classes that prediction sets hold too rarely, though they hold enough on average. No torch."""

from __future__ import annotations

from carot.evaluation.reports import DatasetReport
from carot.warnings import CodedWarning

METHOD = "raps"
"""Whose sets answers have unless another is asked for."""
SHORT = 0.05
"""By how much the upper end of a class' interval must fall short of the coverage."""
NAMED = 5


def undercovered(row: DatasetReport) -> CodedWarning | None:
    """What to say of a data set in distribution; None where no class falls short by much."""
    for sets in row.sets:
        if sets.method != METHOD:
            continue
        short = [each for each in sets.classes if each.coverage_interval[1] < sets.asked - SHORT]
        if short and sets.measured is not None:
            listed = ", ".join(f"{each.coverage:.1%} of {each.name}" for each in short[:NAMED])
            more = f" and of {len(short) - NAMED} more too rarely" if len(short) > NAMED else ""
            return CodedWarning(
                code="sets_miss_classes",
                message=f"prediction sets for {sets.asked:g} hold {sets.measured.coverage:.1%} of "
                f"{row.name} on average, but {listed}{more}",
                names=tuple(each.name for each in short),
            )
    return None
