"""A method whose run ends with an average of the weights along it, not with the last ones.

    θ̄ = Σ_k κ(τ_k) θ_k / Σ_k κ(τ_k),  k = 0 … n,  τ_k = (k + ½) / (n + 1)

θ_k are the weights, and the trained head, k steps behind where the average begins; θ_0 is the
run's start where it begins there. κ is the density of Beta(β, β): with β = ½, where start and end
weigh most, this is the model that CLIPood (Shu et al., ICML 2023) deploys, and the average that
teaches TRACER (`carot.training.teachers`). β = 1 weights all alike: with a late beginning that is
stochastic weight averaging (Izmailov et al., UAI 2018). One run, one more copy of the model; what
trains is as without it, bit for bit. Buffers are the last step's, as in teachers: statistics of
batch normalisation are not those of the averaged weights.

Shape suffixes: C classes, D embedding width.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from carot.distributed import Share
from carot.specs import AverageSpec, TrainingSpec
from carot.training.methods.base import Encode, Features, Look, Loss, Method, Outcome
from carot.training.teachers import trajectory_shares

UNIFORM = 1.0
"""The β that weights all steps alike."""


def averaged(method: Method, spec: AverageSpec) -> Method:
    """The method with an average along its run; itself where none is asked for, or none trains."""
    return Averaged(method, spec) if spec.kind != "none" and method.trains else method


class Averaged(Method):
    """Another method, which it leaves to train as it does, with another outcome.

    Attributes:
        first: steps behind which the average begins; until then it is the student.
    """

    def __init__(self, inner: Method, spec: AverageSpec) -> None:
        super().__init__(inner.model, inner.total_steps)
        self.inner = inner
        self.uses_captions = inner.uses_captions
        self.trains = inner.trains
        self.warnings = inner.warnings
        self.first = min(round(spec.from_fraction * self.total_steps), self.total_steps - 1)
        beta = UNIFORM if spec.kind == "uniform" else spec.beta
        self.shares = trajectory_shares(self.total_steps - self.first, beta)
        self.average = _Average(inner.outcome())

    def modules(self) -> dict[str, nn.Module]:
        return {**self.inner.modules(), "average": self.average}

    def parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        return self.inner.parameters()

    def learning_rate(self, step: int, spec: TrainingSpec) -> float:
        return self.inner.learning_rate(step, spec)

    def prepare(self, look: Look) -> None:
        self.inner.prepare(look)

    def before_step(self, step: int) -> None:
        self.inner.before_step(step)

    def anchors(self, step: int, images_NCHW: Tensor, share: Share | None = None) -> Tensor | None:
        return self.inner.anchors(step, images_NCHW, share)

    def teach(self, step: int, encode: Encode) -> Features | None:
        return self.inner.teach(step, encode)

    def loss(self, features: Features, teacher: Features | None) -> Loss:
        return self.inner.loss(features, teacher)

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        self.inner.after_step(step)
        # Share 1 takes the student as it is; where the average begins it is ω_0, too.
        share = float(self.shares[max(0, step + 1 - self.first)])
        self.average.move(self.inner.outcome(), share)

    def outcome(self) -> Outcome:
        return self.average.outcome()


class _Average(nn.Module):
    """The averaged weights and head, as tensors for a snapshot."""

    head_CD: Tensor | None

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.module = copy.deepcopy(outcome.module).eval().requires_grad_(False)
        head_CD = outcome.head_CD
        self.register_buffer("head_CD", None if head_CD is None else head_CD.detach().clone())

    def move(self, outcome: Outcome, share: float) -> None:
        """Move towards what the run would end with without an average, by a share of 0 to 1."""
        theta = dict(outcome.module.named_parameters())
        for name, mean in self.module.named_parameters():
            mean.lerp_(theta[name].detach(), share)
        buffers = dict(outcome.module.named_buffers())
        for name, buffer in self.module.named_buffers():
            buffer.copy_(buffers[name])
        if self.head_CD is not None and outcome.head_CD is not None:
            self.head_CD.lerp_(outcome.head_CD.detach(), share)

    def outcome(self) -> Outcome:
        """The average as it is; copied by nobody, so that it moves on with the run."""
        return Outcome(self.module, self.head_CD)
