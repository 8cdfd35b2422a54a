"""Stores the best of a training run's candidates while it trains.

Only the best so far is held, so that memory and snapshots grow by one model however many candidates
there are. It travels in the snapshot: a resumed run ends with the same choice.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from carot.evaluation.evaluate import Outputs
from carot.evaluation.reports import Candidate
from carot.evaluation.selection import Judgement, score
from carot.events import CandidateMeasured, Reporter
from carot.run.evaluated import EvaluatedModel
from carot.specs import Rule
from carot.training.methods import Method, Outcome

COLUMNS = 6  # step, accuracy, nll, calibration error, sigma_min, score


class BestSoFar:
    """Watches a run, judges it at evenly spaced steps and keeps the best.

    Args:
        count: how many candidates; the last step is one of them.
        model_of: a classifier out of what a run would end with.
        measure: its outputs on the selection split.
    """

    def __init__(
        self,
        method: Method,
        rule: Rule,
        count: int,
        *,
        model_of: Callable[[Outcome], EvaluatedModel],
        measure: Callable[[EvaluatedModel], Outputs],
        reporter: Reporter,
    ) -> None:
        self.rule = rule
        self._method = method
        self._count = count
        self._model_of = model_of
        self._measure = measure
        self._reporter = reporter
        outcome = method.outcome()
        self._trained_head = outcome.head_CD is not None
        self._kept = _Kept(outcome, model_of(outcome).head_CD, count)

    def modules(self) -> dict[str, nn.Module]:
        return {"best": self._kept}

    def after_step(self, done: int, total: int) -> None:
        """Judge the run as it is, where a candidate is due."""
        marks = [math.ceil(total * (i + 1) / self._count) for i in range(self._count)]
        if done not in marks or self._kept.has(marks.index(done)):
            return
        outcome = self._method.outcome()
        evaluated = self._model_of(outcome)
        outputs = self._measure(evaluated)
        found = Judgement.of(outputs.logits_NC, outputs.labels_N, outputs.features_ND)
        value = score(self.rule, found)
        self._kept.note(marks.index(done), done, found, value)
        # Of equals the later one: it has trained longer.
        if self._kept.chosen() == marks.index(done):
            self._kept.take(outcome, evaluated.head_CD)
        self._method.model.module.train()
        self._reporter.report(
            CandidateMeasured(
                step=done,
                accuracy=found.accuracy,
                nll=found.nll,
                calibration_error=found.calibration_error,
                sigma_min=found.sigma_min,
                score=value if math.isfinite(value) else None,
            )
        )

    def outcome(self) -> Outcome:
        """The best candidate."""
        return Outcome(self._kept.module, self._kept.head_CD if self._trained_head else None)

    def candidates(self) -> list[Candidate]:
        """Every candidate, in the order of training."""
        chosen = self._kept.chosen()
        rows = [(index, row) for index, row in enumerate(self._kept.table.tolist()) if row[0] > 0]
        return [
            Candidate.of(
                f"step {row[0]:.0f}",
                Judgement(*row[1:5]),
                row[5],
                chosen=index == chosen,
                step=int(row[0]),
            )
            for index, row in rows
        ]


class _Kept(nn.Module):
    """The best weights and head, and a table of all candidates, as tensors for a snapshot."""

    head_CD: Tensor
    table: Tensor

    def __init__(self, outcome: Outcome, head_CD: Tensor, count: int) -> None:
        super().__init__()
        self.module = copy.deepcopy(outcome.module).eval().requires_grad_(False)
        self.register_buffer("head_CD", head_CD.detach().clone())
        self.register_buffer("table", torch.zeros(count, COLUMNS, dtype=torch.float64))

    def note(self, index: int, step: int, found: Judgement, value: float) -> None:
        row = (step, found.accuracy, found.nll, found.calibration_error, found.sigma_min, value)
        self.table[index] = torch.tensor(row, dtype=torch.float64)

    def has(self, index: int) -> bool:
        return bool(self.table[index, 0] > 0)

    @torch.no_grad()
    def take(self, outcome: Outcome, head_CD: Tensor) -> None:
        self.module.load_state_dict(outcome.module.state_dict())
        self.head_CD.copy_(head_CD)

    def chosen(self) -> int:
        """Position of the lowest score, the last of equals."""
        rows = self.table.tolist()
        return min((row[5], -index) for index, row in enumerate(rows) if row[0] > 0)[1] * -1
