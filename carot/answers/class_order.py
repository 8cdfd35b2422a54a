"""Classes of several images in the order in which answers list them.

Shape suffixes: N images, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from carot.answers.schemas import Guess, Member


@dataclass(frozen=True)
class ClassOrder:
    """Their probabilities, and which comes first.

    Attributes:
        names: C of them.
        logits_NC: any floating point.
        raw_NC, calibrated_NC: probabilities, float64.
        order_NC: class indices from the first to the last.
    """

    names: Sequence[str]
    logits_NC: Tensor
    raw_NC: Tensor
    calibrated_NC: Tensor
    order_NC: Tensor

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        logits_NC: Tensor,
        raw_NC: Tensor,
        calibrated_NC: Tensor,
        *,
        keeps_ranking: bool,
    ) -> ClassOrder:
        """The most probable first, by calibrated probability; equal ones by logit, then by place.

        Args:
            keeps_ranking: whether a larger logit never has a smaller calibrated probability; then
                logits give the same order, and no rounding blurs it.
        """
        order_NC = logits_NC.sort(dim=1, descending=True, stable=True).indices
        if not keeps_ranking:
            sorted_NC = calibrated_NC.gather(1, order_NC)
            again_NC = sorted_NC.sort(dim=1, descending=True, stable=True).indices
            order_NC = order_NC.gather(1, again_NC)
        return cls(names, logits_NC, raw_NC, calibrated_NC, order_NC)

    def guesses(self, top_k: int) -> list[list[Guess]]:
        """The first `top_k` classes of each image, or all where there are fewer."""
        order_NK = self.order_NC[:, :top_k]
        columns = (order_NK, *(x.gather(1, order_NK) for x in self._numbers()))
        return [
            [
                Guess(label=self.names[c], index=c, confidence=p, raw_confidence=r, logit=z)
                for c, p, r, z in zip(*row, strict=True)
            ]
            for row in zip(*(column.tolist() for column in columns), strict=True)
        ]

    def members(self, inside_NC: Tensor) -> list[list[Member]]:
        """The classes of each image for which `inside_NC` is true, in order."""
        inside_NC = inside_NC.gather(1, self.order_NC)
        sizes = inside_NC.sum(dim=1).tolist()
        shown = self.order_NC[inside_NC].tolist()
        chances = self.calibrated_NC.gather(1, self.order_NC)[inside_NC].tolist()
        members = iter(
            Member(label=self.names[c], index=c, confidence=p)
            for c, p in zip(shown, chances, strict=True)
        )
        return [[next(members) for _ in range(size)] for size in sizes]

    def _numbers(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.calibrated_NC, self.raw_NC, self.logits_NC
