"""Batch normalisation: what its statistics are of, in one process, in micro-batches, in several.

A step is to be that of its whole batch, however it is computed. So statistics are gathered over all
of a batch, or are frozen as the start has them, as robust fine-tuning commonly does.
"""

from __future__ import annotations

from timm.layers.norm_act import convert_sync_batchnorm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from carot.distributed import Ranks
from carot.errors import ModelError, SpecError
from carot.models.clip import ClipModel
from carot.specs import TrainingSpec

FREEZE = "set training.freeze_batch_norm to true"


def prepare_normalisation(
    model: ClipModel, ranks: Ranks, spec: TrainingSpec, *, adapted: bool = False
) -> None:
    """Freeze statistics, or have them be of the whole batch; nothing to do without batch norm.

    Args:
        adapted: adapters train, and all around them stays as the start has it.

    Raises:
        ModelError: several processes without GPUs: torch synchronises statistics on GPUs only.
        SpecError: micro-batches, which have statistics of their own, gathered anew on the way back.
    """
    layers = [module for module in model.module.modules() if isinstance(module, _BatchNorm)]
    if not layers:
        return
    if spec.freeze_batch_norm or adapted:
        for layer in layers:
            layer.register_forward_pre_hook(_keep_frozen)
        return
    if spec.accumulation_steps > 1:
        raise SpecError(
            f"{model.architecture} normalises over batches, and micro-batches have other "
            f"statistics than the batch; {FREEZE}, or training.accumulation_steps to 1",
            field="training.accumulation_steps",
        )
    if ranks.alone:
        return
    if ranks.device.type == "cpu":
        raise ModelError(
            f"{model.architecture} normalises over batches, which several processes can do "
            f"together on GPUs only; {FREEZE}, ask for one process, or choose a vision transformer",
            field="processes",
        )
    model.module = convert_sync_batchnorm(model.module)


def _keep_frozen(layer: nn.Module, inputs: object) -> None:
    # In front of each pass: whoever puts the whole model into training mode does not know of this.
    layer.eval()
