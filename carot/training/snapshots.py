"""Snapshots: what a run needs to go on as if it had never stopped. Safetensors and JSON only."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from carot import tensor_files
from carot.atomic_write import atomic_folder, recovered
from carot.errors import CheckpointError
from carot.models.checkpoints import unshared
from carot.training.identity import RunIdentity

TENSORS_NAME = "snapshot.safetensors"
STATE_NAME = "snapshot.json"


@dataclass
class RunState:
    """The live objects of a run that a snapshot captures and restores.

    Attributes:
        modules: by name, the model and whatever a method trains or keeps beside it.
        step: optimizer steps done; order and crops of the data follow from it.
    """

    modules: dict[str, nn.Module]
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    step: int = 0


def save_snapshot(folder: Path, state: RunState, run: RunIdentity) -> None:
    """Write the run's state to `folder`, whole or not at all.

    Raises:
        NoSpace: the disk is full.
    """
    tensors = {
        f"module.{name}.{key}": value
        for name, module in state.modules.items()
        for key, value in module.state_dict().items()
    }
    for index, values in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": value for key, value in values.items()}
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda.0"] = torch.cuda.get_rng_state()
    document = {"step": state.step, "run": run.document(), "scaler": state.scaler.state_dict()}
    with atomic_folder(folder) as temporary:
        tensor_files.write(unshared(tensors), temporary / TENSORS_NAME)
        (temporary / STATE_NAME).write_text(json.dumps(document), encoding="utf-8")


def load_snapshot(folder: Path, state: RunState, run: RunIdentity) -> bool:
    """Restore the state from `folder`; False when there is no snapshot.

    Raises:
        CheckpointError: the snapshot is torn, or is of another run: the message says how.
    """
    if recovered(folder) is None:
        return False
    try:
        document = json.loads((folder / STATE_NAME).read_text(encoding="utf-8"))
        tensors = load_file(folder / TENSORS_NAME)
    except Exception as error:
        raise CheckpointError(f"the snapshot in {folder.name} cannot be read: {error}") from error
    if difference := run.difference(document["run"]):
        raise CheckpointError(
            f"the snapshot in {folder.name} cannot be resumed: {difference}; "
            "choose another folder, or delete it"
        )
    for name, module in state.modules.items():
        module.load_state_dict(_under(tensors, f"module.{name}."))
    _load_optimizer(state.optimizer, _under(tensors, "optimizer."))
    if document["scaler"]:
        state.scaler.load_state_dict(document["scaler"])
    torch.set_rng_state(tensors["random.cpu"])
    if torch.cuda.is_available() and "random.cuda.0" in tensors:
        # Of the GPU that the run is on; all processes of a run draw the same from theirs.
        torch.cuda.set_rng_state(tensors["random.cuda.0"])
    state.step = int(document["step"])
    return True


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    values: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        values.setdefault(int(index), {})[key] = tensor
    document: dict[str, Any] = optimizer.state_dict()
    document["state"] = values
    optimizer.load_state_dict(document)


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}
