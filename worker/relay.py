"""Collects the trainer's events, for the heartbeat to write them to the database."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import structlog
from pydantic import ValidationError
from sqlalchemy.orm import Session

from carot.events import (
    EVENT,
    AnyEvent,
    CandidateMeasured,
    CheckpointSaved,
    EvaluationDone,
    Failed,
    ImagesScored,
    PhaseStarted,
    PredictionsSaved,
    ReportSaved,
    SnapshotSaved,
    StepDone,
    ValidationMeasured,
    Warning,
    in_words,
)
from carot.warnings import CodedWarning
from store.database import Database
from store.jobs.claims import Claim, beat, record_event, record_metrics
from store.jobs.states import JobState
from store.jobs.warnings import add_warnings

log = structlog.get_logger("worker")
MAX_WARNINGS = 1000
MAX_NAME = 100


@dataclass(frozen=True)
class Note:
    """An event row to be."""

    type: str
    message: str
    level: str = "info"
    data: dict[str, Any] = field(default_factory=dict)


@dataclass
class _Batch:
    notes: list[Note] = field(default_factory=list)
    points: dict[tuple[str, int], float | None] = field(default_factory=dict)
    warnings: list[CodedWarning] = field(default_factory=list)
    progress: dict[str, Any] | None = None

    def __bool__(self) -> bool:
        return bool(self.notes or self.points or self.progress)

    def write(
        self, session: Session, held: Claim, lease_seconds: float, seconds: float
    ) -> JobState:
        state = beat(session, held, lease_seconds, self.progress, seconds)
        for note in self.notes:
            record_event(session, held, note.type, note.message, level=note.level, data=note.data)
        if self.warnings:
            add_warnings(session, held, self.warnings)
        points = [(step, name, value) for (name, step), value in self.points.items()]
        record_metrics(session, held, points)
        return state

    def followed_by(self, later: _Batch) -> _Batch:
        progress = later.progress if later.progress is not None else self.progress
        return _Batch(
            self.notes + later.notes,
            self.points | later.points,
            self.warnings + later.warnings,
            progress,
        )


class Relay:
    """Takes lines in one thread; another writes them with `flush`. Nothing waits for the database.

    Attributes:
        failure: the event with which the trainer gave up, if it did.
        snapshot: the newest snapshot the trainer wrote, if any.
    """

    def __init__(self) -> None:
        self.failure: Failed | None = None
        self.snapshot: SnapshotSaved | None = None
        self._lock = threading.Lock()
        self._saved = threading.Condition(self._lock)
        self._flushing = threading.Lock()
        self._batch = _Batch()
        self._progress: dict[str, Any] = {}
        self._warnings = 0
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return time.monotonic() - self._started

    def on_line(self, line: bytes) -> None:
        """Take one line of the trainer's output."""
        try:
            event = EVENT.validate_json(line)
        except ValidationError:
            log.warning("no_event", line=line[:200].decode("utf-8", "replace"))
            return
        with self._lock:
            self._take(event)

    def warn(self, warning: Warning) -> None:
        """Take a warning of the supervisor's own."""
        with self._lock:
            self._take(warning)

    def has_heard_of(self, step: int, *, within: float) -> bool:
        """Whether the trainer reports within some seconds that the snapshot of this step is saved.

        By then all is here that it has said of the steps up to that one.
        """

        def heard() -> bool:
            return self.snapshot is not None and self.snapshot.step >= step

        with self._saved:
            return self._saved.wait_for(heard, within)

    def flush(
        self, database: Database, held: Claim, lease_seconds: float, *, due: bool = True
    ) -> JobState | None:
        """Write what was collected and extend the lease, in one transaction.

        Args:
            due: extend the lease even when there is nothing to write.

        Returns:
            The job's state, or None when nothing was due.

        Raises:
            StaleFence: the job is no longer this worker's; nothing was written.
        """
        with self._flushing:
            with self._lock:
                batch, self._batch = self._batch, _Batch()
            if not batch and not due:
                return None
            try:
                with database.session() as session:
                    return batch.write(session, held, lease_seconds, self.seconds)
            except BaseException:
                with self._lock:
                    self._batch = batch.followed_by(self._batch)
                raise

    def _take(self, event: AnyEvent) -> None:
        match event:
            case StepDone():
                self._on_step(event)
            case PhaseStarted():
                self._progress = {"phase": event.phase, "step": 0, "total_steps": event.total}
                self._batch.progress = dict(self._progress)
                self._batch.notes.append(_note(event, event.phase))
            case EvaluationDone():
                self._progress |= {"step": event.index + 1, "total_steps": event.total}
                self._batch.progress = dict(self._progress)
                self._batch.notes.append(_note(event, event.dataset))
            case ImagesScored():
                self._progress |= {"step": event.images, "total_steps": event.total}
                self._batch.progress = dict(self._progress)
            case CandidateMeasured():
                self._on_candidate(event)
            case ValidationMeasured():
                self._on_validation(event)
            case SnapshotSaved():
                self.snapshot = event
                self._saved.notify_all()
            case Failed():
                self.failure = event
            case Warning():
                self._warnings += 1
                if self._warnings <= MAX_WARNINGS:
                    self._batch.notes.append(_note(event, event.message, level="warning"))
                    self._batch.warnings.append(event.coded())
            case CheckpointSaved() | ReportSaved() | PredictionsSaved():
                pass  # paths on this machine; the job's end tells what became of them

    def _on_candidate(self, event: CandidateMeasured) -> None:
        for name in ("accuracy", "nll", "calibration_error", "sigma_min"):
            value = event.model_dump()[name]
            self._batch.points[f"candidate.{name}", event.step] = _finite(value)

    def _on_validation(self, event: ValidationMeasured) -> None:
        for name in ("accuracy", "nll", "ece"):
            self._batch.points[f"validation.{name}", event.step] = _finite(event.model_dump()[name])
        self._batch.notes.append(_note(event, in_words(event)))

    def _on_step(self, event: StepDone) -> None:
        values: dict[str, float | None] = {
            "loss": event.loss,
            "learning_rate": event.learning_rate,
            "gradient_norm": event.gradient_norm,
            "rate": event.rate,
        }
        values |= {f"loss.{name}"[:MAX_NAME]: value for name, value in event.losses.items()}
        for name, value in values.items():
            if value is not None:
                self._batch.points[name, event.step] = _finite(value)
        self._progress = {
            "phase": "training",
            "step": event.step,
            "total_steps": event.total_steps,
            "epoch": _finite(event.epoch),
            "loss": _finite(event.loss),
            "rate": _finite(event.rate),
            "eta_seconds": _finite(event.eta_seconds),
        }
        self._batch.progress = dict(self._progress)


def _note(event: AnyEvent, message: str, level: str = "info") -> Note:
    data = {key: _jsonable(value) for key, value in event.model_dump(mode="json").items()}
    kind = data.pop("type")
    return Note(str(kind), message, level, data)


def _jsonable(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, float):
        return _finite(value)
    if isinstance(value, dict):
        return {key: _jsonable(inner) for key, inner in value.items()}
    return value


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
