"""Schemas of comparisons."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from api.reports.schemas import ConfidenceName
from carot.calibration.metrics.intervals import Interval

MetricName = Literal["accuracy", "nll", "brier", "debiased_squared"]
Chance = Annotated[float, Field(ge=0, le=1)]


class ComparedModel(BaseModel):
    """One of the models; the first is what the others are compared with."""

    report_id: str
    checkpoint_id: str | None
    method: str
    confidence: ConfidenceName = Field(
        description="Which of its confidences were compared: `raw` also where it has no calibrator."
    )


class Figures(BaseModel):
    """Those of the report that tables show; `GET /reports/{id}` has them all."""

    accuracy: float
    accuracy_interval: Interval
    ece: float
    ece_null_p95: float
    debiased_squared: float | None
    nll: float
    brier: float
    mean_confidence: float

    @classmethod
    def of(cls, metrics: dict[str, Any] | None) -> Figures | None:
        """Some of the figures of a report."""
        if metrics is None:
            return None
        return cls(**{name: metrics.get(name) for name in cls.model_fields})


class ModelFigures(BaseModel):
    """One model's figures on one data set."""

    report_id: str
    raw: Figures
    calibrated: Figures | None


class DifferenceView(BaseModel):
    """One model's figure less the first model's, on the same images."""

    report_id: str
    metric: MetricName = Field(
        description="`debiased_squared` is the squared calibration error without the bias that ECE "
        "has: no interval of a difference of ECE holds."
    )
    value: float
    interval: Interval = Field(description="95 %, of this difference alone; paired bootstrap.")
    p_value: Chance = Field(
        description="Chance of a difference as large between equal models: an exact sign test for "
        "accuracy, normal with the bootstrap's standard error for the others."
    )
    adjusted_p_value: Chance = Field(
        description="Adjusted by Holm's method for all the differences of the answer together."
    )
    real: bool = Field(
        description="Whether it is more than chance: the interval excludes 0, and the adjusted "
        "chance is at most `level`."
    )
    better: bool | None = Field(description="Than the first model; null unless it is real.")


class ComparedDataset(BaseModel):
    """A data set that every one of the reports has, on the same images."""

    name: str
    dataset: str
    split: str
    shift: str | None
    severity: int | None
    in_distribution: bool
    images: int
    models: list[ModelFigures]
    differences: list[DifferenceView]


class LeftOut(BaseModel):
    """A data set that cannot be compared."""

    name: str
    reason: str


class Comparison(BaseModel):
    """Models side by side."""

    models: list[ComparedModel]
    level: float = Field(
        default=0.05,
        description="Chance that any of the differences called real is none, for all together.",
    )
    correction: Literal["holm"] = "holm"
    tests: int = Field(description="How many differences were tested.")
    datasets: list[ComparedDataset]
    left_out: list[LeftOut]
