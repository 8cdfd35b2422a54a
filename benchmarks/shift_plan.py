"""What `benchmarks/shift.py` compares, and the one rule by which every method is tuned.

Every trained method gets the same grid of lengths and peak rates (a linear probe's rates are those
of a head) and the same seed to tune on, which no reported run uses. Of the grid it takes the
configuration with the lowest negative log-likelihood on in-distribution validation. The constants
of a method are those of its recipe, and are not tuned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.shift_runs import Run
from carot.specs.presets import preset

EPOCHS = (8, 16)
RATES = (5e-4, 1e-3)
HEAD_RATES = (1e-3, 1e-2)
TUNING_SEED = 100
SEEDS = (1, 2, 3, 4, 5)
QUICK_SEEDS = (1, 2, 3)
QUICK_IMAGES = 8

PAPER = "carot-paper"
DEFAULT = "carot"
WISE_ALPHA = 0.5
"""WiSE-FT's own constant for when nothing is tuned."""


@dataclass(frozen=True)
class Trained:
    """A row of the table that is trained.

    Attributes:
        title: as people know it.
        method: its spec.
        rates: peak rates to choose from.
        like: the row whose tuned configuration it takes over, for an ablation.
        average: of the weights along its run; None for the last weights.
    """

    title: str
    method: Mapping[str, Any]
    rates: tuple[float, ...] = RATES
    like: str | None = None
    average: Mapping[str, Any] | None = None

    def run(
        self,
        name: str,
        epochs: int,
        rate: float,
        seed: int,
        *,
        images: int | None,
        tuning: bool = False,
    ) -> Run:
        """One run of it."""
        average = None if self.average is None else dict(self.average)
        return Run(name, dict(self.method), epochs, rate, seed, tuning, images, average)

    def grid(self, name: str, *, quick: bool) -> list[Run]:
        """Its tuning runs."""
        images = QUICK_IMAGES if quick else None
        epochs = (1,) if quick else EPOCHS
        # One row shows that tuning runs.
        rates = self.rates[:1] if quick and name != PAPER else self.rates
        return [
            self.run(name, length, rate, TUNING_SEED, images=images, tuning=True)
            for length in epochs
            for rate in rates
        ]


def recipe(name: str) -> dict[str, Any]:
    """The method of a recipe."""
    method: dict[str, Any] = dict(preset(name)["method"])
    return method


TRAINED: dict[str, Trained] = {
    "linear-probe": Trained("linear probe", recipe("linear-probe"), HEAD_RATES),
    "finetune": Trained("full fine-tuning", recipe("finetune")),
    "lp-ft": Trained("LP-FT", recipe("lp-ft")),
    "flyp": Trained("FLYP", recipe("flyp")),
    "label-smoothing": Trained("FLYP + label smoothing", recipe("label-smoothing")),
    "lipsum-ft": Trained("Lipsum-FT", recipe("lipsum-ft")),
    "function-space": Trained("function space (arXiv 2509.05328)", recipe("function-space")),
    "dive": Trained("DiVE, on the training batch", recipe("dive")),
    "carot-contrastive": Trained("CaRot, contrastive only", recipe("carot-contrastive")),
    "carot-orthogonality": Trained("CaRot, + orthogonality", recipe("carot-orthogonality")),
    "carot-distillation": Trained("CaRot, + distillation", recipe("carot-distillation")),
    PAPER: Trained("CaRot as published", recipe(PAPER)),
    "tracer": Trained("TRACER", recipe("tracer")),
}

DEFAULT_METHOD = recipe(DEFAULT)
TRAINED[DEFAULT] = Trained("**this project's default**", DEFAULT_METHOD)
TRAINED["carot-trajectory"] = Trained("the default, TRACER's teacher", recipe("carot-trajectory"))
TRAINED["carot-merged"] = Trained(
    "the default, merged along its run",
    recipe("carot-merged"),
    average=preset("carot-merged")["selection"]["average"],
)


def _default_with(**changes: Any) -> dict[str, Any]:
    return {**DEFAULT_METHOD, **changes}


ABLATION: dict[str, Trained] = {
    "paper-like-default": Trained(
        "CaRot as published, with the default's configuration", recipe(PAPER), like=DEFAULT
    ),
    "class-positives": Trained(
        "+ positives of one class",
        _default_with(anchor={"weight": 0.0}),
        like=DEFAULT,
    ),
    "unsure-anchor": Trained(
        "+ anchor, the start's confidences as they are",
        _default_with(anchor={**DEFAULT_METHOD["anchor"], "temperature": 1.0}),
        like=DEFAULT,
    ),
}
"""The parts of the default recipe, each trained with the configuration that was tuned for it."""
