"""Training images in the calibration split: left out of it, or the run is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from carot.errors import DataError
from carot.run import execute
from tests.carot.run.listener import Listener, finetune, run

pytestmark = pytest.mark.slow


@pytest.fixture
def leaky(images: Path) -> Path:
    """All calibration images are training images."""
    for path in (images / "calibration").rglob("*.png"):
        path.write_bytes((images / "train" / path.relative_to(images / "calibration")).read_bytes())
    return images


def test_nothing_is_fitted_to_images_that_were_trained_on(
    model_folder: Path, leaky: Path, tmp_path: Path
) -> None:
    result, _ = run(finetune(model_folder, leaky), tmp_path / "run")
    codes = [warning.code for warning in result.report.warnings]
    assert "copies_across_splits" in codes
    assert "no_calibration_split" in codes
    message = next(w.message for w in result.report.warnings if w.code == "copies_across_splits")
    assert "24 of calibration in train" in message
    assert result.report.calibration is None


def test_it_is_refused_where_that_is_asked(model_folder: Path, leaky: Path, tmp_path: Path) -> None:
    spec = finetune(model_folder, leaky, copies="refuse")
    with pytest.raises(DataError, match="24 of calibration in train") as caught:
        execute(spec, tmp_path / "run", Listener())
    assert caught.value.field == "dataset"
