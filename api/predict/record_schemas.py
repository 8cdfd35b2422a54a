"""Schemas of logged predictions and their labels."""

from __future__ import annotations

from pydantic import BaseModel, Field

from api.web.schemas import Time


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
