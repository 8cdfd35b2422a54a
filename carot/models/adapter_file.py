"""Adapters as a file of their own: all that a run has trained, and nothing of its start.

Tensors, by the names that the model has without adapters: `NAME.lora_a` (P, r, I) and `NAME.lora_b`
(P, O, r) of each adapted matrix, for those of its blocks that `targets` names, in the order of its
rows; every other tensor that trained, whole; and `head` (C, D) where one was trained. The metadata
has the spec, the architecture and the start.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from carot.errors import CheckpointError, SpecError
from carot.models.adapters import A, B, adapters_in, attach_adapters, beside_adapters, merged
from carot.models.clip import ClipModel
from carot.specs import LoraSpec, ModelSpec, Tower
from carot.tensor_files import write

ADAPTERS_NAME = "adapters.safetensors"
HEAD = "head"


class AdaptersCard(BaseModel):
    """What an adapter file says of itself.

    Attributes:
        trained: the towers that the method trains.
        start: the model that training started from, where it has a name that holds everywhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = 1
    architecture: str
    adapters: LoraSpec
    trained: tuple[Tower, ...]
    start: ModelSpec | None = None


@dataclass(frozen=True)
class Adapters:
    """What belongs into an adapter file, beside tensors that the merged model has, too.

    Attributes:
        factors: A and B of each adapted matrix.
        beside: names of the model's own tensors that trained.
    """

    card: AdaptersCard
    factors: dict[str, Tensor]
    beside: tuple[str, ...]

    @classmethod
    def of(cls, module: nn.Module, card: AdaptersCard) -> Adapters:
        """Those of a model that has some; copies."""
        factors = {
            f"{name}.{factor}": getattr(each, factor).detach().cpu().clone()
            for name, each in adapters_in(module).items()
            for factor in (A, B)
        }
        return cls(card, factors, tuple(beside_adapters(module, card.trained)))

    def scaled(self, share: float) -> Adapters:
        """Those of a model between the start, 0, and the trained one, 1."""
        factors = {
            name: share * factor if name.endswith(B) else factor
            for name, factor in self.factors.items()
        }
        return replace(self, factors=factors)

    def save(self, folder: Path, module: nn.Module, head_CD: Tensor | None) -> None:
        """Write the file.

        Args:
            module: the merged model.
            head_CD: the head where one was trained.
        """
        own = module.state_dict()
        tensors = {**self.factors, **{name: own[name] for name in self.beside}}
        if head_CD is not None:
            tensors[HEAD] = head_CD
        written = {name: each.detach().cpu().contiguous() for name, each in tensors.items()}
        metadata = {"format": "pt", "carot": self.card.model_dump_json()}
        write(written, folder / ADAPTERS_NAME, metadata)


def with_adapters(model: ClipModel, path: Path) -> ClipModel:
    """A model of its own with the adapters of a file merged into its weights.

    Args:
        model: the start that they were trained from.
        path: the file, or the checkpoint folder that has it.

    Raises:
        CheckpointError: no adapter file, a damaged one, or one of another model.
    """
    file = path / ADAPTERS_NAME if path.is_dir() else path
    card, tensors = _read(file)
    changed = model.with_module(copy.deepcopy(model.module))
    try:
        attach_adapters(changed, card.adapters, card.trained)
    except SpecError as error:
        raise CheckpointError(f"{file.name} is of another model: {error.message}") from error
    module = changed.module
    wanted = {
        f"{name}.{factor}": getattr(each, factor)
        for name, each in adapters_in(module).items()
        for factor in (A, B)
    }
    wanted |= {name: module.get_parameter(name) for name in beside_adapters(module, card.trained)}
    tensors.pop(HEAD, None)
    shapes = {name: each.shape for name, each in wanted.items()}
    if {name: each.shape for name, each in tensors.items()} != shapes:
        raise CheckpointError(
            f"{file.name} is of {card.architecture}, and its tensors do not fit "
            f"{model.architecture}"
        )
    with torch.no_grad():
        for name, each in wanted.items():
            each.copy_(tensors[name])
    return changed.with_module(merged(module).eval().requires_grad_(True))


def _read(file: Path) -> tuple[AdaptersCard, dict[str, Tensor]]:
    try:
        with safe_open(file, framework="pt") as opened:
            card = AdaptersCard.model_validate(json.loads((opened.metadata() or {})["carot"]))
            return card, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError, ValidationError) as error:
        raise CheckpointError(f"{file.name}: not an adapter file: {error}") from error
