"""Schemas of jobs, their events and their metrics."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from api.models.schemas import Alias
from api.web.problems import FieldError
from api.web.schemas import Name, Time, View
from carot.specs import (
    AnySpec,
    EvaluateSpec,
    FinetuneSpec,
    InterpolateSpec,
    MergeSpec,
    PredictSpec,
    RunSpec,
    SelectSpec,
    Spec,
)
from carot.warnings import CodedWarning
from store.jobs.jobs import AliasWhen
from store.queues import QueueName

RUN: TypeAdapter[AnySpec] = TypeAdapter(RunSpec)
Priority = Annotated[
    int,
    Field(
        strict=True,
        ge=-100,
        le=100,
        description="Higher goes first; equal ones in order of creation.",
    ),
]
CHECKPOINTS = [
    {"checkpoint": "ckpt_01jd3v8m9x2k4q6r8t0v2w4y6z"},
    {"checkpoint": "ckpt_01jd3v8m9x2k4q6r8t0v2w4y70"},
]


def _example(**body: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [body | {"dataset": "builtin:digits"}]})


class Resources(Spec):
    """What a job runs on."""

    queue: QueueName | None = Field(
        default=None,
        description="Workers of which kind may take it; by default what CAROT_DEFAULT_QUEUE says.",
    )
    processes: int = Field(
        default=1,
        ge=1,
        le=64,
        description="How many processes train it together (torchrun), each on a GPU of its own "
        "where there are GPUs.",
    )


class Named(Spec):
    """A spec with a name, and how it is to be run."""

    name: Name | None = Field(default=None, description="For people; need not be unique.")
    resources: Resources = Resources()
    priority: Priority = 0
    max_seconds: float | None = Field(
        default=None,
        ge=1,
        le=100 * 86_400,
        description="How long it may run, in seconds, all its attempts together. A job that takes "
        "longer fails, and a retry goes on from its last snapshot.",
    )

    def spec(self) -> AnySpec:
        """What the run is asked to do."""
        apart = {"name", "alias", "alias_when", "resources", "priority", "max_seconds"}
        return RUN.validate_python(self.model_dump(exclude=apart))


class Aliased(Named):
    """A spec with a name, and the alias that its checkpoint gets."""

    alias: Alias | None = Field(
        default=None,
        description="Points at the job's checkpoint once it has succeeded, unless the model is no "
        "better than its start or than the commonest class: see `alias_when`.",
    )
    alias_when: AliasWhen = Field(
        default="better",
        description="`always` moves the alias whatever was measured.",
    )


class FinetuneRequest(FinetuneSpec, Aliased):
    """Fine-tune a model on the training split, then evaluate and calibrate it."""

    model_config = _example(
        kind="finetune",
        name="digits with CaRot",
        alias="digits",
        model={"architecture": "carot-mini"},
        method={"name": "carot"},
        training={"epochs": 15, "batch_size": 128, "learning_rate": 5e-4},
    )

    kind: Literal["finetune"]


class EvaluateRequest(EvaluateSpec, Named):
    """Evaluate a model or checkpoint; fit a temperature where there is a calibration split."""

    model_config = _example(kind="evaluate", model={"architecture": "carot-mini"})

    kind: Literal["evaluate"]
    alias: None = None


class InterpolateRequest(InterpolateSpec, Aliased):
    """Weights between a checkpoint and its zero-shot start; the best become a new checkpoint."""

    model_config = _example(
        kind="interpolate",
        alias="digits",
        model=CHECKPOINTS[0],
        alphas=[0.0, 0.25, 0.5, 0.75, 1.0],
        rule="nll",
    )

    kind: Literal["interpolate"]


class MergeRequest(MergeSpec, Aliased):
    """One checkpoint out of several of the same architecture and classes."""

    model_config = _example(
        kind="merge", alias="digits", method={"name": "uniform_soup"}, models=CHECKPOINTS
    )

    kind: Literal["merge"]


class SelectRequest(SelectSpec, Aliased):
    """The best of several checkpoints, chosen without out-of-distribution data.

    The alias is pointed at the chosen one.
    """

    model_config = _example(kind="select", alias="digits", models=CHECKPOINTS, rule="bound")

    kind: Literal["select"]


class PredictRequest(PredictSpec, Named):
    """Score every image of a data set, into a Parquet file (`GET /jobs/{job_id}/predictions`)."""

    model_config = _example(
        kind="predict", model=CHECKPOINTS[0], coverage=0.9, max_risk=0.05, max_shift=0.99
    )

    kind: Literal["predict"]
    alias: None = None


JobRequest = Annotated[
    FinetuneRequest
    | EvaluateRequest
    | InterpolateRequest
    | MergeRequest
    | SelectRequest
    | PredictRequest,
    Field(discriminator="kind"),
]
KindName = Literal["finetune", "evaluate", "interpolate", "merge", "select", "predict"]
JobStateName = Literal[
    "queued", "running", "pausing", "paused", "cancelling", "succeeded", "failed", "cancelled"
]


class Progress(View):
    """Where a run is. Rates are in steps a second."""

    model_config = ConfigDict(extra="allow")

    phase: str | None = None
    step: int | None = None
    total_steps: int | None = None
    epoch: float | None = None
    loss: float | None = None
    rate: float | None = None
    eta_seconds: float | None = None


class JobError(View):
    """Why a job failed."""

    model_config = ConfigDict(extra="allow")

    code: str | None = None
    message: str | None = None
    field: str | None = None
    names: list[str] = Field(default=[], description="The images or files in question.")


class JobCheck(BaseModel):
    """What a job would be, were it queued."""

    spec: dict[str, Any] | None = Field(
        description="With everything said that was left open; what depends on files that only the "
        "run looks at stays null. Null as a whole where the job would be refused."
    )
    warnings: list[CodedWarning] = Field(default=[], description="What can be told before it runs.")
    errors: list[FieldError] = Field(default=[], description="Why it would be refused.")


class JobChange(BaseModel):
    """What can be changed of a job that has not ended."""

    model_config = ConfigDict(extra="forbid")

    priority: Priority


class LastExit(View):
    """Why the last attempt ended before the job did."""

    model_config = ConfigDict(extra="allow")

    reason: str
    message: str
    signal: int | None = None
    status: int | None = None
    last_words: str = Field(default="", description="The end of what the trainer said.")


class JobHeadline(View):
    """What a job measured: shares of 1, null where nothing was measured.

    `id` is the data set's own test split, `ood` the unweighted mean over all the others.
    """

    id_accuracy: float | None
    id_ece: float | None
    id_calibrated_ece: float | None
    ood_accuracy: float | None
    ood_ece: float | None
    ood_calibrated_ece: float | None


class JobView(View):
    """A job."""

    id: str
    kind: KindName
    name: str | None
    alias: str | None
    alias_when: AliasWhen
    state: JobStateName
    spec: dict[str, Any]
    dataset: str
    method: str | None
    queue: QueueName
    processes: int
    priority: int
    attempts: int = Field(description="Starts that count against `max_attempts`.")
    max_attempts: int
    retries: int = Field(description="How often somebody asked for another try.")
    max_seconds: float | None
    seconds_spent: float = Field(description="Of running, in all attempts since the last retry.")
    progress: Progress | None
    warnings: list[CodedWarning] = Field(
        description="What its run warned of, the first of each kind and sentence; also of a job "
        "that succeeded."
    )
    error: JobError | None
    last_exit: LastExit | None
    created_at: Time
    updated_at: Time
    started_at: Time | None
    finished_at: Time | None
    lease_expires_at: Time | None
    not_responding_since: Time | None = Field(
        description="Set while the worker that has the job is late with its heartbeat."
    )
    worker: str | None
    snapshot_step: int | None
    checkpoint_id: str | None
    report_id: str | None
    queue_position: int | None = Field(
        default=None,
        description="How many jobs go before it in its queue, plus one; null unless it is queued.",
    )
    heartbeat_at: Time | None = Field(
        default=None, description="When its worker was last heard; null unless one has it."
    )
    headline: JobHeadline | None = Field(
        default=None, description="Of its report; null until there is one."
    )


class EventView(View):
    """One thing that happened to a job; `seq` counts them without gaps."""

    seq: int
    type: str
    level: str
    message: str
    data: dict[str, Any]
    created_at: Time


class EventPage(BaseModel):
    """Events in order. Ask again with `after_seq` set to `last_seq` for those that follow."""

    data: list[EventView]
    last_seq: int


class Series(BaseModel):
    """One metric over the steps of a job."""

    name: str
    steps: list[int]
    values: list[float | None]


class Metrics(BaseModel):
    """Curves of a job."""

    data: list[Series]
