"""Fits a calibrator on collected labels; the alias uses it if it is better.

C classes, N labels. Torch is loaded with the first call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from api.models.routes import view
from api.monitoring.schemas import RecalibrationView, RefitKind
from api.monitoring.state import MonitoringState
from carot.calibration.calibrators.calibrator import AnyCalibrator, from_json
from carot.errors import CalibrationError
from carot.warnings import CodedWarning
from store.errors import Conflict
from store.models.aliases import get_alias, set_alias
from store.models.calibrators import add_version
from store.models.checkpoints import get_checkpoint
from store.predictions.log import MAX_LOGITS, Window, read_labelled
from store.tables import Checkpoint

if TYPE_CHECKING:
    from carot.calibration.monitoring.recalibration import Recalibration

SEED = 0
"""Of the division of labels: the same labels give the same answer."""


def recalibrate_model(
    state: MonitoringState, window: Window, kind: RefitKind | None, dry_run: bool
) -> RecalibrationView:
    """One recalibration of what an alias pointed to when `window` was made.

    No transaction is open while it is fitted. Then the new version is stored, and the alias is
    moved to it if it improves and the alias still points there.

    Raises:
        CalibrationError: too few labels to fit and to judge; `field` is `labels`.
        Conflict: the alias was moved meanwhile.
    """
    state.predictions.log.flush()
    with state.database.reading() as session:
        checkpoint = get_checkpoint(session, window.project, window.checkpoint_id)
        rows = read_labelled(session, window)
    classes = checkpoint.classes
    if len(classes) > MAX_LOGITS:
        message = f"logits are kept of models of up to {MAX_LOGITS} classes, not {len(classes)}"
        raise CalibrationError(message, field="labels")
    current = _current(state, window, checkpoint)
    found = _fit(rows, classes, current, _wanted(kind, current))
    version, moved = None, False
    with state.database.session() as session:
        if not dry_run:
            version, moved = _settle(session, window, found)
        model = view(get_alias(session, window.project, window.alias))
    return RecalibrationView(
        kind=found.calibrator.kind,
        fitted_on=found.fitted_on,
        held_out=found.held_out,
        nll_before=found.nll_current,
        nll_after=found.nll_new,
        gain=found.gain,
        gain_interval=found.gain_interval,
        gain_lower_bound=found.gain_lower_bound,
        improves=found.improves,
        warnings=tuple(_warnings(found)),
        moved=moved,
        calibrator_id=version,
        document=found.calibrator.to_json(),
        model=model,
    )


def _warnings(found: Recalibration) -> Iterator[CodedWarning]:
    from carot.calibration.calibrators.by_class import LEAST_OF_CLASS, named

    rare = found.rare_classes
    if rare:
        shown = named(rare, range(len(rare)))
        message = f"fitted to fewer than {LEAST_OF_CLASS} labels of {shown}"
        yield CodedWarning(code="calibration_lacks_classes", message=message, names=rare)
    if found.suppressed is not None:
        message = f"{found.calibrator.kind}: {found.suppressed}"
        yield CodedWarning(code="calibrator_hurts", message=message, names=(found.calibrator.kind,))


def _current(
    state: MonitoringState, window: Window, checkpoint: Checkpoint
) -> AnyCalibrator | None:
    if window.calibrator_id is not None:
        return state.models.calibrators.calibrator(window.calibrator_id)
    return None if checkpoint.calibrator is None else from_json(checkpoint.calibrator)


def _fit(
    rows: Sequence[Any], classes: Sequence[str], current: AnyCalibrator | None, kind: str
) -> Recalibration:
    import torch

    from carot.calibration.monitoring.recalibration import recalibrate

    return recalibrate(
        torch.from_numpy(_logits(rows, len(classes))),
        torch.tensor([row.truth for row in rows], dtype=torch.int64),
        current,
        kind,
        classes=classes,
        logit_scale=1.0 if current is None else current.logit_scale,
        seed=SEED,
    )


def _settle(session: Session, window: Window, found: Recalibration) -> tuple[str, bool]:
    """Store the new version, and let the alias use it if it is better; its id, and whether.

    Raises:
        Conflict: the alias was moved meanwhile; nothing is stored.
        NotFound: it was removed.
    """
    alias = get_alias(session, window.project, window.alias, lock=True)
    before = (window.checkpoint_id, window.calibrator_id)
    if (alias.checkpoint_id, alias.calibrator_id) != before:
        raise Conflict(f"{window.alias!r} was moved meanwhile; try again")
    version = add_version(
        session,
        window.project,
        window.checkpoint_id,
        found.calibrator.to_json(),
        nll_before=found.nll_current,
        nll_after=found.nll_new,
        held_out=found.model_dump(mode="json", exclude={"calibrator"}),
    )
    if found.improves:
        set_alias(session, window.project, window.alias, window.checkpoint_id, version.id)
    return version.id, found.improves


def _wanted(kind: RefitKind | None, current: AnyCalibrator | None) -> str:
    """The kind to fit: what is asked for, else the current one, if it needs no more than labels."""
    own = "" if current is None else current.kind
    return kind or (own if own in get_args(RefitKind) else "temperature")


def _logits(rows: Sequence[Any], classes: int) -> NDArray[np.float32]:
    """Shape (N, C)."""
    joined = b"".join(row.logits for row in rows)
    logits_NC = np.frombuffer(joined, dtype="<f4").reshape(len(rows), classes)
    return logits_NC.astype(np.float32)
