"""What prediction sets hold on one data set, as data. Loads no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from carot.calibration.metrics.intervals import Interval
from carot.calibration.metrics.numbers import Numbers

Method = Literal["lac", "aps", "raps", "saps", "mondrian"]
"""By which score a set is made, see `carot.calibration.sets.conformal_scores`."""


class Coverage(Numbers):
    """What prediction sets hold on one data set."""

    images: int = Field(ge=1)
    asked: float = Field(gt=0, lt=1, description="The coverage that was asked for.")
    coverage: float = Field(ge=0, le=1, description="Share of sets that hold the right class.")
    coverage_interval: Interval = Field(description="Wilson's 95 % interval of it.")
    mean_size: float = Field(ge=0, description="Mean number of classes in a set.")
    mean_size_interval: Interval = Field(description="Normal 95 % interval of it.")
    largest: int = Field(ge=0, description="Classes in the largest set.")
    single: float = Field(ge=0, le=1, description="Share of sets with one class.")


class ClassCoverage(Numbers):
    """What prediction sets hold of one class."""

    name: str
    images: int = Field(ge=1, description="Images of this class.")
    coverage: float = Field(ge=0, le=1, description="Share of their sets that hold it.")
    coverage_interval: Interval = Field(description="Wilson's 95 % interval of it.")
