"""Batch normalisation where several processes share a batch: its statistics are of all of it."""

from __future__ import annotations

from timm.layers.norm_act import convert_sync_batchnorm
from torch.nn.modules.batchnorm import _BatchNorm

from carot.distributed import Ranks
from carot.errors import ModelError, SpecError
from carot.models.clip import ClipModel
from carot.specs import TrainingSpec


def synchronise_statistics(model: ClipModel, ranks: Ranks, spec: TrainingSpec) -> None:
    """Have batch normalisation see the whole batch; nothing to do for one process, or without it.

    Raises:
        ModelError: there is batch normalisation, and no GPU: torch synchronises it on GPUs only.
        SpecError: there is, and micro-batches, which processes with unequal shares split unequally.
    """
    if ranks.alone or not any(isinstance(m, _BatchNorm) for m in model.module.modules()):
        return
    if ranks.device.type == "cpu":
        raise ModelError(
            f"{model.architecture} normalises over batches, which several processes can do "
            "together on GPUs only; ask for one process, or choose a vision transformer",
            field="processes",
        )
    if spec.accumulation_steps > 1:
        raise SpecError(
            f"{model.architecture} normalises over batches, which several processes cannot do "
            "together in micro-batches; set training.accumulation_steps to 1, or ask for one "
            "process",
            field="training.accumulation_steps",
        )
    model.module = convert_sync_batchnorm(model.module)
