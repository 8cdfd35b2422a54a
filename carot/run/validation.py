"""The validation curve: what a run would end with, measured now and then while it trains.

It is for whoever looks at the run: nothing is chosen by it, and no weight and no random number
depends on it. N validation images, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from carot.calibration.metrics.metrics import top_label_ece
from carot.data.source import ImageSource, SubsetSource
from carot.errors import DataError
from carot.evaluation.evaluate import Outputs
from carot.events import Reporter, Silent, ValidationMeasured, Warning
from carot.run.evaluated import EvaluatedModel
from carot.training.methods import Method, Outcome
from carot.training.trainer import Watcher

MOST_IMAGES = 1000
MOST_LOOKS = 10
SHARE = 10
"""Looks see at most one image or caption for so many images that are trained on."""
FEWEST_IMAGES = 10
"""Of fewer nothing is said to be worse."""
CERTAIN = 3.0
"""Standard errors by which the images must on average be worse than at the start."""


def bounded(source: ImageSource, seed: int) -> ImageSource:
    """Up to `MOST_IMAGES` of a split, drawn with the run's seed, in the split's order."""
    if len(source) <= MOST_IMAGES:
        return source
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randperm(len(source), generator=generator)[:MOST_IMAGES].tolist()
    return SubsetSource(source, sorted(drawn))


def looks_for(trained_on: int, images: int, captions: int) -> int:
    """How often to look behind the start, 1 to `MOST_LOOKS`, so that it costs a run little."""
    return min(MOST_LOOKS, max(1, trained_on // (SHARE * (images + captions))))


class ValidationCurve:
    """Measures a run at its start and at evenly spaced steps, the last one included.

    What was measured travels in the snapshot: a resumed run compares with the same start.

    Args:
        source: the validation images.
        looks: how often behind the start.
        model_of: a classifier out of what a run would end with.
        measure: its outputs on `source`; images that cannot be read are told the reporter given.
    """

    def __init__(
        self,
        method: Method,
        source: ImageSource,
        looks: int,
        *,
        model_of: Callable[[Outcome], EvaluatedModel],
        measure: Callable[[EvaluatedModel, Reporter], Outputs],
        reporter: Reporter,
    ) -> None:
        self._method = method
        self._position = {str(key): index for index, key in enumerate(source.keys)}
        self._looks = looks
        self._model_of = model_of
        self._measure = measure
        self._reporter = reporter
        self._start = _Start(len(source), looks)
        self._given_up = False
        self._warned = False

    def modules(self) -> dict[str, nn.Module]:
        return {"validation": self._start}

    def after_step(self, done: int, total: int) -> None:
        """Look at the run as it is, where a look is due."""
        marks = [math.ceil(total * i / self._looks) for i in range(self._looks + 1)]
        if self._given_up or done not in marks or self._start.seen[marks.index(done)]:
            return
        try:
            # What cannot be read is told once: the later looks meet the same images.
            reporter = self._reporter if done == 0 else Silent()
            outputs = self._measure(self._model_of(self._method.outcome()), reporter)
        except DataError as error:
            # A run that can be trained does not fail for its curve.
            self._given_up = True
            message = f"no validation curve: {error}"
            self._reporter.report(Warning(code="other", message=message))
            return
        finally:
            self._method.model.module.train()
        self._take(done, total, outputs)
        self._start.seen[marks.index(done)] = True

    def _take(self, done: int, total: int, outputs: Outputs) -> None:
        logits_NC = outputs.logits_NC.double()
        confidence_N, answer_N = logits_NC.softmax(dim=1).max(dim=1)
        right_N = answer_N == outputs.labels_N
        loss_N = F.cross_entropy(logits_NC, outputs.labels_N, reduction="none")
        found = ValidationMeasured(
            step=done,
            images=len(loss_N),
            accuracy=float(right_N.double().mean()),
            nll=float(loss_N.mean()),
            ece=top_label_ece(confidence_N, right_N),
        )
        self._reporter.report(found)
        where = [self._position[key] for key in outputs.keys]
        if done == 0:
            self._start.take(where, right_N, loss_N)
        elif not self._warned and self._start.is_better(where, right_N, loss_N):
            self._warned = True
            message = f"step {done} of {total}: {_said(found)}; {self._start.said()} at the start"
            self._reporter.report(Warning(code="worse_than_start", message=message))


class Watchers:
    """Several watchers as one, in their order."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = watchers

    def modules(self) -> dict[str, nn.Module]:
        return {name: module for each in self._watchers for name, module in each.modules().items()}

    def after_step(self, done: int, total: int) -> None:
        for each in self._watchers:
            each.after_step(done, total)


class _Start(nn.Module):
    """How the start did image by image, and which looks are done, as tensors for a snapshot."""

    right_N: Tensor
    loss_N: Tensor
    seen: Tensor

    def __init__(self, images: int, looks: int) -> None:
        super().__init__()
        unknown_N = torch.full((images,), math.nan, dtype=torch.float64)
        self.register_buffer("right_N", unknown_N)
        self.register_buffer("loss_N", unknown_N.clone())
        self.register_buffer("seen", torch.zeros(looks + 1, dtype=torch.bool))

    def take(self, where: Sequence[int], right_n: Tensor, loss_n: Tensor) -> None:
        self.right_N[where] = right_n.double()
        self.loss_N[where] = loss_n

    def is_better(self, where: Sequence[int], right_n: Tensor, loss_n: Tensor) -> bool:
        """Whether the start was clearly better on these images: right more often, or surer of it.

        A negative log-likelihood that rises with the accuracy is overconfidence, for a calibrator.
        """
        known = ~self.loss_N[where].isnan()
        lost_n = (self.right_N[where] - right_n.double())[known]
        risen_n = (loss_n - self.loss_N[where])[known]
        if len(lost_n) < FEWEST_IMAGES:
            return False
        more_wrong = standard_errors(lost_n) > CERTAIN
        return more_wrong or (standard_errors(risen_n) > CERTAIN and float(lost_n.mean()) >= 0)

    def said(self) -> str:
        return _figures(float(self.right_N.nanmean()), float(self.loss_N.nanmean()))


def standard_errors(difference_N: Tensor) -> float:
    """The mean in units of its standard error; of a constant 0 or ±∞."""
    mean, spread = float(difference_N.mean()), float(difference_N.std())
    if spread == 0.0:
        return math.copysign(math.inf, mean) if mean else 0.0
    return mean / spread * math.sqrt(len(difference_N))


def _said(found: ValidationMeasured) -> str:
    return f"{_figures(found.accuracy, found.nll)} on {found.images} validation images"


def _figures(accuracy: float, nll: float) -> str:
    return f"accuracy {accuracy:.1%} and NLL {nll:.3f}"
