"""The straight line between a start's weights and a fine-tuned classifier's, and a choice on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from carot.data.source import ImageSource
from carot.evaluation.reports import Candidate
from carot.evaluation.selection import Judgement, score
from carot.models.merging import interpolate as between
from carot.run.context import Context
from carot.run.evaluated import EvaluatedModel
from carot.run.weights import evaluated_with
from carot.specs import Rule


@dataclass(frozen=True)
class Segment:
    """θ(α) = (1 − α) θ_start + α θ_tuned, heads included (WiSE-FT, CVPR 2022).

    Attributes:
        tuned: the classifier at α = 1.
        first, last: the weights at α = 0 and 1, as `carot.run.weights` has them.
    """

    tuned: EvaluatedModel
    first: Mapping[str, Tensor]
    last: Mapping[str, Tensor]

    def at(self, alpha: float, method: str) -> EvaluatedModel:
        """The classifier at α, without a calibrator."""
        return evaluated_with(self.tuned, between(self.first, self.last, alpha), method)

    def judged(self, context: Context, alpha: float, split: ImageSource, name: str) -> Judgement:
        """What the classifier at α shows on the selection split."""
        outputs = context.outputs(self.at(alpha, ""), split, name)
        return Judgement.of(outputs.logits_NC, outputs.labels_N, outputs.features_ND)


def closest_to_start(rule: Rule, alphas: Sequence[float], judged: Sequence[Judgement]) -> int:
    """Position of the α that the rule prefers, the smallest of equals.

    Nothing in distribution tells equals apart, and under shift the start has the wider experience.
    """
    scores = [score(rule, each) for each in judged]
    return min(range(len(alphas)), key=lambda i: (scores[i], alphas[i]))


def candidate(
    rule: Rule, alpha: float, judged: Judgement, *, chosen: bool, **more: Any
) -> Candidate:
    """One α as a report has it."""
    name = f"α {alpha:g}"
    return Candidate.of(name, judged, score(rule, judged), chosen=chosen, alpha=alpha, **more)
