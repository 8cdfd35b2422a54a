"""A model and data small enough that a whole run takes a second."""

from __future__ import annotations

import copy
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from carot.models.checkpoints import CLASSIFIER_NAME, ClassifierCard, save_checkpoint
from carot.models.clip import ClipModel, from_config

CONFIG: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {
        "image_size": 32,
        "layers": 1,
        "width": 32,
        "head_width": 16,
        "patch_size": 8,
    },
    "text_cfg": {
        "context_length": 16,
        "vocab_size": 49408,
        "width": 16,
        "heads": 2,
        "layers": 1,
    },
}


@cache
def _template() -> ClipModel:
    torch.manual_seed(0)
    return from_config(CONFIG, architecture="tiny")


def tiny_model() -> ClipModel:
    """A model of one's own, always with the same weights; tokenizers are slow to build."""
    template = _template()
    return template.with_module(copy.deepcopy(template.module))


def save_tiny(folder: Path) -> Path:
    """A model's folder without a classifier, as what is downloaded has none."""
    card = ClassifierCard(
        architecture="tiny",
        method="none",
        classes=("x", "y"),
        caption_names=("x", "y"),
        templates=("{}",),
        logit_scale=1.0,
        head="text",
    )
    save_checkpoint(folder, tiny_model(), torch.zeros(2, CONFIG["embed_dim"]), card, None)
    (folder / CLASSIFIER_NAME).unlink()
    return folder


def write_images(
    root: Path, classes: tuple[str, ...] = ("bright", "dark"), each: int = 12, size: int = 32
) -> Path:
    """`class/n.png`: classes differ in brightness, so that they can be learned."""
    rng = np.random.default_rng(zlib.crc32(root.name.encode()))  # no image in two splits
    for number, name in enumerate(classes):
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        level = 40 + 170 * number // max(1, len(classes) - 1)
        for index in range(each):
            pixels = rng.normal(level, 20, (size, size, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.png")
    return root
