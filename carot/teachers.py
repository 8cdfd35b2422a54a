"""Moving-average teachers and the schedule of their momentum (CaRot §4.2, A.3).

Steps are counted from 0. Within a step: student forward, teacher forward (from the second step on),
optimizer, then, if `update_due`, the teacher's update with `momentum_at` that step. As published
(every 500 of 25,030 steps) the teacher is no anchor to the model it started from: of that, 13 % is
left behind step 500 and 0.03 % behind step 5000. It is the student as it was some updates ago.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn


def momentum_at(
    step: int, total_steps: int, *, initial: float, final: float, warmup_fraction: float
) -> float:
    """Share of itself that the teacher keeps when it is updated behind `step`.

    Rises linearly from `initial` to `final` over the first `warmup_fraction` of `total_steps`, then
    stays; as published 0.05 to 0.9 over 20 %.
    """
    warmup = warmup_fraction * total_steps
    if step >= warmup:
        return final
    return initial + (final - initial) * step / warmup


def update_due(step: int, update_every: int) -> bool:
    """Whether the teacher is updated behind this step: every `update_every`, from 0 on."""
    return step % update_every == 0


class MovingAverageTeacher:
    """A copy of a model that follows it slowly: ψ ← m ψ + (1 − m) θ.

    Attributes:
        module: the copy, in evaluation mode and without gradients.
    """

    def __init__(self, student: nn.Module) -> None:
        self.module = copy.deepcopy(student).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, student: nn.Module, momentum: float) -> None:
        """Move towards `student`; `momentum` is 0 (become it) to 1 (stay).

        Buffers are copied: they are statistics (of batch normalisation), not weights, and
        statistics of the starting model beside averaged weights fit neither. The released code
        leaves them stale.
        """
        theta = dict(student.named_parameters())
        for name, psi in self.module.named_parameters():
            psi.lerp_(theta[name].detach(), 1.0 - momentum)
        buffers = dict(student.named_buffers())
        for name, buffer in self.module.named_buffers():
            buffer.copy_(buffers[name])

    def state_dict(self) -> dict[str, Tensor]:
        """The copy's weights and buffers, for a snapshot."""
        return self.module.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a snapshot; the names must be those of `state_dict`."""
        self.module.load_state_dict(state)
