"""The methods, by name."""

from __future__ import annotations

from carot.methods.base import Features, Loss, Method
from carot.methods.carot import Carot
from carot.methods.finetune import Finetune
from carot.methods.flyp import Flyp
from carot.models import ClipModel
from carot.prompts import Captions, zero_shot_head
from carot.specs import CarotMethod, FinetuneMethod, FlypMethod, ZeroShotMethod
from carot.specs import Method as MethodSpec

__all__ = ["Carot", "Features", "Finetune", "Flyp", "Loss", "Method", "build_method"]


def build_method(
    spec: MethodSpec, model: ClipModel, captions: Captions, total_steps: int
) -> Method | None:
    """The method that a spec names, bound to `model`; None for zero-shot, which trains nothing."""
    match spec:
        case ZeroShotMethod():
            return None
        case FinetuneMethod():
            weight_CD = model.logit_scale.detach().exp() * zero_shot_head(model, captions)
            return Finetune(spec, model, total_steps, weight_CD)
        case FlypMethod():
            return Flyp(spec, model, total_steps)
        case CarotMethod():
            return Carot(spec, model, total_steps)
