"""Which of several candidates is kept, judged on in-distribution data alone."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from carot.specs.base import Spec
from carot.specs.evaluation import SplitName

RULES = (
    "`accuracy`: highest on the selection split. `nll`: lowest negative log-likelihood there. "
    "`bound`: lowest sum of the bound's two terms, the calibration error and the spread of the "
    "features (CaRot, Theorem 3.1; see `carot.selection`)."
)
Rule = Annotated[Literal["accuracy", "nll", "bound"], Field(description=RULES)]


class SelectionSpec(Spec):
    """What a training run keeps: its last weights, or the best of several along the way."""

    # Not a union with `Rule`: a bad name would be two errors, at fields that nobody wrote.
    rule: Literal["last", "accuracy", "nll", "bound"] = Field(
        default="last", description=f"`last`: the weights after the last step. {RULES}"
    )
    candidates: int = Field(
        default=5, ge=1, le=100, description="How many, evenly spaced; the last step is one."
    )
    split: SplitName = Field(
        default="validation", description="Images that the rule looks at; never test images."
    )
