"""Jobs, their events and their metrics."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from api.schemas.common import Alias, Name, Time, View
from carot.specs import (
    AnySpec,
    EvaluateSpec,
    FinetuneSpec,
    InterpolateSpec,
    MergeSpec,
    RunSpec,
    SelectSpec,
    Spec,
)

RUN: TypeAdapter[AnySpec] = TypeAdapter(RunSpec)
CHECKPOINTS = [
    {"checkpoint": "ckpt_01jd3v8m9x2k4q6r8t0v2w4y6z"},
    {"checkpoint": "ckpt_01jd3v8m9x2k4q6r8t0v2w4y70"},
]


def _example(**body: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [body | {"dataset": "builtin:digits"}]})


class Named(Spec):
    """A spec with a name."""

    name: Name | None = Field(default=None, description="For people; need not be unique.")

    def spec(self) -> AnySpec:
        """What the run is asked to do."""
        return RUN.validate_python(self.model_dump(exclude={"name", "alias"}))


class Aliased(Named):
    """A spec with a name, and the alias that its checkpoint gets."""

    alias: Alias | None = Field(
        default=None, description="Points at the job's checkpoint once it has succeeded."
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


JobRequest = Annotated[
    FinetuneRequest | EvaluateRequest | InterpolateRequest | MergeRequest | SelectRequest,
    Field(discriminator="kind"),
]
KindName = Literal["finetune", "evaluate", "interpolate", "merge", "select"]
JobStateName = Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled"]


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


class JobView(View):
    """A job."""

    id: str
    kind: KindName
    name: str | None
    alias: str | None
    state: JobStateName
    spec: dict[str, Any]
    dataset: str
    method: str | None
    attempts: int
    max_attempts: int
    progress: Progress | None
    error: JobError | None
    created_at: Time
    updated_at: Time
    started_at: Time | None
    finished_at: Time | None
    lease_expires_at: Time | None
    checkpoint_id: str | None
    report_id: str | None


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
