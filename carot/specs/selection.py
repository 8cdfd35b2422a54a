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


class SelectionSpec(Spec):
    """What a training run keeps: its last weights, or the best of several candidates."""

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
    candidates: int = Field(default=5, ge=1, le=100, description="How many of them, n.")
    split: SplitName = Field(
        default="validation",
        description="Images that the rule looks at; never test images. Where it is empty the last "
        "weights are kept, with a warning.",
    )
