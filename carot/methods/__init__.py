"""The methods, by name."""

from __future__ import annotations

from torch import Tensor

from carot.methods.base import Features, Loss, Method, Outcome
from carot.methods.carot import Carot
from carot.methods.finetune import Finetune
from carot.methods.flyp import Flyp
from carot.methods.zero_shot import ZeroShot
from carot.models import ClipModel
from carot.prompts import Captions, zero_shot_head
from carot.specs import CarotMethod, FinetuneMethod, FlypMethod, ZeroShotMethod
from carot.specs import Method as MethodSpec

__all__ = [
    "Carot", "Features", "Finetune", "Flyp", "Loss", "Method", "Outcome", "ZeroShot",
    "build_method",
]  # fmt: skip


def build_method(
    spec: MethodSpec, model: ClipModel, captions: Captions, total_steps: int, seed: int = 0
) -> Method:
    """The method that a spec names, bound to `model`.

    Args:
        seed: of whatever a method draws at random; the same run draws the same.
    """

    def zero_shot_weights() -> Tensor:
        return model.logit_scale.detach().exp() * zero_shot_head(model, captions)

    match spec:
        case ZeroShotMethod():
            return ZeroShot(model, total_steps)
        case FinetuneMethod():
            return Finetune(spec, model, total_steps, zero_shot_weights())
        case FlypMethod():
            return Flyp(spec, model, total_steps)
        case CarotMethod():
            return Carot(spec, model, total_steps)
    raise NotImplementedError(spec.name)
