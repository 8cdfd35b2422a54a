"""A classifier's weights as one mapping, its head among them, and back."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import Tensor

from carot.run.judge import Judge

HEAD = "head"


def weights_of(judge: Judge) -> dict[str, Tensor]:
    """Every tensor of the towers by name, and the class weights under `head`."""
    return {**judge.model.module.state_dict(), HEAD: judge.head_CD.to(judge.model.device)}


def judge_with(judge: Judge, weights: Mapping[str, Tensor], method: str) -> Judge:
    """The same classifier with other weights; a head that the text tower makes is made again."""
    module = copy.deepcopy(judge.model.module)
    module.load_state_dict({name: value for name, value in weights.items() if name != HEAD})
    trained = judge.card.head == "trained"
    return judge.with_weights(module, weights[HEAD] if trained else None, method)
