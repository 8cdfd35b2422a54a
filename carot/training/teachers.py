"""Teachers: models that follow the student slowly, as averages of its weights.

Two averages, one interface. Steps are counted from 0. Within a step: student forward, teacher
forward (from the second step on), optimizer, then `update`, which does something when one is due.
A teacher is a function of the steps it was told of: a snapshot needs its module and no counter.

`momentum` (CaRot §4.2, A.3): ψ ← m ψ + (1 − m) θ, m rising. As published (every 500 of 25,030
steps) it is no anchor to the model it started from: of that, 13 % is left behind step 500 and
0.03 % behind step 5000. It is the student as it was some updates ago.

`trajectory` (TRACER §3.4): the average of all that the student was, weighted by a Beta density;
ψ_k = (1 − ω_k) ψ_{k−1} + ω_k θ_k with ω_k of `trajectory_shares`, k counting updates. Shares are as
small as 1e-5, and weights are float32: simulated over 25,000 steps of AdamW at 1e-5, weights near
0.02 err on average by under 1e-4 of the distance from teacher to student, gains near 1 by 1.5 %.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor, nn

from carot.models.adapters import copy_sharing_frozen, merged
from carot.specs import TeacherSpec

PUBLISHED_UPDATES = 50
"""CaRot's published run updates its teacher every 500 of 25,000 steps."""


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


def trajectory_shares(updates: int, beta: float) -> np.ndarray:
    """Share ω_k that the student takes in update k = 0 … `updates`, float64; ω_0 is 1.

    ω_k = κ(τ_k) / Σ_{j ≤ k} κ(τ_j), τ_k = (k + ½) / (updates + 1), κ(τ) = (τ (1 − τ))^(β − 1), the
    density of Beta(β, β) up to a constant. So the last ψ weights θ_k in proportion to κ(τ_k).
    Update 0 is the start itself, as in the released code; the paper's Algorithm 1 would let the
    first update overwrite it.
    """
    tau = (np.arange(updates + 1) + 0.5) / (updates + 1)
    kappa = (tau * (1.0 - tau)) ** (beta - 1.0)
    shares: np.ndarray = kappa / np.cumsum(kappa)
    return shares


class Teacher(ABC):
    """A copy of a model that is an average of what the model was.

    Of a model with adapters it averages the weights that they make, not their factors: a mean of
    products is no product of means.

    Attributes:
        module: the copy, in evaluation mode, without gradients or adapters; what the student has
            frozen is the student's own.
        update_every: steps between updates, the first behind step 0.
    """

    def __init__(self, student: nn.Module, update_every: int) -> None:
        copied = copy_sharing_frozen(merged(student))
        self.module = copied.eval().requires_grad_(False)
        self.update_every = update_every

    @abstractmethod
    def share(self, step: int) -> float:
        """Share that the student takes in the update behind `step`: 0 (none) to 1 (all)."""

    @torch.no_grad()
    def update(self, student: nn.Module, step: int) -> None:
        """Move towards `student` behind `step`, if an update is due.

        Buffers are copied: they are statistics (of batch normalisation), not weights, and
        statistics of the starting model beside averaged weights fit neither. The released code
        leaves them stale.
        """
        if step % self.update_every != 0:
            return
        share = self.share(step)
        for name, psi in self.module.named_parameters():
            path, _, tensor = name.rpartition(".")
            # With adapters no parameter, but what they make of one.
            theta: Tensor = getattr(student.get_submodule(path), tensor)
            if theta is not psi:
                psi.lerp_(theta.detach(), share)
        buffers = dict(student.named_buffers())
        for name, buffer in self.module.named_buffers():
            buffer.copy_(buffers[name])


class MomentumTeacher(Teacher):
    """An exponential average whose momentum rises with the steps (CaRot)."""

    def __init__(self, spec: TeacherSpec, student: nn.Module, total_steps: int) -> None:
        super().__init__(student, spec.update_every or max(1, total_steps // PUBLISHED_UPDATES))
        self.spec = spec
        self.total_steps = total_steps

    def share(self, step: int) -> float:
        return 1.0 - momentum_at(
            step,
            self.total_steps,
            initial=self.spec.initial_momentum,
            final=self.spec.final_momentum,
            warmup_fraction=self.spec.warmup_fraction,
        )


class TrajectoryTeacher(Teacher):
    """An average over the whole run, weighted by a Beta density (TRACER).

    Where it is not updated every step, the density spans the updates: the last of them weighs as
    much as the start. (In the released code it spans the steps in any case, so that rare updates
    see but its beginning.)
    """

    def __init__(self, spec: TeacherSpec, student: nn.Module, total_steps: int) -> None:
        super().__init__(student, spec.update_every or 1)
        updates = -(-total_steps // self.update_every)
        self.shares = trajectory_shares(updates, spec.beta)

    def share(self, step: int) -> float:
        return float(self.shares[step // self.update_every + 1])


def build_teacher(spec: TeacherSpec, student: nn.Module, total_steps: int) -> Teacher:
    """The teacher that a spec names, starting as a copy of `student`."""
    kinds = {"momentum": MomentumTeacher, "trajectory": TrajectoryTeacher}
    return kinds[spec.kind](spec, student, total_steps)
