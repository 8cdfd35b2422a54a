"""Predictions."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from api.problems import FieldError

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)


class PredictRequest(BaseModel):
    """Images as base64 text."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"model": "digits", "images": [PIXEL], "top_k": 3}]},
    )

    images: list[str] = Field(min_length=1, description="Encoded images, base64.")
    model: str | None = Field(default=None, max_length=100, description="An alias.")
    checkpoint: str | None = Field(default=None, max_length=100, description="A checkpoint's id.")
    top_k: int = Field(default=5, ge=1, le=1000, description="Most classes in each answer.")


class Guess(BaseModel):
    """One class and how sure the model is of it."""

    label: str
    index: int
    confidence: float = Field(ge=0, le=1, description="Calibrated.")
    raw_confidence: float = Field(ge=0, le=1, description="Softmax of the logits as they are.")
    logit: float


class Prediction(BaseModel):
    """The answer for one image: its most likely classes, or why there are none."""

    id: str | None = Field(
        default=None,
        description="Under which a label can be given later; null where it was not logged.",
    )
    name: str
    top: list[Guess]
    error: FieldError | None = None


class Predictions(BaseModel):
    """Answers in the order of the images."""

    model: str | None = Field(description="The alias that was asked for.")
    checkpoint: str
    calibrated: bool = Field(description="Whether a calibrator was fitted for this checkpoint.")
    temperature: float | None = Field(description="What logits are divided by, if it is that.")
    predictions: list[Prediction]
    request_id: str
    milliseconds: float
