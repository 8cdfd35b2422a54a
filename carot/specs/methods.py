"""The methods and their constants, by name."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from carot.specs.base import Spec

Positives = Annotated[
    Literal["class", "pair"],
    Field(
        description="`pair`: only an image's own caption is its positive, as published. `class`: "
        "every caption of its class in the batch is, which matters as soon as a batch holds a "
        "class twice.",
    ),
]
Form = Literal["squared", "unsquared"]
Weight = Annotated[float, Field(ge=0.0, le=1e4)]
LabelSmoothing = Annotated[float, Field(ge=0.0, lt=1.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class TeacherSpec(Spec):
    """The averaged teacher of self-distillation (CaRot §4.2, A.3; TRACER §3.4)."""

    kind: Literal["momentum", "trajectory"] = Field(
        default="momentum",
        description="`momentum`: an exponential average whose momentum rises (CaRot). "
        "`trajectory`: an average over the whole run, weighted by a Beta density (TRACER).",
    )
    update_every: int | None = Field(
        default=None,
        ge=1,
        description="Optimizer steps between updates, the first behind the first step; the density "
        "of a `trajectory` spans the updates. By default every step for `trajectory`; for "
        "`momentum` 500 of 25,000 as published, so a fiftieth of the run's steps, at least 1.",
    )
    final_momentum: Share = 0.9
    initial_momentum: Share = 0.05
    warmup_fraction: Share = Field(
        default=0.2, description="Share of the run over which momentum rises."
    )
    beta: float = Field(
        default=0.5,
        gt=0.0,
        le=10.0,
        description="Both parameters of the Beta density that weights a `trajectory`; below 1 the "
        "start and the end of the run weigh most.",
    )


class AnchorSpec(Spec):
    """Holding a student to its start on images unlike any that it trains on (this project).

    A share of the batch's images is seen through random filters; there the student's class
    probabilities, over the start's prototypes, are to stay those of the start, divided by the
    temperature that makes the start's confidences fit the labels of training images.
    """

    weight: Weight = Field(default=0.0, description="Of the divergence; 0 switches it off.")
    share: float = Field(default=0.5, gt=0.0, le=1.0, description="Anchors per image of a batch.")
    temperature: float | None = Field(
        default=None,
        gt=0.0,
        le=100.0,
        description="Divides the start's logits; by default fitted on up to 1,024 training images.",
    )


class ZeroShotMethod(Spec):
    """No training: the starting model and its text-derived head."""

    name: Literal["zero_shot"] = "zero_shot"


class LinearProbeMethod(Spec):
    """Cross-entropy on a head that starts as the zero-shot head; both towers are frozen."""

    name: Literal["linear_probe"] = "linear_probe"
    label_smoothing: LabelSmoothing = 0.0


class FinetuneMethod(Spec):
    """Cross-entropy on a head that starts as the zero-shot head; the text tower is frozen."""

    name: Literal["finetune"] = "finetune"
    label_smoothing: LabelSmoothing = 0.0


class LpFtMethod(Spec):
    """A linear probe first, then plain fine-tuning from it (LP-FT, ICLR 2022)."""

    name: Literal["lp_ft"] = "lp_ft"
    label_smoothing: LabelSmoothing = 0.0
    probe_fraction: float = Field(
        default=0.5, gt=0.0, lt=1.0, description="Share of the run's steps spent on the probe."
    )
    probe_learning_rate: float = Field(
        default=1e-2, gt=0.0, le=1.0, description="Peak rate of the probe; the rest has its own."
    )


class FlypMethod(Spec):
    """The contrastive loss of pre-training, on image and caption (FLYP, CVPR 2023)."""

    name: Literal["flyp"] = "flyp"
    positives: Positives = "class"


class LabelSmoothingMethod(Spec):
    """FLYP with smoothed targets, a share of each row's mass spread over the whole batch."""

    name: Literal["label_smoothing"] = "label_smoothing"
    positives: Positives = "class"
    smoothing: float = Field(default=0.1, gt=0.0, lt=1.0)


class LipsumMethod(Spec):
    """Plain fine-tuning that keeps the model's answers to random texts (Lipsum-FT, ICLR 2024)."""

    name: Literal["lipsum_ft"] = "lipsum_ft"
    weight: Weight = 1.0
    texts: int = Field(default=80, ge=1, le=4096, description="Random texts, drawn each step.")
    tokens: int = Field(default=8, ge=1, le=70, description="Random tokens of each text.")


