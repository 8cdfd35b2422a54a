"""The rows of the table that need no training: zero-shot, WiSE-FT, uniform soup, Model Stock."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks.shift_plan import PAPER, WISE_ALPHA
from benchmarks.shift_runs import HEAD, Run
from benchmarks.shift_suite import Suite, suite
from carot.models.merging import interpolate, model_stock, uniform_soup

WISE = {"wise-finetune": "finetune", "wise-flyp": "flyp", "wise-carot-paper": PAPER}
MERGED = {
    "soup-finetune": ("finetune", "uniform soup"),
    "stock-finetune": ("finetune", "Model Stock"),
    "soup-carot-paper": (PAPER, "uniform soup"),
    "stock-carot-paper": (PAPER, "Model Stock"),
}
TITLES = {"finetune": "full fine-tuning", "flyp": "FLYP", PAPER: "CaRot as published"}
TRAINED_HEADS = frozenset({"finetune"})
DERIVED = (*WISE, *MERGED)


def zero_shot(images: int | None) -> dict[str, Any]:
    """The start as it is."""
    sets = suite(images)
    found = {"step": 0, "share": 0.0, **sets.measure(sets.model, sets.text_head(sets.model))}
    return {"title": "zero-shot", "ablation": False, "seeds": [[found]]}


def derive(name: str, finals: Mapping[str, Sequence[Run]], folder: Path) -> dict[str, Any]:
    """A row made from the final weights of another.

    A soup takes all seeds but one, so that there is a spread: one soup for each seed left out.
    """
    origin = WISE[name] if name in WISE else MERGED[name][0]
    runs = finals[origin]
    sets = suite(runs[0].images)
    head_CD = sets.text_head(sets.model)
    start = {**sets.model.module.state_dict(), HEAD: head_CD}
    weights = [run.weights(folder) for run in runs]
    if name in WISE:
        title = f"{TITLES[origin]} + WiSE-FT, α {WISE_ALPHA:g}"
        made = [interpolate(start, each, WISE_ALPHA) for each in weights]
    else:
        title = f"{TITLES[origin]}, {MERGED[name][1]} of {len(weights) - 1}"
        others = [[w for j, w in enumerate(weights) if j != i] for i in range(len(weights))]
        soup = MERGED[name][1] == "uniform soup"
        made = [uniform_soup(each) if soup else model_stock(start, each) for each in others]
    found = [_measure(sets, each, trained=origin in TRAINED_HEADS) for each in made]
    return {
        "title": title,
        "ablation": False,
        "seeds": [[{"step": None, "share": 1.0, **each}] for each in found],
    }


def _measure(sets: Suite, weights: Mapping[str, Tensor], *, trained: bool) -> dict[str, Any]:
    module = copy.deepcopy(sets.model.module)
    module.load_state_dict({name: value for name, value in weights.items() if name != HEAD})
    model = sets.model.with_module(module)
    return sets.measure(model, weights[HEAD] if trained else sets.text_head(model))
