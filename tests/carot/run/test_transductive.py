"""Sets of all images at once in a file of predictions, against the library's on the same logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from carot.calibration.sets.transported import transported_sets
from carot.data.decoding.images import decode_image
from carot.errors import CalibrationError, ClassMismatch, DataError
from carot.models.classifier import Classifier
from tests.carot.run.test_predict import CLASSES, about, checkpoint, images, scored, spec
from tests.carot.tiny import write_images

__all__ = ["checkpoint", "images"]
EACH = 7


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    return write_images(tmp_path / "labelled" / "calibration", classes=CLASSES, each=EACH).parent


def beside(folder: Path, **changes: Any) -> dict[str, Any]:
    return {"transductive": {"dataset": f"folder:{folder}", **changes}}


def test_sets_are_those_of_all_images_together(
    checkpoint: Path, images: Path, labelled: Path, tmp_path: Path
) -> None:
    (images / "test" / "dark" / "3.png").write_bytes(b"not a picture")
    asked = spec(checkpoint, f"folder:{images}", logits=True, **beside(labelled, coverage=0.8))
    rows, result = scored(asked, tmp_path / "run")
    classifier = Classifier.load(checkpoint)
    paths = [sorted((labelled / "calibration" / name).iterdir()) for name in CLASSES]
    pictures = [decode_image(path, "x") for each in paths for path in each]
    known_NC = classifier.logits(pictures)
    labels_N = torch.arange(3).repeat_interleave(EACH)
    answered = [row for row in rows if row["error"] is None]
    assert (len(answered), len(rows)) == (87, 88)
    logits_MC = torch.tensor([row["logits"] for row in answered])
    inside_MC = transported_sets(known_NC, labels_N, logits_MC, 0.8)
    for row, inside_C in zip(answered, inside_MC.tolist(), strict=True):
        order = sorted(range(3), key=lambda c: -row["logits"][c])
        assert row["transductive_set"] == [CLASSES[c] for c in order if inside_C[c]]
        assert row["transductive_set_size"] == sum(inside_C)
    assert len({row["transductive_set_size"] for row in answered}) > 1, "one size would show little"
    [broken] = [row for row in rows if row["error"] is not None]
    assert (broken["transductive_set"], broken["transductive_set_size"]) == (None, None)
    assert about(result.path)["asked"]["transductive"] == {"split": "calibration", "coverage": 0.8}


def test_all_else_is_as_without_them(
    checkpoint: Path, images: Path, labelled: Path, tmp_path: Path
) -> None:
    asked = {"split": "test", "batch_size": 24}
    plain, _ = scored(spec(checkpoint, f"folder:{images}", **asked), tmp_path / "a")
    rows, _ = scored(
        spec(checkpoint, f"folder:{images}", **asked, **beside(labelled)), tmp_path / "b"
    )
    for row in rows:
        assert {row.pop("transductive_set_size"), len(row.pop("transductive_set"))} <= {1, 2, 3}
    assert rows == plain


@pytest.mark.parametrize(
    ("changes", "most", "error", "field", "words"),
    [
        ({"coverage": 0.99}, None, CalibrationError, "transductive.coverage", "needs 99 labelled"),
        ({}, 300, DataError, "transductive", "88 images and 21 labelled ones are too many"),
        ({"split": "test"}, None, DataError, "transductive", "has no images"),
    ],
)
def test_what_cannot_be_is_refused_before_any_image(
    checkpoint: Path,
    images: Path,
    labelled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    most: int | None,
    error: type[CalibrationError | DataError],
    field: str,
    words: str,
) -> None:
    if most is not None:
        monkeypatch.setattr("carot.run.transductive.MOST_NUMBERS", most)
    with pytest.raises(error, match=words) as refused:
        scored(spec(checkpoint, f"folder:{images}", **beside(labelled, **changes)), tmp_path / "r")
    assert refused.value.field == field


def test_other_classes_are_refused(checkpoint: Path, images: Path, tmp_path: Path) -> None:
    other = write_images(tmp_path / "o" / "calibration", classes=("bright", "dark"), each=9).parent
    with pytest.raises(ClassMismatch) as refused:
        scored(spec(checkpoint, f"folder:{images}", **beside(other)), tmp_path / "run")
    assert refused.value.field == "transductive"


def test_labels_are_needed_of_images_that_are_not_scored(checkpoint: Path, images: Path) -> None:
    with pytest.raises(ValidationError, match="has no labels"):
        spec(checkpoint, f"folder:{images}", transductive={"dataset": "images:x"})
    for split in ("all", "calibration"):
        with pytest.raises(ValidationError, match="would be scored as well"):
            spec(checkpoint, f"folder:{images}", split=split, **beside(images))
    assert spec(checkpoint, f"folder:{images}", split="test", **beside(images)).transductive
