"""Near copies across splits, planted and found."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from benchmarks import near_copies as planted
from carot.data.digits import handwritten_digits
from carot.data.inspection import Inspection
from carot.data.near_copies import NearCopies, NearCopy
from tests.carot.data.written_depths import deep_png


class Inspecting(Inspection):
    """One that knows the split of each image."""

    def __init__(self) -> None:
        super().__init__()
        self.splits: dict[str, str] = {}

    def take(self, content: bytes, split: str | None, key: str) -> bool:
        assert split is not None
        self.splits[key] = split
        return super().take(content, split, key)

    def found(self) -> list[NearCopy]:
        return self.near_copies(self.splits)


def encoded(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(("name", "images"), [("noise", 400), ("handwriting", 700)])
def test_what_is_planted_is_found_and_little_else(name: str, images: int) -> None:
    picture = planted.photograph if name == "noise" else handwritten_digits("train").image
    row = planted.measured(name, picture, images)
    assert row["planted"] >= 20
    assert row["recall"] >= 0.95, row["missed"]
    assert row["false"] <= 0.004  # one of 280; the share of a large set is in the benchmark


def test_each_is_found_with_what_it_is_a_copy_of_and_the_most_alike_first() -> None:
    inspection = Inspecting()
    for index in range(60):
        content = encoded(planted.photograph(index))
        assert inspection.take(content, "train" if index < 40 else "test", str(index))
    for key, alteration in (("cropped", "crop 10 %"), ("packed", "jpeg 75")):
        content = planted.ALTERATIONS[alteration](planted.photograph(7))
        inspection.take(content, "test", key)
    found = inspection.found()
    assert [(copy.key, copy.other_split, copy.other_key) for copy in found] == [
        ("packed", "train", "7"),
        ("cropped", "train", "7"),
    ]
    assert 0.9 < found[1].likeness < found[0].likeness <= 1
    (warning,) = inspection.warnings(len(found))
    assert warning.code == "near_copies"
    assert warning.message.startswith("2 images look like")


def test_within_a_split_nothing_is_a_copy() -> None:
    inspection = Inspecting()
    for index in (1, 2, 3, 1, 2, 3):
        inspection.take(encoded(planted.photograph(index)), "train", str(index))
    assert inspection.found() == []


def test_images_that_show_nothing_are_no_copies_of_each_other() -> None:
    inspection = Inspecting()
    for split in ("train", "test"):
        for level in (0, 100, 255):
            size = (40, 40) if split == "train" else (41, 41)
            inspection.take(encoded(Image.new("RGB", size, (level,) * 3)), split, f"{split}{level}")
    assert inspection.found() == []
    (warning,) = inspection.warnings(0)
    assert (warning.code, len(warning.names)) == ("no_contrast", 6)


def test_a_copy_byte_for_byte_is_left_out_and_not_listed() -> None:
    inspection = Inspecting()
    content = encoded(planted.photograph(1))
    assert inspection.take(content, "train", "a")
    assert not inspection.take(content, "test", "b")
    assert inspection.copies.counts == {("test", "train"): 1}
    assert inspection.found() == []


def test_a_deep_image_is_compared_by_what_it_shows() -> None:
    grey = np.asarray(planted.photograph(3).convert("L"))
    inspection = Inspecting()
    inspection.take(encoded(Image.fromarray(grey)), "train", "eight")
    twelve = deep_png((grey.astype(float) * 16).astype(int))
    inspection.take(twelve, "test", "twelve")
    (copy,) = inspection.found()
    assert (copy.key, copy.other_key) == ("twelve", "eight")
    assert [warning.code for warning in inspection.warnings(0)] == ["image_depth"]


def test_torn_images_are_passed_over() -> None:
    inspection = Inspecting()
    content = encoded(planted.photograph(1))
    assert inspection.take(content[: len(content) // 2], "train", "torn")
    assert inspection.found() == []


def test_too_many_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carot.data.near_copies.MOST_IMAGES", 3)
    alike = NearCopies()
    thumbnail = np.arange(32 * 32, dtype=np.uint8).reshape(32, 32)
    for index in range(10):
        alike.add(str(index), thumbnail)
    assert len(alike) == 4  # one more says that there are more
    assert alike.find({}) == []
