"""What the fashion benchmark compares, and how long and how fast each row is trained.

Three protocols. (P), as the papers do it: one budget and one peak rate for all, the published 10
epochs and the middle of the grid of rates, as somebody trains who does not stop early. (T): each
row takes the rate of the same grid with the highest in-distribution validation accuracy; (N) the
same by the lowest validation NLL. Tuning runs have a seed of their own, which no reported run has.
Rows that are there for their parts, or take long, are in (P) alone. The constants of a method are
those of its recipe, and are not tuned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.fashion.runs import Run
from carot.specs.presets import preset

EPOCHS = 10
RATES = (3e-4, 1e-3, 3e-3)
BUDGET_RATE = RATES[1]
TUNING_SEED = 100
SEEDS = (1, 2, 3, 4, 5)
QUICK_SEEDS = (1, 2, 3)
QUICK_IMAGES = 16
PROTOCOLS = {
    "P": "one budget for all",
    "T": "tuned by validation accuracy",
    "N": "tuned by validation NLL",
}

DEFAULT, PAPER, MERGED = "carot", "carot-paper", "carot-merged"
PARTS = ("method", "selection", "adapters")
"""Of a recipe, what a row takes."""


@dataclass(frozen=True)
class Row:
    """A row of the table that is trained.

    Attributes:
        title: as people know it.
        spec: what its job says besides model, data and training.
        tuned: whether it is in (T) and (N) as well.
    """

    title: str
    spec: Mapping[str, Any]
    tuned: bool = True


def recipe(name: str, **more: Any) -> dict[str, Any]:
    """What a row takes from a recipe."""
    found = preset(name)
    return {part: found[part] for part in PARTS if part in found} | more


ROWS: dict[str, Row] = {
    "finetune": Row("full fine-tuning", recipe("finetune")),
    "lp-ft": Row("LP-FT", recipe("lp-ft")),
    "flyp": Row("FLYP", recipe("flyp")),
    PAPER: Row("CaRot as published", recipe(PAPER)),
    DEFAULT: Row("**this project's default**", recipe(DEFAULT)),
    MERGED: Row("the default, merged along its run", recipe(MERGED)),
    "tracer": Row("TRACER", recipe("tracer")),
    "lipsum-ft": Row("Lipsum-FT", recipe("lipsum-ft"), tuned=False),
    "function-space": Row("function space (arXiv 2509.05328)", recipe("function-space")),
    "carot-trajectory": Row(
        "the default, TRACER's teacher", recipe("carot-trajectory"), tuned=False
    ),
    "carot-lora": Row("the default, LoRA", recipe(DEFAULT, adapters={"kind": "lora"}), tuned=False),
    "dive": Row("DiVE, on the training batch", recipe("dive"), tuned=False),
    "label-smoothing": Row("FLYP + label smoothing", recipe("label-smoothing"), tuned=False),
    "linear-probe": Row("linear probe", recipe("linear-probe"), tuned=False),
    "carot-contrastive": Row("CaRot, contrastive only", recipe("carot-contrastive"), tuned=False),
    "carot-orthogonality": Row(
        "CaRot, + orthogonality", recipe("carot-orthogonality"), tuned=False
    ),
    "carot-distillation": Row("CaRot, + distillation", recipe("carot-distillation"), tuned=False),
}
"""In the order in which they are run."""

MERGED_FROM = (DEFAULT, PAPER)
"""Rows of whose runs soups, Model Stock and WiSE-FT are made."""


def run(name: str, rate: float, seed: int, *, quick: bool, tuning: bool = False) -> Run:
    """One run of a row."""
    return Run(
        name,
        dict(ROWS[name].spec),
        1 if quick else EPOCHS,
        rate,
        seed,
        tuning=tuning,
        limit=QUICK_IMAGES if quick else None,
        keeps_weights=name in MERGED_FROM,
    )


def tuning_runs(name: str, *, quick: bool) -> list[Run]:
    """The runs that a row's rate is chosen by; none where it is not tuned."""
    if not ROWS[name].tuned:
        return []
    return [run(name, rate, TUNING_SEED, quick=quick, tuning=True) for rate in RATES]
