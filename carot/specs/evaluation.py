"""What is measured, on which images and with which captions."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from carot.specs.base import DatasetReference, Spec

SHIFT_NAMES = ("inverted", "coloured", "noise", "rotation", "blur", "occlusion")
Severity = Annotated[int, Field(ge=1, le=5)]
ShiftName = Literal[
    "inverted", "coloured", "noise", "rotation", "blur", "occlusion", "printed",
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "motion_blur",
    "brightness", "contrast", "fog", "pixelate", "jpeg",
]  # fmt: skip
ShortText = Annotated[str, Field(max_length=300)]
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
    restrict: bool = Field(
        default=False,
        description="Measure among only the classes that this data set has: the classifier's "
        "logits are restricted to them before the softmax.",
    )
    domain: str | None = Field(
        default=None,
        max_length=100,
        description="The domain whose temperature `domain_temperature` takes here: a name from "
        "`calibration.domains`, or `own`. By default `own` in distribution, else the pooled one.",
    )
    unseen: bool = Field(
        default=False,
        description="Images of things that are none of the classes: the report's `unseen` says how "
        "well they are told from those in distribution. Images of the classifier's own classes are "
        "left out of it.",
    )

    @field_validator("unseen")
    @classmethod
    def _has_no_right_answer(cls, unseen: bool, info: ValidationInfo) -> bool:
        for field in ("in_distribution", "restrict", "domain"):
            if unseen and info.data.get(field):
                raise ValueError(f"things of other classes go without {field}")
        return unseen


class EvaluationSpec(Spec):
    """What is measured, and among how many images at once."""

    datasets: tuple[EvaluationDataset, ...] | None = Field(
        default=None,
        max_length=200,
        description="By default: the data set's test split in distribution, and for "
        "`builtin:digits` every shift at `severities`.",
    )
    suite: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9][a-z0-9-]{0,99}$",
        description="A named list of data sets in place of `datasets`: `digits`, `corruptions`, "
        "`imagenet` or `imagenet-c`.",
    )
    root: str | None = Field(
        default=None,
        min_length=1,
        max_length=900,
        description="Path of the folder under which the data sets of the suites `imagenet` and "
        "`imagenet-c` lie, each in a folder named like its scheme (`ROOT/imagenet-r`). Over "
        "HTTP it is relative to the server's data set root, which is `.`, and lies beneath it.",
    )
    severities: tuple[Severity, ...] = Field(
        default=(3,),
        min_length=1,
        max_length=5,
        description="Of the shifts and corruptions of a suite.",
    )
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
            if any(d.unseen for d in datasets) and not any(d.in_distribution for d in datasets):
                raise ValueError(
                    "unseen things are compared with images in distribution: mark one data set as "
                    "in_distribution"
                )
        return datasets

    @field_validator("suite")
    @classmethod
    def _instead_of_datasets(cls, suite: str | None, info: ValidationInfo) -> str | None:
        if suite is not None and info.data.get("datasets") is not None:
            raise ValueError("suite and datasets exclude one another; leave one of them out")
        return suite

    @field_validator("root")
    @classmethod
    def _of_a_suite(cls, root: str | None, info: ValidationInfo) -> str | None:
        if root is not None and info.data.get("suite") is None:
            raise ValueError("root goes with a suite")
        return root


class PromptSpec(Spec):
    """How class names become captions."""

    templates: tuple[str, ...] | None = Field(
        default=None,
        max_length=500,
        description="Caption templates with one `{}` each; by default the data set's own (for "
        "ImageNet's classes the 80 of CLIP), else `a photo of a {}.`",
    )
    class_names: dict[ShortText, ShortText] | None = Field(
        default=None,
        max_length=25_000,
        description="A caption name for a class whose folder name reads badly.",
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
