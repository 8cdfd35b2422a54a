"""The rows that need no training of their own: soup, Model Stock and WiSE-FT of another's runs."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from benchmarks.fashion.plan import DEFAULT, PAPER
from benchmarks.fashion.runs import HEAD, Run, keep_logits, kept_logits
from benchmarks.fashion.suite import CALIBRATION, ID, OOD, VALIDATION, Suite, suite
from carot.models.merging import interpolate, model_stock, uniform_soup

WISE_ALPHA = 0.5
"""WiSE-FT's own constant for when nothing is tuned."""
Kind = Literal["wise", "soup", "stock"]


@dataclass(frozen=True)
class Derived:
    """One merged model.

    Attributes:
        origin: the row whose runs are merged.
        runs: those runs; all but one seed's for a soup, so that there is a spread.
    """

    kind: Kind
    title: str
    origin: str
    runs: tuple[Run, ...] = ()

    @property
    def key(self) -> str:
        """The name of its files."""
        seeds = "".join(str(run.seed) for run in self.runs)
        first = self.runs[0]
        return f"{self.kind}-{self.origin}-run-e{first.epochs}-lr{first.learning_rate:g}-s{seeds}"

    def of(self, runs: Sequence[Run]) -> Iterator[Derived]:
        """The models that are merged from a row's runs, one for each seed."""
        for run in runs:
            others = tuple(each for each in runs if each is not run)
            yield replace(self, runs=(run,) if self.kind == "wise" else others)

    def done(self, folder: Path) -> dict[str, Any] | None:
        """What is known of it, if it was merged from the same runs before."""
        path = folder / f"{self.key}.json"
        if not path.exists():
            return None
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        made_of = [_known(run, folder) for run in self.runs]
        return kept if kept["made_of"] == made_of else None

    def logits(self, folder: Path) -> dict[str, Tensor]:
        """The logits (N, C) of each set, float32."""
        return kept_logits(folder / self.key)

    def execute(self, folder: Path) -> dict[str, Any]:
        """Merge and keep the logits, unless that is done."""
        kept = self.done(folder)
        if kept is not None:
            return kept
        sets = suite(self.runs[0].limit)
        weights = self._merged(sets, [run.weights(folder) for run in self.runs])
        module = copy.deepcopy(sets.model.module)
        module.load_state_dict({name: value for name, value in weights.items() if name != HEAD})
        model = sets.model.with_module(module)
        names = (VALIDATION, CALIBRATION, ID, *OOD)
        document = {
            "made_of": [_known(run, folder) for run in self.runs],
            "sha256": keep_logits(sets, model, sets.text_head(model), folder / self.key, names),
        }
        (folder / f"{self.key}.json").write_text(json.dumps(document), encoding="utf-8")
        return document

    def _merged(self, sets: Suite, weights: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        start = {**sets.model.module.state_dict(), HEAD: sets.text_head(sets.model)}
        if self.kind == "wise":
            return interpolate(start, weights[0], WISE_ALPHA)
        return uniform_soup(weights) if self.kind == "soup" else model_stock(start, weights)


def _known(run: Run, folder: Path) -> str:
    found = run.done(folder)
    return "" if found is None else str(found["sha256"])


DERIVED: dict[str, Derived] = {
    "soup-carot": Derived("soup", "the default, uniform soup of 4", DEFAULT),
    "stock-carot": Derived("stock", "the default, Model Stock of 4", DEFAULT),
    "wise-carot": Derived("wise", f"the default + WiSE-FT, α {WISE_ALPHA:g}", DEFAULT),
    "stock-carot-paper": Derived("stock", "CaRot as published, Model Stock of 4", PAPER),
    "wise-carot-paper": Derived("wise", f"CaRot as published + WiSE-FT, α {WISE_ALPHA:g}", PAPER),
}
