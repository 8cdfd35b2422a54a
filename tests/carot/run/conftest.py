from __future__ import annotations

from pathlib import Path

import pytest

from tests.carot.tiny import save_tiny, write_images


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    return save_tiny(tmp_path / "model")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    for split, each in {"train": 16, "validation": 4, "calibration": 12, "test": 12}.items():
        write_images(root / split, each=each)
    return root
