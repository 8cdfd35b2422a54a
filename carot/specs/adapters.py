"""Adapters: training few new weights beside the model's own, with any method."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field, field_validator

from carot.specs.base import Spec
from carot.specs.methods import Method

Target = Literal["query", "key", "value", "output"]
Tower = Literal["image", "text"]
TARGETS: tuple[Target, ...] = get_args(Target)
TOWERS: tuple[Tower, ...] = get_args(Tower)
TRAINED_TOWERS: dict[str, tuple[Tower, ...]] = {
    "zero_shot": (),
    "linear_probe": (),
    "finetune": ("image",),
    "lp_ft": ("image",),
    "lipsum_ft": ("image",),
    "flyp": TOWERS,
    "label_smoothing": TOWERS,
    "carot": TOWERS,
    "tracer": TOWERS,
    "dive": TOWERS,
    "function_space": ("image",),
}
"""By method: the towers that it trains, and so those in which adapters can be."""


class LoraSpec(Spec):
    """Low-rank adapters in the towers' attention (LoRA, Hu et al. 2021, arXiv 2106.09685).

    W + (alpha / rank) B A in place of a matrix W, which stays as it is.
    """

    kind: Literal["lora"] = Field(
        default="lora",
        description="Low-rank adapters. A checkpoint has them merged into its weights, and a small "
        "file of them beside.",
    )
    rank: int = Field(default=8, ge=1, le=256, description="Rows of A and columns of B.")
    alpha: float = Field(
        default=16.0, gt=0.0, le=1024.0, description="Times B A, after a division by the rank."
    )
    targets: tuple[Target, ...] = Field(
        default=TARGETS, min_length=1, description="Projections of each attention that have one."
    )
    towers: tuple[Tower, ...] = Field(
        default=TOWERS,
        min_length=1,
        description="Towers that have them; of these, those that the method trains.",
    )

    @field_validator("targets", "towers")
    @classmethod
    def _differ(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) != len(names):
            raise ValueError("the same name is there twice")
        return names

    def adapted(self, method: Method) -> tuple[Tower, ...]:
        """The towers that have adapters where `method` trains them."""
        return tuple(each for each in TRAINED_TOWERS[method.name] if each in self.towers)


def check_adapters(adapters: LoraSpec, method: Method) -> None:
    """See to it that there is something to adapt.

    Raises:
        ValueError: the method trains no tower, or none of those that are named.
    """
    trained = TRAINED_TOWERS[method.name]
    if not trained:
        raise ValueError(
            f"{method.name} trains no tower, so there is nothing to adapt; leave adapters out"
        )
    if not adapters.adapted(method):
        raise ValueError(
            f"{method.name} trains the {' and '.join(trained)} tower alone, and towers does not "
            f"have it; leave towers out"
        )
