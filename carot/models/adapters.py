"""Low-rank adapters in a model's attention (LoRA, Hu et al. 2021, arXiv 2106.09685, §4.1).

    W + (alpha / r) B A,  A of shape (r, in), B of shape (out, r)

W is frozen. A begins uniform within ±1/sqrt(in), as in the released code, and B at zero, so that
training starts from the model itself. Where one matrix packs query, key and value, each of its
blocks has an A and a B of its own, as if they were apart. They hang on the module as a
parametrization of torch: whoever reads the weight gets the sum, whatever its forward pass is.

Shape suffixes: P adapted blocks of a matrix, r rank, I inputs, O outputs of a block.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from carot.errors import SpecError
from carot.models.attention import Matrix, attention_matrices
from carot.models.clip import ClipModel
from carot.models.families import without_attention
from carot.models.projections import image_map, text_map
from carot.specs import LoraSpec, Tower

FACTORS = (A, B) = ("lora_a", "lora_b")


class LowRank(nn.Module):
    """What is added to some blocks of rows of one matrix.

    Args:
        weight: the matrix, of shape (blocks * O, I).
        adapted: for each of its equal blocks of rows, whether it has an adapter.
        rank: r.
        scale: alpha / r.
    """

    def __init__(
        self,
        weight: Tensor,
        adapted: Sequence[bool],
        rank: int,
        scale: float,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.adapted = tuple(adapted)
        self.scale = scale
        rows, inputs = weight.shape
        bound = 1.0 / math.sqrt(inputs)
        # Drawn on the CPU: the same numbers on every device.
        drawn_PrI = torch.rand((sum(adapted), rank, inputs), generator=generator)
        start_PrI = (2.0 * drawn_PrI - 1.0) * bound
        self.lora_a = nn.Parameter(start_PrI.to(weight))
        self.lora_b = nn.Parameter(weight.new_zeros(sum(adapted), rows // len(self.adapted), rank))

    def forward(self, weight: Tensor) -> Tensor:
        """The matrix with what is added, in its own type, also inside an autocast region."""
        with torch.autocast(weight.device.type, enabled=False):
            added_POI = self.scale * (self.lora_b @ self.lora_a)
            if all(self.adapted):
                return weight + added_POI.flatten(0, 1)
            added = iter(added_POI)
            blocks = weight.chunk(len(self.adapted))
            return torch.cat([
                block + next(added) if adapted else block
                for block, adapted in zip(blocks, self.adapted, strict=True)
            ])  # fmt: skip


def attach_adapters(
    model: ClipModel, spec: LoraSpec, trained: Sequence[Tower], seed: int = 0
) -> None:
    """Freeze a model but for new adapters and what trains beside them (`beside_adapters`).

    Args:
        trained: the towers that the method trains.
        seed: of A.

    Raises:
        SpecError: a tower has no attention blocks, or a matrix is smaller than the rank.
    """
    module = model.module
    chosen = [
        matrix
        for tower in trained
        if tower in spec.towers
        for matrix in _chosen(model, tower, spec)
    ]
    beside = set(beside_adapters(module, trained))
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name in beside)
    for matrix in chosen:
        if matrix.name in beside:
            continue  # a pool's output can be the tower's last linear map
        owner = module.get_submodule(matrix.module)
        weight = owner.get_parameter(matrix.tensor)
        adapted = [block in spec.targets for block in matrix.blocks]
        smallest = min(weight.shape[0] // len(adapted), weight.shape[1])
        if spec.rank > smallest:
            raise SpecError(
                f"adapters.rank is {spec.rank}, and {matrix.name} of {model.architecture} has "
                f"rank {smallest} itself; choose a lower one",
                field="adapters.rank",
            )
        adapter = LowRank(weight, adapted, spec.rank, spec.alpha / spec.rank, generator)
        parametrize.register_parametrization(owner, matrix.tensor, adapter)


def _chosen(model: ClipModel, tower: Tower, spec: LoraSpec) -> list[Matrix]:
    found = list(attention_matrices(model.module, tower))
    if all(matrix.pools for matrix in found):
        raise SpecError(without_attention(model.architecture, tower), field="adapters.towers")
    return [matrix for matrix in found if not set(spec.targets).isdisjoint(matrix.blocks)]


def beside_adapters(module: nn.Module, trained: Sequence[Tower]) -> Iterator[str]:
    """Names of the model's own parameters that train beside adapters.

    The last linear map of each tower that the method trains, which CaRot's constraints are about,
    and the logit scale of methods that train both towers. All else is frozen.
    """
    maps = [find(module) for tower, find in (("image", image_map), ("text", text_map))
            if tower in trained]  # fmt: skip
    parameters = {
        id(parameter)
        for each in maps
        if each is not None
        for parameter in ([each] if isinstance(each, Tensor) else each.parameters())
    }
    for name, parameter in module.named_parameters():
        if id(parameter) in parameters or (name == "logit_scale" and "text" in trained):
            yield name


def is_factor(name: str) -> bool:
    """Whether a parameter is one of an adapter's."""
    return name.rpartition(".")[2] in FACTORS


def adapters_in(module: nn.Module) -> dict[str, LowRank]:
    """The adapters of a model, by the names that their matrices have without them."""
    return {
        f"{path}.{name}": each
        for path, owner in module.named_modules()
        if parametrize.is_parametrized(owner)
        for name, stack in owner.parametrizations.items()
        for each in stack
        if isinstance(each, LowRank)
    }


def merged(module: nn.Module) -> nn.Module:
    """The model without adapters, their sums in the matrices' place; itself if it has none.

    Every other tensor is shared with `module`.
    """
    adapters = adapters_in(module)
    if not adapters:
        return module
    shared: dict[int, object] = {id(t): t for t in (*module.parameters(), *module.buffers())}
    plain = copy.deepcopy(module, memo=shared)
    for path in {name.rpartition(".")[0] for name in adapters}:
        _merge(plain.get_submodule(path))
    return plain


@torch.no_grad()
def _merge(owner: nn.Module) -> None:
    # Not torch's own `remove_parametrizations`: it changes the class, which copies share.
    names = list(owner.parametrizations)  # type: ignore[arg-type]
    weights = {name: getattr(owner, name) for name in names}
    del owner.parametrizations
    owner.__class__ = type(owner).__bases__[0]
    for name, weight in weights.items():
        owner.register_parameter(name, nn.Parameter(weight, requires_grad=False))


def copy_sharing_frozen(module: nn.Module) -> nn.Module:
    """A copy that has its own of whatever trains, and shares every other parameter."""
    frozen: dict[int, object] = {id(p): p for p in module.parameters() if not p.requires_grad}
    return copy.deepcopy(module, memo=frozen)
