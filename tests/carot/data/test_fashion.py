"""Fashion-MNIST's files: read in place, and refused with a sentence where they are not those."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from carot.data import fashion
from carot.data.resolve import open_dataset
from carot.errors import DataError

COUNTS = {"train": 60_000, "t10k": 10_000}


def write(folder: Path, *parts: str, packed: bool = True, labels: int = 10) -> Path:
    """Files of the right form: each picture says by its first pixels where it stands."""
    folder.mkdir(exist_ok=True)
    for part in parts:
        count = COUNTS[part]
        images = np.zeros((count, 28, 28), np.uint8)
        images.reshape(count, -1)[:, :2] = np.stack(
            [np.arange(count) // 256, np.arange(count) % 256], 1
        )
        pictures = np.array([0x803, count, 28, 28], ">u4").tobytes() + images.tobytes()
        named = np.array([0x801, count], ">u4").tobytes()
        named += (np.arange(count) % labels).astype(np.uint8).tobytes()
        for name, content in (("images-idx3", pictures), ("labels-idx1", named)):
            path = folder / f"{part}-{name}-ubyte"
            if packed:
                path.with_name(path.name + ".gz").write_bytes(gzip.compress(content, 1))
            else:
                path.write_bytes(content)
    return folder


@pytest.mark.parametrize("packed", [True, False])
def test_splits_are_the_stated_pictures(tmp_path: Path, packed: bool) -> None:
    folder = write(tmp_path / "fashion", *COUNTS, packed=packed)
    seen: set[str] = set()
    for split, count in (
        ("train", 12_000),
        ("validation", 4_000),
        ("calibration", 4_000),
        ("test", 10_000),
    ):
        source = open_dataset(f"fashion:{folder}", split)
        assert len(source) == count
        assert not seen & set(source.keys)
        seen |= set(source.keys)
        for index in (0, count - 1):
            place = int(source.keys[index].split("-")[1])
            pixels = np.asarray(source.image(index))
            assert pixels.shape == (28, 28, 3)
            assert int(pixels[0, 0, 0]) * 256 + int(pixels[0, 1, 0]) == place
            assert source.labels[index] == place % 10
    kept = {f"train-{index:05d}" for index in fashion.PRETRAINING}
    assert not seen & kept


def test_the_way_to_get_it_is_said_where_it_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="apt-get install dataset-fashion-mnist") as caught:
        open_dataset(f"fashion:{tmp_path}", "train")
    assert caught.value.field == "dataset"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda content: content[:-9], "cannot be read"),
        (lambda content: content[:40], "cannot be read"),
        (lambda _: b"no gzip", "cannot be read"),
        (lambda content: gzip.compress(gzip.decompress(content) + b"\0", 1), "is not Fashion"),
        (lambda content: gzip.compress(gzip.decompress(content)[:-1], 1), "is not Fashion"),
        (lambda content: gzip.compress(b"\0\0\x08\x01" + b"\0" * 99, 1), "is not Fashion"),
        (lambda _: gzip.compress(b""), "is not Fashion"),
    ],
)
def test_other_files_are_refused(
    tmp_path: Path, damage: Callable[[bytes], bytes], said: str
) -> None:
    folder = write(tmp_path / "fashion", "t10k")
    path = folder / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=re.escape(path.name)) as caught:
        open_dataset(f"fashion:{folder}", "test")
    assert said in caught.value.message


def test_labels_beyond_the_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="beyond the 10 classes"):
        open_dataset(f"fashion:{write(tmp_path / 'fashion', 't10k', labels=11)}", "test")


@pytest.mark.skipif(not fashion.FOLDER.is_dir(), reason="dataset-fashion-mnist is not installed")
def test_the_package_is_found_where_debian_puts_it() -> None:
    source = open_dataset("fashion:", "test")
    assert np.bincount(source.labels).tolist() == [1000] * 10
    assert source.classes[int(source.labels[0])] == "ankle boot"
