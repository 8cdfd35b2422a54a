"""How the one training loop runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from carot.specs.base import Spec

BY_MODEL = "By default chosen for the model and the number of training images (docs/methods.md)."


class TrainingOptions(Spec):
    """What a job says of the loop; what it leaves open is chosen for its model and its images."""

    epochs: int | None = Field(
        default=None, ge=1, le=10_000, description=f"Passes over the training split. {BY_MODEL}"
    )
    batch_size: int | None = Field(
        default=None, ge=2, le=65_536, description=f"Images per optimizer step. {BY_MODEL}"
    )
    accumulation_steps: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="Micro-batches per optimizer step; features are gathered over all of them "
        "before the loss, so the gradient is that of the whole batch.",
    )
    learning_rate: float | None = Field(
        default=None, gt=0.0, le=1.0, description=f"Highest rate of AdamW. {BY_MODEL}"
    )
    weight_decay: float = Field(default=0.1, ge=0.0, le=10.0)
    freeze_batch_norm: bool = Field(
        default=False,
        description="Keep the statistics of batch normalisation (ResNet, FastViT) as the start has "
        "them. Such models need it for `accumulation_steps` above 1, and for several processes "
        "without GPUs; others have none.",
    )
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


class TrainingSpec(TrainingOptions):
    """The same with nothing left open: what the loop runs by."""

    epochs: int = Field(default=10, ge=1, le=10_000)
    batch_size: int = Field(default=128, ge=2, le=65_536)
    learning_rate: float = Field(default=1e-5, gt=0.0, le=1.0)
