"""Pictures as evaluation sees the images, made by a child."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from carot.data.decoding.decoder_client import DecodeLimits
from carot.data.decoding.thumbnailer_client import Shift, Thumbnailer
from carot.errors import UnreadableImage
from carot.evaluation.rows import open_evaluation
from carot.specs import EvaluationDataset
from carot.specs.evaluation import ShiftName


@pytest.fixture(scope="module")
def child() -> Iterator[Thumbnailer]:
    child = Thumbnailer(DecodeLimits(memory_bytes=1 << 30, seconds=60.0))
    yield child
    child.close()


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def photograph(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3))
    image = Image.fromarray(pixels.astype(np.uint8))
    return image.resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("shift", [None, "noise", "rotation", "fog", "jpeg", "gaussian_noise"])
def test_it_shows_what_the_model_saw(
    child: Thumbnailer, tmp_path: Path, shift: ShiftName | None
) -> None:
    """The image of an opened row, which is scaled down only afterwards."""
    for label in ("cat", "dog"):
        folder = tmp_path / "test" / label
        folder.mkdir(parents=True)
        (folder / "1.png").write_bytes(png(photograph(300, 200, len(label))))
    row = EvaluationDataset(name="x", dataset=f"folder:{tmp_path}", shift=shift, severity=4)
    source = open_evaluation(row, ("cat", "dog")).source
    for i, key in enumerate(source.keys):
        content = (tmp_path / key).read_bytes()
        asked = None if shift is None else Shift(shift, 4)
        whole = child.thumbnail(content, key, 1024, asked)
        expected = source.image(i)
        assert np.array_equal(np.asarray(whole), np.asarray(expected))
        small = child.thumbnail(content, key, 64, asked)
        expected.thumbnail((64, 64), Image.Resampling.LANCZOS)
        assert small.size == (64, 43)
        assert np.array_equal(np.asarray(small), np.asarray(expected))


def test_printed_digits(child: Thumbnailer) -> None:
    row = EvaluationDataset(name="x", dataset="builtin:digits", shift="printed", severity=5)
    names = "zero one two three four five six seven eight nine"
    source = open_evaluation(row, tuple(names.split())).source
    base = source.base  # type: ignore[attr-defined]
    for i in (0, 7):
        found = child.thumbnail(png(base.image(i)), source.keys[i], 160, Shift("printed", 5))
        assert np.array_equal(np.asarray(found), np.asarray(source.image(i)))


def test_it_goes_on_after_what_it_refuses(child: Thumbnailer) -> None:
    image = png(photograph(20, 30))
    with pytest.raises(UnreadableImage):
        child.thumbnail(b"no image", "x", 64)
    with pytest.raises(UnreadableImage, match="earthquake"):
        child.thumbnail(image, "x", 64, Shift("earthquake", 3))
    with pytest.raises(UnreadableImage, match="severity"):
        child.thumbnail(image, "x", 64, Shift("noise", 9))
    assert child.thumbnail(image, "ä/\n?.png", 10, Shift("blur", 1)).size == (7, 10)


def test_memory_is_bounded() -> None:
    child = Thumbnailer(DecodeLimits(memory_bytes=128 << 20, seconds=60.0))
    try:
        large = png(Image.new("RGB", (4000, 4000)))
        assert child.thumbnail(large, "x", 64).size == (64, 64)
        with pytest.raises(UnreadableImage, match="memory"):
            child.thumbnail(large, "x", 64, Shift("noise", 3))
        assert child.thumbnail(png(photograph(9, 9)), "x", 64).size == (9, 9)
    finally:
        child.close()
