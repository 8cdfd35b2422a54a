from __future__ import annotations

from pathlib import Path

import pytest
import torch

from carot.checkpoints import ClassifierCard, save_checkpoint
from tests.carot.tiny import tiny_model, write_images


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    model = tiny_model()
    card = ClassifierCard(
        architecture="tiny",
        method="none",
        classes=("x", "y"),
        caption_names=("x", "y"),
        templates=("{}",),
        logit_scale=1.0,
        head="text",
    )
    save_checkpoint(tmp_path / "model", model, torch.zeros(2, 16), card, None)
    (tmp_path / "model" / "classifier.json").unlink()
    return tmp_path / "model"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    for split, each in {"train": 16, "validation": 4, "calibration": 12, "test": 12}.items():
        write_images(root / split, each=each)
    return root
