"""Labels that are given to predictions, and what became of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from api.predict.record_schemas import PredictionRecord
from api.web.problems import FieldError

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


class StoredLabel(PredictionRecord):
    """A prediction with the label that was given."""

    status: Literal["stored", "unchanged", "replaced"]
