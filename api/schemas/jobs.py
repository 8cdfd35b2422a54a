"""Jobs, their events and their metrics."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.common import Alias, Name, Time, View
from carot.specs import EvaluateSpec, FinetuneSpec

FINETUNE_EXAMPLE: dict[str, Any] = {
    "kind": "finetune",
    "name": "digits with CaRot",
    "alias": "digits",
    "model": {"architecture": "carot-mini"},
    "dataset": "builtin:digits",
    "method": {"name": "carot"},
    "training": {"epochs": 15, "batch_size": 128, "learning_rate": 5e-4},
}
EVALUATE_EXAMPLE: dict[str, Any] = {
    "kind": "evaluate",
    "model": {"architecture": "carot-mini"},
    "dataset": "builtin:digits",
}


class FinetuneRequest(FinetuneSpec):
    """A fine-tuning spec with a name, and the alias that its checkpoint gets."""

    model_config = ConfigDict(json_schema_extra={"examples": [FINETUNE_EXAMPLE]})

    kind: Literal["finetune"]
    name: Name | None = Field(default=None, description="For people; need not be unique.")
    alias: Alias | None = Field(
        default=None, description="Points at the job's checkpoint once it has succeeded."
    )

    def spec(self) -> FinetuneSpec:
        """What the run is asked to do."""
        return FinetuneSpec.model_validate(self.model_dump(exclude={"name", "alias"}))


class EvaluateRequest(EvaluateSpec):
    """An evaluation spec with a name."""

    model_config = ConfigDict(json_schema_extra={"examples": [EVALUATE_EXAMPLE]})

    kind: Literal["evaluate"]
    name: Name | None = Field(default=None, description="For people; need not be unique.")

    alias: None = None

    def spec(self) -> EvaluateSpec:
        """What the run is asked to do."""
        return EvaluateSpec.model_validate(self.model_dump(exclude={"name", "alias"}))


JobRequest = Annotated[FinetuneRequest | EvaluateRequest, Field(discriminator="kind")]
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
    kind: Literal["finetune", "evaluate"]
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
