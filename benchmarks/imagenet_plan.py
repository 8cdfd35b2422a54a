"""The runs of `benchmarks/imagenet.py`: a method each, with the constants it was published with."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip

from benchmarks.imagenet_sets import Refused, Sets
from carot.models.clip import CONFIG_NAME, WEIGHTS_NAME
from carot.specs import FinetuneSpec, ModelSpec, preset

RECIPES = {"ViT-B-16": "vit-b16", "ViT-L-14": "vit-l14", "RN50": "rn50"}
"""Architectures for which constants of CaRot and TRACER on ImageNet were published."""
AS_PUBLISHED = {"epochs": 10, "batch_size": 512}
"""Of the methods whose recipe leaves it open (CaRot, NeurIPS 2024, A.3)."""
METHODS = {
    "zero-shot": "zero-shot",
    "ft": "finetune",
    "lp-ft": "lp-ft",
    "flyp": "flyp",
    "carot": "carot-paper",
    "tracer": "tracer",
    "default": "carot",
}
"""Row of the table and its recipe; `default` is what a job gets that says nothing."""
TITLES = {
    "zero-shot": "zero-shot",
    "ft": "FT",
    "lp-ft": "LP-FT",
    "flyp": "FLYP",
    "carot": "CaRot",
    "tracer": "TRACER",
    "default": "this project's default",
}


@dataclass(frozen=True)
class Run:
    """One row of the table.

    Attributes:
        recipe: name of the preset that its method and training come from.
    """

    name: str
    recipe: str
    spec: FinetuneSpec


def recipe_of(method: str, architecture: str) -> str:
    """That of the architecture, where one was published."""
    own = RECIPES.get(architecture.replace("/", "-").removesuffix("-quickgelu"))
    if method in ("carot", "tracer") and own is not None:
        return f"{method}-imagenet-{own}"
    return METHODS[method]


def planned(
    method: str, architecture: str, model: ModelSpec, sets: Sets, changes: dict[str, Any]
) -> Run:
    """The run of a method.

    Args:
        changes: fields of `training` in the place of the recipe's.
    """
    recipe = recipe_of(method, architecture)
    found = preset(recipe)
    published = {} if method in ("default", "zero-shot") else AS_PUBLISHED
    document = {
        "model": model,
        "dataset": sets.reference,
        "method": found["method"],
        "training": {**published, **found.get("training", {}), **changes},
        "evaluation": {"datasets": sets.rows},
        # The zero-shot row is the start of all of them.
        "measure_start": False,
    }
    return Run(method, recipe, FinetuneSpec.model_validate(document))


def start(architecture: str, pretrained: str, runs: Path) -> ModelSpec:
    """The model to start from: open_clip's tag, a folder in its layout, or a safetensors file.

    Args:
        runs: where a folder is made of a file.

    Raises:
        Refused: a file of another kind, or an architecture that its weights have no name for.
    """
    path = Path(pretrained)
    if path.is_dir():
        return ModelSpec(folder=str(path.resolve()))
    if not path.is_file():
        if path.suffix or path.parent != Path():
            raise Refused(f"--pretrained: {pretrained}: no such file or folder")
        return ModelSpec(architecture=architecture, pretrained=pretrained)
    if path.suffix != ".safetensors":
        raise Refused(
            f"--pretrained: {path.name}: only .safetensors files are read, which cannot hold code; "
            "open_clip's own folders work as well"
        )
    config = open_clip.get_model_config(architecture)
    if config is None:
        raise Refused(f"--model: open_clip has no architecture {architecture!r}")
    folder = runs / "start"
    folder.mkdir(parents=True, exist_ok=True)
    document = {"architecture": architecture, "model_cfg": config, "preprocess_cfg": {}}
    (folder / CONFIG_NAME).write_text(json.dumps(document, indent=2), encoding="utf-8")
    weights = folder / WEIGHTS_NAME
    weights.unlink(missing_ok=True)
    try:
        weights.hardlink_to(path.resolve())
    except OSError:  # another disk
        shutil.copyfile(path, weights)
    return ModelSpec(folder=str(folder.resolve()))
