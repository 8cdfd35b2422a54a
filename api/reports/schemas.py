"""Schemas of report details."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from api.web.schemas import Time, View
from carot.calibration.metrics.intervals import Interval

ConfidenceName = Literal["calibrated", "raw"]
CONFIDENCE = Field(
    description="Which confidences these are; `raw` without a calibrator, or where its answers "
    "were not kept."
)


class ClassView(BaseModel):
    """The images of one class."""

    name: str
    images: int
    accuracy: float | None = Field(description="Share of right answers; null without images.")
    accuracy_interval: Interval | None = Field(description="Wilson's 95 % interval of it.")
    mean_confidence: float | None
    ece: float | None = Field(
        description="Of the top label over these images, 15 equal-width bins. It is above 0 by "
        "chance alone, the more so the fewer images there are."
    )
    confused_with: str | None = Field(description="The wrong answer given most often.")
    confused: int = Field(description="How often it was given.")


class ClassesView(BaseModel):
    """A data set of a report, class by class."""

    report_id: str
    dataset: str = Field(description="Name of the row of the report.")
    confidence: ConfidenceName = CONFIDENCE
    data: list[ClassView]


class MistakeView(BaseModel):
    """An image with a wrong answer."""

    key: str = Field(description="The image's name in its data set.")
    label: str
    prediction: str
    confidence: float = Field(description="In the prediction.")
    raw_confidence: float = Field(description="The same before calibration.")
    label_confidence: float = Field(description="In the right answer.")
    picture: str | None = Field(
        description="Path of the image as the model saw it, shifts included; null where this "
        "server cannot show it."
    )


class MistakesView(BaseModel):
    """The worst mistakes on a data set of a report: those that were made most confidently."""

    report_id: str
    dataset: str = Field(description="Name of the row of the report.")
    confidence: ConfidenceName = CONFIDENCE
    images: int
    mistakes: int = Field(description="How many there are in all.")
    data: list[MistakeView]


class ReportHeader(View):
    """A report without its document."""

    id: str
    job_id: str
    checkpoint_id: str | None
    created_at: Time


class ReportView(ReportHeader):
    """Accuracy and calibration, raw and calibrated, on every data set."""

    document: dict[str, Any]
