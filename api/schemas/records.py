"""Predictions that were logged, and the labels given to them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from api.problems import FieldError
from api.schemas.common import Time

MAX_LABELS = 10_000
PREDICTION = "pred_01jd3v8m9x2k4q6r8t0v2w4y6z"
ClassLabel = Annotated[
    Annotated[StrictStr, Field(max_length=1000)] | StrictInt,
    Field(description="A class by its name (text), or by its index (a number)."),
]


class LabelRequest(BaseModel):
    """What an image really showed."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"label": "seven"}]})

    label: ClassLabel
    replace: bool = Field(default=False, description="Take the place of another label.")


class LabelItem(LabelRequest):
    """One of many labels."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"id": PREDICTION, "label": "seven"}]}
    )

    id: str = Field(max_length=100, description="The prediction's id.")


class LabelOutcome(BaseModel):
    """What became of one label."""

    id: str | None = Field(description="The prediction's id, as far as it could be read.")
    status: Literal["stored", "unchanged", "replaced", "refused"]
    code: str | None = Field(default=None, description="Why it was refused, for programs.")
    error: FieldError | None = None


class LabelOutcomes(BaseModel):
    """What became of each label, in their order."""

    stored: int
    unchanged: int
    replaced: int
    refused: int
    data: list[LabelOutcome]


class TruthView(BaseModel):
    """The label of a prediction."""

    label: str
    index: int
    given_at: Time
    changed_at: Time | None = Field(description="When it took another label's place.")


class PredictionRecord(BaseModel):
    """A prediction that was logged."""

    id: str
    model: str = Field(description="The alias that was asked.")
    checkpoint_id: str
    calibrator_id: str | None = Field(description="Null: the checkpoint's own.")
    label: str = Field(description="The class that was answered.")
    index: int
    confidence: float
    raw_confidence: float
    shift: float | None = Field(description="The shift score, a percentile.")
    log_rate: float = Field(description="The share of predictions that were logged then.")
    image: bool = Field(description="Whether its image was kept.")
    created_at: Time
    truth: TruthView | None


class StoredLabel(PredictionRecord):
    """A prediction with the label that was given."""

    status: Literal["stored", "unchanged", "replaced"]
