"""Events that a run reports while it works, and the protocol of their receivers.

Events are plain frozen data that survive JSON, since they cross a pipe from the trainer process
to its supervisor.
"""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from carot.warnings import CodedWarning


class Event(BaseModel):
    """One thing that happened."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PhaseStarted(Event):
    """The run enters a phase; `total` is the number of steps in it, when that is known."""

    type: Literal["phase_started"] = "phase_started"
    phase: Literal["preparing", "training", "evaluating", "predicting", "saving"]
    total: int | None = None


class StepDone(Event):
    """One optimizer step. `losses` holds each term before weighting; `rate` is steps a second."""

    type: Literal["step_done"] = "step_done"
    step: int = Field(ge=1, description="Optimizer steps done so far.")
    total_steps: int = Field(ge=0)
    epoch: float = Field(ge=0.0)
    loss: float
    losses: dict[str, float]
    learning_rate: float
    gradient_norm: float | None = None
    rate: float | None = None
    eta_seconds: float | None = None


class SnapshotSaved(Event):
    """A snapshot from which the run can go on lies whole in the folder `path`."""

    type: Literal["snapshot_saved"] = "snapshot_saved"
    step: int
    path: str


class CheckpointSaved(Event):
    """The final checkpoint lies whole in the folder `path`."""

    type: Literal["checkpoint_saved"] = "checkpoint_saved"
    path: str


Subject = Literal["model", "start"]
"""What is measured: the run's model, or the one that it started from."""


class EvaluationDone(Event):
    """One data set of the report is measured; `metrics` holds its headline figures."""

    type: Literal["evaluation_done"] = "evaluation_done"
    of: Subject = "model"
    dataset: str
    index: int
    total: int
    metrics: dict[str, float | None]


class CandidateMeasured(Event):
    """What a run would end with after `step` steps, on its selection split."""

    type: Literal["candidate_measured"] = "candidate_measured"
    step: int
    accuracy: float
    nll: float
    calibration_error: float
    sigma_min: float
    score: float | None = None


class ValidationMeasured(Event):
    """What a run would end with after `step` steps, on a part of the validation split.

    Confidences are raw; 0 steps are the start.
    """

    type: Literal["validation_measured"] = "validation_measured"
    step: int = Field(ge=0)
    images: int
    accuracy: float
    nll: float
    ece: float


def in_words(event: ValidationMeasured) -> str:
    """One line for people: `step 40: accuracy 91.2 %, NLL 0.312, ECE 4.1 %`."""
    return (
        f"step {event.step}: accuracy {100 * event.accuracy:.1f} %, NLL {event.nll:.3f}, "
        f"ECE {100 * event.ece:.1f} %"
    )


class ImagesScored(Event):
    """So many of the images of a data set have their answers."""

    type: Literal["images_scored"] = "images_scored"
    images: int
    total: int


class ReportSaved(Event):
    """The report lies whole in the JSON file `path`."""

    type: Literal["report_saved"] = "report_saved"
    path: str


class PredictionsSaved(Event):
    """The predictions lie whole in the Parquet file `path`."""

    type: Literal["predictions_saved"] = "predictions_saved"
    path: str


class Warning(CodedWarning, Event):
    """Something the user should know that does not end the run."""

    type: Literal["warning"] = "warning"

    @classmethod
    def of(cls, warning: CodedWarning) -> Warning:
        """The event that tells of it."""
        return cls(**warning.model_dump())

    def coded(self) -> CodedWarning:
        """The same, as data sets, reports and models carry it."""
        return CodedWarning(**self.model_dump(exclude={"type"}))


class Failed(Event):
    """The run ends without a result. `error` is the class name of the exception."""

    type: Literal["failed"] = "failed"
    error: str
    message: str
    field: str | None = None
    names: tuple[str, ...] = ()


AnyEvent = Annotated[
    PhaseStarted
    | StepDone
    | SnapshotSaved
    | CheckpointSaved
    | EvaluationDone
    | CandidateMeasured
    | ValidationMeasured
    | ImagesScored
    | ReportSaved
    | PredictionsSaved
    | Warning
    | Failed,
    Field(discriminator="type"),
]

EVENT: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)
"""Reads any event from its JSON: `EVENT.validate_json(line)`."""


class Reporter(Protocol):
    """Receives the events of a run."""

    def report(self, event: AnyEvent) -> None:
        """Take note of one event; must not raise for reasons of its own."""


class Silent:
    """A reporter that ignores everything."""

    def report(self, event: AnyEvent) -> None:
        return None
