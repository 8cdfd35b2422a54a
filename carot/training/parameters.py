"""Which parameters are decayed: those that multiply, not those that are added."""

from __future__ import annotations

from torch import nn

from carot.models.adapters import is_factor
from carot.training.methods import Method

ADDED = frozenset({
    "positional_embedding", "pos_embed", "position_embeddings", "token_type_embeddings",
    "relative_position_bias_table", "relative_attention_bias", "rel_pos",
    "class_embedding", "cls_token", "cls_emb", "reg_token", "latent", "probe", "query",
})  # fmt: skip
"""Positions, class tokens and the queries of attention pooling, as the libraries name them."""


def parameter_groups(method: Method, weight_decay: float) -> list[dict[str, object]]:
    """Two groups: matrices with weight decay; without it biases, norms, scales and what is added.

    A vector in the shape of a matrix, such as the scale (C, 1, 1) of a convolution's channels, is
    a vector.
    """
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in method.parameters():
        is_matrix = sum(size > 1 for size in parameter.shape) >= 2
        added = not ADDED.isdisjoint(name.split("."))
        multiplies = is_factor(name) or (is_matrix and not added)
        (decayed if multiplies else plain).append(parameter)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
