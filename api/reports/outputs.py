"""Report outputs: labels, logits and image names stored for each data set. No torch.

Shape suffixes: N images, K classes of the data set.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from anyio import to_thread
from cachetools import cached
from numpy.typing import NDArray
from pydantic import BaseModel

from api.datasets.unpacked import Bundle
from api.reports.state import ReportsState
from api.web.problems import Problem, invalid
from carot.calibration.calibrators.calibrator import AnyCalibrator, TemperatureCalibrator, from_json
from store.artifacts.rows import get_artifact
from store.errors import ArtifactCorrupt
from store.models.checkpoints import get_checkpoint
from store.reports.reports import get_report, newest_with_logits
from store.tables import Report

if TYPE_CHECKING:
    from torch import Tensor

Answer = TypeVar("Answer", bound=BaseModel)


@dataclass(frozen=True)
class Measured:
    """A report, read from its row.

    Attributes:
        rows: what its document says of each data set.
        logits: where those lie; None where they were not kept.
    """

    report_id: str
    checkpoint_id: str | None
    method: str
    classes: tuple[str, ...]
    calibrator: AnyCalibrator | None
    rows: tuple[Mapping[str, Any], ...]
    logits: Bundle | None

    def index(self, name: str | None) -> int:
        """Which row has this name; by default the one in distribution, else the first.

        Raises:
            Problem: 422, there is none.
        """
        if not self.rows:
            raise Problem(409, "conflict", f"{self.report_id} has no data sets")
        if name is None:
            return next((i for i, row in enumerate(self.rows) if row["in_distribution"]), 0)
        for i, row in enumerate(self.rows):
            if row["name"] == name:
                return i
        names = ", ".join(str(row["name"]) for row in self.rows[:20])
        raise invalid("dataset", f"the report has no data set of this name; it has {names}")


@dataclass(frozen=True)
class Outputs:
    """What a model made of one data set.

    Attributes:
        logits_NK: float32, restricted to the data set's classes.
        calibrated_NK: log-probabilities after the calibrator that is served, as measured; None
            where they were not kept.
        classes: the K names; numbers where they are not known.
    """

    keys: tuple[str, ...]
    labels_N: NDArray[np.int64]
    logits_NK: NDArray[np.float32]
    calibrated_NK: NDArray[np.float32] | None
    classes: tuple[str, ...]


def measured(state: ReportsState, project: str, report_id: str) -> Measured:
    """A report of a project.

    Raises:
        NotFound: the project has none of this id.
    """
    with state.database.reading() as session:
        row = get_report(session, project, report_id)
        logits = None
        if row.logits_artifact_id is not None:
            logits = Bundle.of(get_artifact(session, row.logits_artifact_id))
        return _read(row, logits)


def outputs(state: ReportsState, report: Measured, index: int) -> Outputs:
    """The kept logits of one of its data sets.

    Raises:
        Problem: 409, they were not kept.
        ArtifactError: they are missing or damaged.
    """
    if report.logits is None:
        raise Problem(409, "conflict", f"no logits were kept for {report.report_id}")
    with state.datasets.bundles.using(report.logits) as folder:
        try:
            with np.load(folder / f"{index}.npz", allow_pickle=False) as kept:
                found = {name: kept[name] for name in kept.files}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise ArtifactCorrupt(f"the logits of {report.report_id}: {error}") from error
    try:
        logits_NK = found["logits"].astype(np.float32)
        labels_N, keys = found["labels"].astype(np.int64), tuple(map(str, found["keys"]))
    except KeyError as error:
        raise ArtifactCorrupt(f"the logits of {report.report_id} lack {error}") from error
    count = logits_NK.shape[1]
    names = found["classes"].tolist() if "classes" in found else report.classes
    classes = tuple(names) if len(names) == count else tuple(map(str, range(count)))
    return Outputs(keys, labels_N, logits_NK, found.get("calibrated"), classes)


def newest_report(state: ReportsState, project: str, checkpoint_id: str) -> str:
    """The id of the newest report of a checkpoint that kept its logits.

    Raises:
        NotFound: the project has no such checkpoint.
        Problem: 422, nothing of it is stored.
    """
    with state.database.reading() as session:
        get_checkpoint(session, project, checkpoint_id)
        found = newest_with_logits(session, project, checkpoint_id)
    if found is None:
        raise invalid("checkpoint", f"no report of {checkpoint_id} kept its logits")
    return found


def calibrated(report: Measured, kept: Outputs) -> Tensor | None:
    """Log-probabilities after the calibrator that is served; loads torch.

    None without a calibrator, and where what it was measured to give does not follow from what was
    kept. That of a temperature always does. Others see all classes of the classifier, and more
    than the logits, so it does not where a data set has only some of them, or in domains.
    """
    from torch import from_numpy

    if kept.calibrated_NK is not None:
        return from_numpy(kept.calibrated_NK)
    calibrator = report.calibrator
    if calibrator is None:
        return None
    whole = len(kept.classes) == len(report.classes) and calibrator.kind != "domain_temperature"
    if not whole and not isinstance(calibrator, TemperatureCalibrator):
        return None
    return calibrator.log_probabilities(from_numpy(kept.logits_NK))


def ranked_by(report: Measured, kept: Outputs) -> Tensor | None:
    """Logits that say which class is on top of calibrated answers, as when they are served.

    None where the calibrator may put another one there; loads torch.
    """
    from torch import from_numpy

    if report.calibrator is None or not report.calibrator.keeps_ranking:
        return None
    return from_numpy(kept.logits_NK)


async def cached_answer(state: ReportsState, key: Hashable, make: Callable[[], Answer]) -> Answer:
    """An answer about kept logits; what is known already waits for nothing that is under way."""
    with state.lock:
        found = state.answers.get(key)
    if found is None:
        known = cached(state.answers, key=lambda: key, lock=state.lock)(make)
        found = await to_thread.run_sync(known, limiter=state.analyses)
    return cast(Answer, found)


def _read(row: Report, logits: Bundle | None) -> Measured:
    document = row.document
    calibrator = document.get("calibrator")
    return Measured(
        row.id,
        row.checkpoint_id,
        document.get("method", ""),
        tuple(document.get("classes", ())),
        None if calibrator is None else from_json(calibrator),
        tuple(document.get("datasets", ())),
        logits,
    )
