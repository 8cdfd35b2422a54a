"""What is measured, on which images and with which captions."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from carot.specs.base import DatasetReference, Spec

SHIFT_NAMES = ("inverted", "coloured", "noise", "rotation", "blur", "occlusion")
Severity = Annotated[int, Field(ge=1, le=5)]
ShiftName = Literal["inverted", "coloured", "noise", "rotation", "blur", "occlusion", "printed"]
SplitName = Literal["train", "validation", "calibration", "test"]


class EvaluationDataset(Spec):
    """One row of a report."""

    name: str = Field(min_length=1, max_length=100)
    dataset: DatasetReference
    split: SplitName = "test"
    shift: ShiftName | None = Field(
        default=None, description="`printed` only with `builtin:digits`; the others with any set."
    )
    severity: Severity = 3
    in_distribution: bool = False


class EvaluationSpec(Spec):
    """What is measured, and on which split the temperature is fitted."""

    datasets: tuple[EvaluationDataset, ...] | None = Field(
        default=None,
        max_length=200,
        description="By default: the data set's test split in distribution, and for "
        "`builtin:digits` every shift at `severities`.",
    )
    severities: tuple[Severity, ...] = Field(default=(3,), min_length=1)
    batch_size: int = Field(default=256, ge=1, le=8192)

    @field_validator("datasets")
    @classmethod
    def _names_differ(
        cls, datasets: tuple[EvaluationDataset, ...] | None
    ) -> tuple[EvaluationDataset, ...] | None:
        if datasets is not None:
            if not datasets:
                raise ValueError("name at least one data set, or leave the field out")
            names = [d.name for d in datasets]
            if len(set(names)) != len(names):
                raise ValueError("two data sets of one report have the same name")
            if sum(d.in_distribution for d in datasets) > 1:
                raise ValueError("at most one data set can be the in-distribution one")
        return datasets


class PromptSpec(Spec):
    """How class names become captions."""

    templates: tuple[str, ...] | None = Field(
        default=None,
        max_length=500,
        description="Caption templates with one `{}` each; by default the data set's own, "
        "else `a photo of a {}.`",
    )
    class_names: dict[str, str] | None = Field(
        default=None, description="A caption name for a class whose folder name reads badly."
    )

    @field_validator("templates")
    @classmethod
    def _one_slot(cls, templates: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if templates is not None:
            if not templates:
                raise ValueError("give at least one template, or leave the field out")
            for template in templates:
                if len(re.findall(r"\{\}", template)) != 1 or len(template) > 300:
                    raise ValueError(f"a template has exactly one {{}} slot: {template[:80]!r}")
        return templates
