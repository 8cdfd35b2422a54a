"""The methods, by name."""

from __future__ import annotations

from typing import assert_never

from torch import Tensor

from carot.models.clip import ClipModel
from carot.models.prompts import Captions, zero_shot_head
from carot.specs import (
    CarotMethod,
    DiveMethod,
    FinetuneMethod,
    FlypMethod,
    FunctionSpaceMethod,
    LabelSmoothingMethod,
    LinearProbeMethod,
    LipsumMethod,
    LpFtMethod,
    TracerMethod,
    ZeroShotMethod,
)
from carot.specs import Method as MethodSpec
from carot.training.methods.averaged import Averaged, averaged
from carot.training.methods.base import Features, Loss, Method, Outcome
from carot.training.methods.carot import Carot
from carot.training.methods.dive import Dive
from carot.training.methods.finetune import Finetune
from carot.training.methods.flyp import Flyp
from carot.training.methods.function_space import FunctionSpace
from carot.training.methods.label_smoothing import LabelSmoothing
from carot.training.methods.linear_probe import LinearProbe
from carot.training.methods.lipsum import Lipsum
from carot.training.methods.lp_ft import LpFt
from carot.training.methods.tracer import Tracer
from carot.training.methods.zero_shot import ZeroShot

__all__ = [
    "Averaged", "Carot", "Dive", "Features", "Finetune", "Flyp", "FunctionSpace", "LabelSmoothing",
    "LinearProbe", "Lipsum", "Loss", "LpFt", "Method", "Outcome", "Tracer", "ZeroShot", "averaged",
    "build_method",
]  # fmt: skip


def build_method(
    spec: MethodSpec, model: ClipModel, captions: Captions, total_steps: int, seed: int = 0
) -> Method:
    """The method that a spec names, bound to `model`, which is still as the run starts from it.

    Args:
        seed: of whatever a method draws at random; the same run draws the same.

    Raises:
        ModelError: the model lacks what the method asks of it.
        SpecError: the method's constants do not fit the model.
    """

    def zero_shot_weights() -> Tensor:
        return model.logit_scale.detach().exp() * zero_shot_head(model, captions)

    match spec:
        case ZeroShotMethod():
            return ZeroShot(model, total_steps)
        case LinearProbeMethod():
            return LinearProbe(spec, model, total_steps, zero_shot_weights())
        case FinetuneMethod():
            return Finetune(spec, model, total_steps, zero_shot_weights())
        case LpFtMethod():
            return LpFt(spec, model, total_steps, zero_shot_weights())
        case LipsumMethod():
            return Lipsum(spec, model, total_steps, zero_shot_weights(), seed)
        case FunctionSpaceMethod():
            return FunctionSpace(spec, model, total_steps, zero_shot_weights(), seed)
        case CarotMethod():
            return Carot(spec, model, total_steps, zero_shot_weights, seed)
        case FlypMethod() | LabelSmoothingMethod() | DiveMethod() | TracerMethod():
            return _contrastive(spec, model, total_steps)
        case _:
            assert_never(spec)


def _contrastive(
    spec: FlypMethod | LabelSmoothingMethod | DiveMethod | TracerMethod,
    model: ClipModel,
    total_steps: int,
) -> Method:
    """Those that train both towers, and draw nothing at random."""
    match spec:
        case FlypMethod():
            return Flyp(spec, model, total_steps)
        case LabelSmoothingMethod():
            return LabelSmoothing(spec, model, total_steps)
        case DiveMethod():
            return Dive(spec, model, total_steps)
        case TracerMethod():
            return Tracer(spec, model, total_steps)