class FunctionSpaceMethod(Spec):
    """Plain fine-tuning near the start's answers on simulated images (arXiv 2509.05328).

    Both terms look at the batch's images through random filters. Of the paper only abstract and
    introduction were at hand: forms, weights and the simulation are this project's.
    """

    name: Literal["function_space"] = "function_space"
    function_weight: Weight = Field(
        default=1.0,
        description="Of the squared distance of class probabilities from the start's; 0 switches "
        "it off.",
    )
    consistency_weight: Weight = Field(
        default=1.0,
        description="Of the divergence of simulated images' class probabilities from those of the "
        "images that they were made of; 0 switches it off.",
    )


class DiveMethod(Spec):
    """FLYP with difference vectors from the start that are to be equal (DiVE, AAAI 2026).

    The differences are those of the training batch; the paper's are of a set of its own (CC3M).
    """

    name: Literal["dive"] = "dive"
    positives: Positives = "class"
    weight: Weight = Field(
        default=1000.0, description="λ, over both losses; 0 is `flyp` (1000 published)."
    )
    decay: float = Field(
        default=0.99,
        ge=0.0,
        lt=1.0,
        description="Of the differences' moving average (0.99 published).",
    )


class CarotMethod(Spec):
    """Contrastive loss, orthogonality constraint and self-distillation (CaRot, NeurIPS 2024)."""

    name: Literal["carot"] = "carot"
    positives: Positives = "class"
    orthogonality_weight: Weight = 0.2
    orthogonality_form: Form = Field(
        default="squared",
        description="Frobenius norm squared (paper, eq. 4) or not (released code).",
    )
    distillation_weight: Weight = 1.5
    cross_norm_weight: Weight = Field(
        default=0.05, description="Weight of the norm of W_v W_l' (0.05 released)."
    )
    cross_norm_form: Form = Field(
        default="unsquared",
        description="Half the squared Frobenius norm (paper, R of §4.1, whose weight is not given) "
        "or the norm itself (released code).",
    )
    teacher: TeacherSpec = TeacherSpec()
    anchor: AnchorSpec = AnchorSpec()


class TracerMethod(Spec):
    """Contrastive loss and four distillation terms from a trajectory's average (TRACER, 2026).

    The total is contrastive + cross-norm + `distillation_weight` times the weighted sum of the four
    terms.
    """

    name: Literal["tracer"] = "tracer"
    positives: Positives = "class"
    distillation_weight: Weight = Field(default=0.9, description="λ_SD, over all four terms.")
    feature_weight: Weight = Field(
        default=2000.0,
        description="Of the mean squared difference of features (released code: 2000; a mean over "
        "all entries). The paper sums over a feature's entries: their number is its weight.",
    )
    relation_weight: Weight = Field(
        default=1.0,
        description="Of the divergence of in-batch similarities, mean of both directions (released "
        "code). The paper adds them: a weight of 2.",
    )
    interaction_weight: Weight = Field(
        default=1.0, description="Of the contrast between student anchors and teacher keys."
    )
    cross_weight: Weight = Field(
        default=1.0, description="Of the divergence of student-to-teacher from teacher-to-teacher."
    )
    orthogonality_weight: Weight = 0.0
    orthogonality_form: Form = "squared"
    cross_norm_weight: Weight = 0.05
    cross_norm_form: Form = "unsquared"
    teacher: TeacherSpec = TeacherSpec(kind="trajectory")


Method = Annotated[
    ZeroShotMethod
    | LinearProbeMethod
    | FinetuneMethod
    | LpFtMethod
    | FlypMethod
    | LabelSmoothingMethod
    | LipsumMethod
    | FunctionSpaceMethod
    | DiveMethod
    | CarotMethod
    | TracerMethod,
    Field(discriminator="name"),
]


class UniformSoup(Spec):
    """The plain average of the weights (model soups, ICML 2022)."""

    name: Literal["uniform_soup"] = "uniform_soup"


class ModelStock(Spec):
    """The average, drawn towards the start by the angle between checkpoints (ECCV 2024)."""

    name: Literal["model_stock"] = "model_stock"


Merge = Annotated[UniformSoup | ModelStock, Field(discriminator="name")]
