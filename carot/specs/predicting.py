"""Score every image of a data set with a checkpoint."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from carot.specs.base import UNLABELLED, DatasetReference, Spec, is_unlabelled
from carot.specs.evaluation import Severity, ShiftName, SplitName
from carot.specs.model import ModelSpec

SetMethod = Literal["lac", "aps", "raps", "saps", "mondrian"]


class TransductiveSpec(Spec):
    """Prediction sets of all images at once, beside labelled ones like them (Conf-OT)."""

    dataset: DatasetReference = Field(
        description="Labelled images that nothing was trained on, and that are like those which "
        "are scored. Its classes are the checkpoint's."
    )
    split: SplitName = Field(default="calibration", description="Which of them.")
    coverage: float = Field(
        default=0.9, gt=0, lt=1, description="How often these sets are to hold the right class."
    )

    @field_validator("dataset")
    @classmethod
    def _labelled(cls, dataset: str) -> str:
        if is_unlabelled(dataset):
            raise ValueError(f"{UNLABELLED}:PATH has no labels, and they are needed")
        return dataset


class PredictSpec(Spec):
    """Score every image of a data set with a checkpoint, into a Parquet file."""

    kind: Literal["predict"] = "predict"
    model: ModelSpec = Field(description="The checkpoint that answers.")
    dataset: DatasetReference = Field(
        description="As for other kinds, but its classes may be others than the checkpoint's, and "
        f"`{UNLABELLED}:PATH` is a folder of images without classes, at any depth."
    )
    # Not a union with `SplitName`: a bad name would be two errors, at fields that nobody wrote.
    split: Literal["train", "validation", "calibration", "test", "all"] = Field(
        default="all", description="Images of which split; `all` takes one after the other."
    )
    shift: ShiftName | None = Field(
        default=None, description="Look at the images through a shift, as reports do."
    )
    severity: Severity = Field(default=3, description="Of the shift.")
    batch_size: int = Field(default=256, ge=1, le=8192)
    top_k: int = Field(default=5, ge=1, le=1000, description="Classes listed for each image.")
    logits: bool = Field(default=False, description="Write each image's logits, too.")
    coverage: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="How often prediction sets are to hold the right class, for images like the "
        "calibration images; by default 0.9, where there are enough of those.",
    )
    set_method: SetMethod = Field(default="raps", description="How prediction sets are made.")
    max_risk: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Abstain below the confidence from which on answers are proved to be wrong no "
        "more often than this, for images like the calibration images.",
    )
    max_shift: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Abstain from images whose shift score is above this; by default 0.99.",
    )
    max_unseen: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Abstain from images of which a greater share of the calibration images looks "
        "more like the classes; by default 0.95 where the checkpoint was compared with unseen "
        "classes, never at 1. Refused where it was not.",
    )
    domain: str | None = Field(
        default=None,
        max_length=200,
        description="Where the images come from, for calibrators with a temperature per domain.",
    )
    transductive: TransductiveSpec | None = Field(
        default=None,
        description="Write a second prediction set of each image, for which all images are taken "
        "together with labelled ones; up to 50 million images times classes.",
    )

    @field_validator("model")
    @classmethod
    def _a_checkpoint(cls, model: ModelSpec) -> ModelSpec:
        if model.architecture is not None:
            raise ValueError("predictions need a checkpoint or its folder, not an architecture")
        return model

    @field_validator("split")
    @classmethod
    def _unlabelled_have_no_splits(cls, split: str, info: ValidationInfo) -> str:
        if is_unlabelled(info.data.get("dataset", "")) and split != "all":
            raise ValueError(f"{UNLABELLED}:PATH has no splits; leave this field out")
        return split

    @field_validator("transductive")
    @classmethod
    def _others_than_are_scored(
        cls, beside: TransductiveSpec | None, info: ValidationInfo
    ) -> TransductiveSpec | None:
        if (
            beside is not None
            and beside.dataset == info.data.get("dataset")
            and info.data.get("split") in ("all", beside.split)
        ):
            raise ValueError(
                "its images would be scored as well; let `split` be one other than "
                f"{beside.split!r}"
            )
        return beside
