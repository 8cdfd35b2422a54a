"""Twelve bits in files of sixteen: training, evaluation and predictions read them alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from carot.data.decoding.depth import INTEGERS, Depth
from carot.data.decoding.images import decode_image
from carot.data.depths import survey
from carot.data.formats.folder import open_folder
from carot.models.classifier import Classifier
from carot.run import execute
from carot.specs import EvaluateSpec, ModelSpec, PredictSpec
from tests.carot.data.written_depths import deep_png
from tests.carot.run.listener import Listener, finetune, run

pytestmark = pytest.mark.slow


def in_twelve_bits(root: Path) -> Path:
    """The images of a folder, each as a 16-bit PNG of 12 bits."""
    for path in root.rglob("*.png"):
        grey = np.asarray(Image.open(path).convert("L"), float)
        path.write_bytes(deep_png((grey / 255 * 4095).round().astype(int)))
    return root


def test_a_set_is_looked_at_whole_only_where_it_has_deep_images(images: Path) -> None:
    assert survey(open_folder(images, "train")).deep == 0
    found = survey(open_folder(in_twelve_bits(images), "train"))
    assert (found.deep, found.depth()) == (32, Depth(integers=INTEGERS[1]))


def test_what_training_recognised_holds_for_single_images(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    in_twelve_bits(images)
    result, _ = run(finetune(model_folder, images), tmp_path / "run")
    assert result.checkpoint is not None
    codes = [warning.code for warning in result.report.warnings]
    assert "image_depth" in codes
    classifier = Classifier.load(result.checkpoint, device="cpu")
    assert classifier.card.depth == Depth(integers=INTEGERS[1])

    kept = np.load(tmp_path / "run" / "logits" / "0.npz")
    paths = [images / key for key in kept["keys"]]
    shown = [decode_image(path, "x", classifier.card.depth) for path in paths]
    assert np.allclose(classifier.logits(shown).numpy(), kept["logits"], atol=1e-4)

    # One image alone tells nothing of its set, but the checkpoint does.
    alone = tmp_path / "alone"
    (alone / "test" / "dark").mkdir(parents=True)
    (alone / "test" / "bright").mkdir()
    dark = next(path for path in paths if path.parent.name == "dark")
    dim = deep_png(np.asarray(Image.open(dark)).astype(int) // 20)
    for name in ("dark", "bright"):
        (alone / "test" / name / "1.png").write_bytes(dim)
    spec = PredictSpec(
        model=ModelSpec(folder=str(result.checkpoint)), dataset=f"folder:{alone}", logits=True
    )
    listener = Listener()
    execute(spec, tmp_path / "predicted", listener)
    assert "warning" not in listener.types()  # the checkpoint knows: nothing is guessed


def test_a_start_that_knows_nothing_reads_the_set_as_it_is(
    model_folder: Path, images: Path, tmp_path: Path
) -> None:
    spec = EvaluateSpec(model=ModelSpec(folder=str(model_folder)), dataset=f"folder:{images}")
    in_eight, _ = run(spec, tmp_path / "eight")
    in_twelve_bits(images)
    in_twelve, _ = run(spec, tmp_path / "twelve")
    accuracies = [each.report.datasets[0].raw.mean_confidence for each in (in_eight, in_twelve)]
    assert accuracies[0] == pytest.approx(accuracies[1], abs=0.02)
    assert "image_depth" in [warning.code for warning in in_twelve.report.warnings]


def test_images_of_one_colour_are_counted(model_folder: Path, images: Path, tmp_path: Path) -> None:
    for name in ("0", "1"):
        Image.new("RGB", (32, 32), "grey").save(images / "test" / "dark" / f"{name}.png")
    result, _ = run(finetune(model_folder, images), tmp_path / "run")
    (warning,) = (each for each in result.report.warnings if each.code == "no_contrast")
    assert "2 of 24 images" in warning.message
    assert len(warning.names) == 2
