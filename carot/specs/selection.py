"""Which of several candidates is kept, judged on in-distribution data alone."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from carot.specs.base import Spec
from carot.specs.evaluation import SplitName

RULES = (
    "`accuracy`: highest on the selection split. `nll`: lowest negative log-likelihood there. "
    "`bound`: lowest sum of the bound's two terms, the calibration error and the spread of the "
    "features (CaRot, Theorem 3.1; see `carot.evaluation.selection`)."
)
Rule = Annotated[Literal["accuracy", "nll", "bound"], Field(description=RULES)]


class AverageSpec(Spec):
    """An average of the weights along one run, in place of its last ones."""

    kind: Literal["none", "beta", "uniform"] = Field(
        default="none",
        description="`none`: no average. `beta`: weighted by a Beta density over the steps, so "
        "that start and end weigh most (CLIPood, ICML 2023). `uniform`: all alike. Takes memory "
        "for one more model.",
    )
    from_fraction: float = Field(
        default=0.0,
        ge=0.0,
        lt=1.0,
        description="Share of the run's steps behind which the average begins; at 0 the start is "
        "part of it.",
    )
    beta: float = Field(
        default=0.5, gt=0.0, le=10.0, description="Both parameters of the density of `beta`."
    )


class SelectionSpec(Spec):
    """What a training run keeps: its last weights, their average, or the best of several."""

    # Not a union with `Rule`: a bad name would be two errors, at fields that nobody wrote.
    rule: Literal["last", "accuracy", "nll", "bound"] = Field(
        default="last", description=f"`last`: the weights after the last step. {RULES}"
    )
    over: Literal["training", "interpolation"] = Field(
        default="training",
        description="`training`: the run as it is at evenly spaced steps, the last one included. "
        "`interpolation`: its last weights drawn towards the start (WiSE-FT), α = 1/n, 2/n … 1. Of "
        "equals the later step is kept, and the α that is closer to the start.",
    )
    average: AverageSpec = Field(
        default=AverageSpec(),
        description="What stands for the run's weights everywhere: in what is stored, in "
        "candidates and in the validation curve.",
    )
    candidates: int = Field(default=5, ge=1, le=100, description="How many of them, n.")
    split: SplitName = Field(
        default="validation",
        description="Images that the rule looks at; never test images. Where it is empty the last "
        "weights are kept, with a warning.",
    )
