from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from carot.data.resolve import copies_in, open_dataset, open_prediction
from carot.errors import DataError
from carot.specs import ModelSpec, PredictSpec
from tests.carot.tiny import write_images


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split in ("train", "calibration", "test"):
        write_images(tmp_path / split, each=6)
    return tmp_path


def copy(root: Path, source: str, target: str) -> None:
    (root / target).write_bytes((root / source).read_bytes())


def test_a_set_without_copies_is_as_it_was(root: Path) -> None:
    assert not copies_in(f"folder:{root}").counts
    assert len(open_dataset(f"folder:{root}", "test")) == 12


def test_copies_count_in_the_first_split_only_and_are_counted(root: Path) -> None:
    copy(root, "train/dark/0.png", "calibration/dark/copy.png")
    copy(root, "train/dark/1.png", "calibration/dark/another.png")
    copy(root, "calibration/bright/0.png", "test/bright/copy.png")
    copy(root, "train/dark/2.png", "train/dark/again.png")  # in one split: no leak
    reference = f"folder:{root}"
    lengths = {split: len(open_dataset(reference, split)) for split in ("train", "calibration")}
    assert lengths == {"train": 13, "calibration": 12}
    assert "test/bright/copy.png" not in open_dataset(reference, "test").keys
    copies = copies_in(reference)
    assert copies.counts == {("calibration", "train"): 2, ("test", "calibration"): 1}
    (warning,) = copies.warnings("pets")
    assert warning.code == "copies_across_splits"
    assert warning.message.startswith("pets: 3 images stand in two splits")
    assert "2 of calibration in train, 1 of test in calibration" in warning.message
    with pytest.raises(DataError, match="copies: leave_out") as caught:
        copies.refuse("pets", "dataset")
    assert caught.value.field == "dataset"


def test_another_label_makes_it_no_other_image(root: Path) -> None:
    copy(root, "train/dark/0.png", "test/bright/copy.png")
    assert copies_in(f"folder:{root}").counts == {("test", "train"): 1}


def test_a_file_of_the_same_size_is_no_copy(root: Path) -> None:
    copy(root, "train/dark/0.png", "test/dark/similar.png")
    path = root / "test" / "dark" / "similar.png"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert not copies_in(f"folder:{root}").counts


def test_what_changes_on_disk_is_looked_at_again(root: Path) -> None:
    assert not copies_in(f"folder:{root}").counts
    copy(root, "train/dark/0.png", "test/dark/0.png")
    os.utime(root / "test/dark/0.png", (1, 1))
    assert copies_in(f"folder:{root}").counts == {("test", "train"): 1}


def test_a_file_of_predictions_has_them_all(root: Path) -> None:
    copy(root, "train/dark/0.png", "test/dark/copy.png")
    spec = PredictSpec(model=ModelSpec(folder="m"), dataset=f"folder:{root}", split="all")
    assert [len(source) for _, source in open_prediction(spec)] == [12, 12, 13]


def test_images_inside_other_files(tmp_path: Path) -> None:
    images = [path.read_bytes() for path in sorted(write_images(tmp_path / "i").rglob("*.png"))]
    labels = ["a", "b"] * 12
    for name, start, stop in (("train", 0, 20), ("test", 15, 24)):
        table = pa.table({"image": images[start:stop], "label": labels[start:stop]})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    assert copies_in(f"parquet:{tmp_path}").counts == {("test", "train"): 5}
    assert len(open_dataset(f"parquet:{tmp_path}", "test")) == 4
