"""The threshold of prediction sets that follows the labels of a model."""

from __future__ import annotations

from anyio import to_thread

from api.models.targets import ModelTarget
from api.predict.schemas import LEAST_LABELS, PredictRequest
from api.predict.state import PredictionsState
from carot.answers.schemas import COVERAGE
from carot.calibration.monitoring.online_coverage import OnlineCoverage
from carot.errors import CalibrationError
from store.database import Database
from store.models.coverage import COVERAGES
from store.models.evidence import Served, coverages


async def online_of(
    state: PredictionsState, asked: PredictRequest, target: ModelTarget
) -> OnlineCoverage | None:
    """How it stands; None where it is not asked for, or a checkpoint was named itself.

    Args:
        target: what serves; its labels are followed, not those of what served before.

    Raises:
        CalibrationError: a coverage that no threshold is kept for, or too few labels; `field` is
            `coverage` or `set_method`.
    """
    if asked.set_method != "online" or asked.model is None:
        return None
    coverage = COVERAGE if asked.coverage is None else asked.coverage
    return await to_thread.run_sync(_read, state.database, Served(*target[:4]), coverage)


def _read(database: Database, who: Served, coverage: float) -> OnlineCoverage:
    if coverage not in COVERAGES:
        kept = " and ".join(map(str, COVERAGES))
        raise CalibrationError(
            f"thresholds follow labels for a coverage of {kept}, not of {coverage:g}",
            field="coverage",
        )
    with database.reading() as session:
        found = coverages(session, who)
    [online] = [each for each in found if each.coverage == coverage]
    if online.labels < LEAST_LABELS:
        raise CalibrationError(
            f"online sets need {LEAST_LABELS} labels, given since the model moved to predictions "
            f"whose logits are logged; there are {online.labels}",
            field="set_method",
        )
    return online
