"""A frozen copy of the model that a run starts from: what a student is compared with.

It is made again when a run resumes, from the starting model, so that no snapshot has to contain it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

from torch import nn

from carot.models.adapters import copy_sharing_frozen
from carot.models.clip import ClipModel


def frozen_start(model: ClipModel, moving: Iterable[nn.Parameter] | None = None) -> ClipModel:
    """The model as it is now, in evaluation mode and without gradients.

    Args:
        moving: the parameters that will train; the copy shares all others with the model. Without
            it, those that are frozen by now are shared.
    """
    module = model.module
    if moving is None:
        copied = copy_sharing_frozen(module)
    else:
        trained = {id(parameter) for parameter in moving}
        shared: dict[int, object] = {id(p): p for p in module.parameters() if id(p) not in trained}
        copied = copy.deepcopy(module, memo=shared)
    return model.with_module(copied.eval().requires_grad_(False))
