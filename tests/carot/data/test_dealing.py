"""How images without a split are dealt out: every split has every class, and few images move."""

import hashlib
import io
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from carot.data.dealing import deal, halve
from carot.data.formats.archives import normalise
from carot.data.formats.folder import open_folder
from carot.data.splits import SPLITS, split_of_digest


def digests(name: str, count: int) -> list[bytes]:
    return [hashlib.sha256(f"{name}/{i}".encode()).digest() for i in range(count)]


def splits_of_class(name: str, count: int) -> list[str]:
    return deal(digests(name, count), [name] * count)


@pytest.mark.parametrize("count", range(4, 40))
def test_a_class_of_four_images_or_more_is_in_every_split(count: int) -> None:
    for seed in range(50):
        assert set(splits_of_class(f"{seed}", count)) == set(SPLITS)


@pytest.mark.parametrize(("count", "most"), [(1, 1), (2, 2), (3, 3)])
def test_fewer_are_in_train_and_in_no_split_twice_where_another_has_none(
    count: int, most: int
) -> None:
    seen: Counter[str] = Counter()
    for seed in range(200):
        splits = splits_of_class(f"few {seed}", count)
        assert "train" in splits
        assert len(set(splits)) == most
        seen.update(splits)
    if count > 1:  # of many such classes no split stays empty
        assert set(seen) == set(SPLITS)


def test_of_large_classes_no_image_leaves_the_split_of_its_content() -> None:
    for name in map(str, range(20)):
        own = digests(name, 300)
        assert deal(own, [name] * 300) == [split_of_digest(digest) for digest in own]


def test_images_that_are_added_move_others_only_where_a_split_lacked_the_class() -> None:
    out_of_train = 0
    for seed in range(100):
        name = f"grows {seed}"
        own = digests(name, 60)
        before = dict(zip(own[:1], deal(own[:1], [name]), strict=True))
        for count in range(2, 61):
            after = dict(zip(own[:count], deal(own[:count], [name] * count), strict=True))
            moved = [each for each in before if before[each] != after[each]]
            if {split_of_digest(each) for each in before} == set(SPLITS):
                assert not moved
            assert len(moved) <= 3
            out_of_train += sum(before[each] == "train" for each in moved if count > 12)
            before = after
    # What was trained on becomes what is measured only while a class is all but empty.
    assert out_of_train <= 2


def test_other_classes_change_nothing() -> None:
    small, large = digests("small", 5), digests("large", 100)
    together = deal(small + large, ["small"] * 5 + ["large"] * 100)
    assert together[:5] == deal(small, ["small"] * 5)


def test_copies_stay_together_and_count_once() -> None:
    own = digests("copies", 4)
    for seed in range(30):
        own = digests(f"copies {seed}", 5)
        dealt = defaultdict(set)
        for digest, split in zip(own * 3, deal(own * 3, ["cat"] * 15), strict=True):
            dealt[digest].add(split)
        assert all(len(splits) == 1 for splits in dealt.values())
        assert {split for splits in dealt.values() for split in splits} == set(SPLITS)


def test_an_image_of_two_classes_is_in_one_split() -> None:
    for seed in range(100):
        shared = digests(f"shared {seed}", 1)
        cats, dogs = digests(f"cat {seed}", 3), digests(f"dog {seed}", 2)
        labels = ["cat"] * 4 + ["dog"] * 3
        dealt = deal(shared + cats + shared + dogs, labels)
        assert dealt[0] == dealt[4] == split_of_digest(shared[0])


def test_halves_of_validation_both_have_every_class_of_two_images() -> None:
    for seed in range(100):
        for count in (2, 3, 5):
            assert set(halve(digests(f"{seed}", count), ["cat"] * count)) == {
                "validation",
                "calibration",
            }
    alone = {halve(digests(f"{seed}", 1), ["cat"])[0] for seed in range(20)}
    assert alone == {"validation", "calibration"}


@pytest.mark.parametrize("prefix", ["", "validation/"])
@pytest.mark.parametrize("each", [2, 5])
def test_uploads_are_counted_as_training_finds_them(tmp_path: Path, each: int, prefix: str) -> None:
    """Small classes: the splits of an upload's manifest are those of its folder."""
    for label in ("ant", "bee", "cow"):
        for folder in {prefix, "train/" if prefix else ""}:
            place = tmp_path / "data" / folder / label
            place.mkdir(parents=True)
            for i in range(each):
                pixels = np.random.default_rng([i, *f"{folder}{label}".encode()])
                image = Image.fromarray(pixels.integers(0, 255, (8, 8, 3), dtype=np.uint8))
                image.save(place / f"{i}.png")
    manifest = normalise(tmp_path / "data", io.BytesIO())
    for split in SPLITS:
        source = open_folder(tmp_path / "data", split)
        found = Counter(source.classes[label] for label in source.labels)
        assert manifest.splits.get(split, {}) == dict(sorted(found.items()))
    everywhere = SPLITS if each > 3 else ("train",)
    for split in ("validation", "calibration") if prefix else everywhere:
        assert set(manifest.splits[split]) == {"ant", "bee", "cow"}
