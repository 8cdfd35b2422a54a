"""A classifier's weights as one mapping, its head among them, and back."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import Tensor

from carot.run.evaluated import EvaluatedModel

HEAD = "head"


def weights_of(evaluated: EvaluatedModel) -> dict[str, Tensor]:
    """Every tensor of the towers by name, and the class weights under `head`."""
    return {
        **evaluated.model.module.state_dict(),
        HEAD: evaluated.head_CD.to(evaluated.model.device),
    }


def evaluated_with(
    evaluated: EvaluatedModel, weights: Mapping[str, Tensor], method: str
) -> EvaluatedModel:
    """The same classifier with other weights; a head that the text tower makes is made again."""
    module = copy.deepcopy(evaluated.model.module)
    module.load_state_dict({name: value for name, value in weights.items() if name != HEAD})
    trained = evaluated.card.head == "trained"
    return evaluated.with_weights(module, weights[HEAD] if trained else None, method)
