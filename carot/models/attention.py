"""The projections of every attention in a tower, wherever a family of models keeps them.

torch and open_clip pack query, key and value into one matrix of three equal blocks of rows, timm
into a linear layer of the same form; timm's pools pack key and value; Hugging Face's towers and
EVA have a layer each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from carot.specs import Target, Tower

QKV: tuple[Target, ...] = ("query", "key", "value")
PACKED: dict[str, tuple[Target, ...]] = {
    "in_proj_weight": QKV, "qkv": QKV, "kv": ("key", "value"),
}  # fmt: skip
SINGLE: dict[str, tuple[Target, ...]] = {
    "q_proj_weight": ("query",), "k_proj_weight": ("key",), "v_proj_weight": ("value",),
    "q_proj": ("query",), "k_proj": ("key",), "v_proj": ("value",),
    "q": ("query",), "k": ("key",), "v": ("value",),
    "query": ("query",), "key": ("key",), "value": ("value",),
}  # fmt: skip
OUTPUTS = ("out_proj", "proj", "o", "c_proj")
BERT = "self", "output.dense"
"""BERT's attention has its output in the module around it."""
IMAGE_TOWER = "visual"
TEXT_TOWER = "text"


@dataclass(frozen=True)
class Matrix:
    """A weight of an attention.

    Attributes:
        module: the path of what has it.
        tensor: its name there.
        blocks: what its equal blocks of rows make.
        pools: whether its attention makes one feature of many, behind the blocks.
    """

    module: str
    tensor: str
    blocks: tuple[Target, ...]
    pools: bool

    @property
    def name(self) -> str:
        """Its name in the state dict of a model without adapters."""
        return f"{self.module}.{self.tensor}"


def tower_path(module: nn.Module, tower: Tower) -> str:
    """Where a tower begins; "" for a text tower that lies beside the image tower."""
    if tower == "image":
        return IMAGE_TOWER
    return TEXT_TOWER if isinstance(getattr(module, TEXT_TOWER, None), nn.Module) else ""


def attention_matrices(module: nn.Module, tower: Tower) -> Iterator[Matrix]:
    """Every weight of every attention of a tower, in the order of its modules."""
    root = tower_path(module, tower)
    for path, each in module.get_submodule(root).named_modules(prefix=root):
        parts = path.split(".")
        if root == "" and parts[0] == IMAGE_TOWER:
            continue
        pools = any("pool" in part for part in parts)
        for name, blocks in _projections(each):
            yield _matrix(path, each, name, blocks, pools)
        parent, _, own = path.rpartition(".")
        around = module.get_submodule(parent)
        if own == BERT[0] and any(_projections(each)) and _linear(around, BERT[1]):
            yield Matrix(f"{parent}.{BERT[1]}", "weight", ("output",), pools)


def _projections(module: nn.Module) -> Iterator[tuple[str, tuple[Target, ...]]]:
    """Names of weights and layers, and what their blocks make; none if it is no attention."""
    known = {name: blocks for name, blocks in (PACKED | SINGLE).items() if _has(module, name)}
    if {each for blocks in known.values() for each in blocks} != set(QKV):
        return
    yield from known.items()
    output = next((name for name in OUTPUTS if _has(module, name)), None)
    if output is not None:
        yield output, ("output",)


def _matrix(
    path: str, module: nn.Module, name: str, blocks: tuple[Target, ...], pools: bool
) -> Matrix:
    if isinstance(getattr(module, name), nn.Linear):
        return Matrix(f"{path}.{name}", "weight", blocks, pools)
    return Matrix(path, name, blocks, pools)


def _has(module: nn.Module, name: str) -> bool:
    found = getattr(module, name, None)
    return isinstance(found, nn.Linear) or (isinstance(found, Tensor) and found.ndim == 2)


def _linear(module: nn.Module, path: str) -> bool:
    try:
        return isinstance(module.get_submodule(path), nn.Linear)
    except AttributeError:
        return False
