"""What a run is asked to do. The one schema that the API, the command line and the trainer share.

Every spec is frozen and refuses unknown fields; ranges are part of the types, so that a bad value
is named before anything is started. Units stand in the field descriptions.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

SHIFT_NAMES = ("inverted", "coloured", "noise", "rotation", "blur", "occlusion")
Severity = Annotated[int, Field(ge=1, le=5)]
ShiftName = Literal["inverted", "coloured", "noise", "rotation", "blur", "occlusion", "printed"]
SplitName = Literal["train", "validation", "calibration", "test"]
DatasetReference = Annotated[
    str,
    Field(
        min_length=1,
        max_length=1024,
        description=(
            "`builtin:digits`, the id of an uploaded data set (`ds_…`), or, where files are local, "
            "`folder:PATH` or `csv:PATH`."
        ),
        examples=["builtin:digits", "ds_01jd3v8m9x2k4q6r8t0v2w4y6z"],
    ),
]


class Spec(BaseModel):
    """Frozen, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSpec(Spec):
    """The model to start from: exactly one of an architecture, a checkpoint or a folder."""

    architecture: str | None = Field(
        default=None,
        max_length=200,
        description="An open_clip architecture such as `ViT-B-16`, or `carot-mini`, bundled.",
    )
    pretrained: str | None = Field(
        default=None,
        max_length=200,
        description="An open_clip tag of that architecture such as `openai`. Not for `carot-mini`.",
    )
    checkpoint: str | None = Field(
        default=None, pattern=r"^ckpt_[0-9a-z]{26}$", description="The id of a stored checkpoint."
    )
    folder: str | None = Field(
        default=None, description="A local folder in open_clip's layout. Not accepted over HTTP."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        sources = [self.architecture, self.checkpoint, self.folder]
        if sum(source is not None for source in sources) != 1:
            raise ValueError("give exactly one of architecture, checkpoint or folder")
        if self.pretrained is not None and self.architecture in (None, "carot-mini"):
            raise ValueError("pretrained goes with an open_clip architecture")
        if self.architecture not in (None, "carot-mini") and self.pretrained is None:
            raise ValueError(
                "an open_clip architecture needs `pretrained`, the tag of its weights: "
                "a model with random weights has nothing to fine-tune"
            )
        return self


class TeacherSpec(Spec):
    """The moving-average teacher of self-distillation (CaRot §4.2, A.3)."""

    update_every: int | None = Field(
        default=None,
        ge=1,
        description="Optimizer steps between updates; 500 of 25,000 as published, so by default "
        "a fiftieth of the run's steps, at least 1.",
    )
    final_momentum: float = Field(default=0.9, ge=0.0, le=1.0)
    initial_momentum: float = Field(default=0.05, ge=0.0, le=1.0)
    warmup_fraction: float = Field(
        default=0.2, ge=0.0, le=1.0, description="Share of the run over which momentum rises."
    )


class ZeroShotMethod(Spec):
    """No training: the starting model and its text-derived head."""

    name: Literal["zero_shot"] = "zero_shot"


class FinetuneMethod(Spec):
    """Cross-entropy on a head that starts as the zero-shot head; the text tower is frozen."""

    name: Literal["finetune"] = "finetune"
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)


class FlypMethod(Spec):
    """The contrastive loss of pre-training, on image and caption (FLYP, CVPR 2023)."""

    name: Literal["flyp"] = "flyp"
    positives: Literal["class", "pair"] = Field(
        default="class",
        description="`pair`: only an image's own caption is its positive, as published. `class`: "
        "every caption of its class in the batch is, which matters as soon as a batch holds a "
        "class twice.",
    )


class CarotMethod(Spec):
    """Contrastive loss, orthogonality constraint and self-distillation (CaRot, NeurIPS 2024)."""

    name: Literal["carot"] = "carot"
    positives: Literal["class", "pair"] = "class"
    orthogonality_weight: float = Field(default=0.2, ge=0.0, le=1e4)
    orthogonality_form: Literal["squared", "unsquared"] = Field(
        default="squared",
        description="Frobenius norm squared (paper, eq. 4) or not (released code).",
    )
    distillation_weight: float = Field(default=1.5, ge=0.0, le=1e4)
    cross_norm_weight: float = Field(
        default=0.05, ge=0.0, le=1e4, description="Weight of the norm of W_v W_l' (0.05 released)."
    )
    cross_norm_form: Literal["squared", "unsquared"] = Field(
        default="unsquared",
        description="Half the squared Frobenius norm (paper, R of §4.1, whose weight is not given) "
        "or the norm itself (released code).",
    )
    teacher: TeacherSpec = TeacherSpec()


Method = Annotated[
    ZeroShotMethod | FinetuneMethod | FlypMethod | CarotMethod, Field(discriminator="name")
]


class TrainingSpec(Spec):
    """How the one loop runs."""

    epochs: int = Field(default=10, ge=1, le=10_000, description="Passes over the training split.")
    batch_size: int = Field(default=128, ge=2, le=65_536, description="Images per optimizer step.")
    accumulation_steps: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="Micro-batches per optimizer step; features are gathered over all of them "
        "before the loss, so the gradient is that of the whole batch.",
    )
    learning_rate: float = Field(default=1e-5, gt=0.0, le=1.0)
    weight_decay: float = Field(default=0.1, ge=0.0, le=10.0)
    warmup_fraction: float = Field(
        default=0.02, ge=0.0, lt=1.0, description="Share of the steps with a rising rate."
    )
    max_gradient_norm: float | None = Field(default=1.0, gt=0.0)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    seed: int = Field(default=0, ge=0, lt=2**31)
    snapshot_every: int | None = Field(
        default=None,
        ge=1,
        description="Optimizer steps between snapshots; by default once an epoch or every 200 "
        "steps, whichever is longer.",
    )
    random_crop_scale: float = Field(
        default=0.9,
        gt=0.0,
        le=1.0,
        description="Smallest share of the image's area that a random crop keeps.",
    )


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


class FinetuneSpec(Spec):
    """Fine-tune a model on the training split, then evaluate and calibrate it."""

    kind: Literal["finetune"] = "finetune"
    model: ModelSpec
    dataset: DatasetReference
    method: Method = CarotMethod()
    training: TrainingSpec = TrainingSpec()
    prompts: PromptSpec = PromptSpec()
    evaluation: EvaluationSpec = EvaluationSpec()


class EvaluateSpec(Spec):
    """Evaluate a model or checkpoint; fit a temperature where there is a calibration split."""

    kind: Literal["evaluate"] = "evaluate"
    model: ModelSpec
    dataset: DatasetReference
    prompts: PromptSpec = PromptSpec()
    evaluation: EvaluationSpec = EvaluationSpec()


RunSpec = Annotated[FinetuneSpec | EvaluateSpec, Field(discriminator="kind")]
