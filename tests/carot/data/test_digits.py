"""The bundled digits: real, complete, and split so that no image is on both sides."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.datasets import load_digits

from carot.data.digits import CLASSES, SPLITS, TEMPLATES, handwritten_digits, printed_digits
from carot.data.source import ArraySource
from carot.errors import DataError

Digits = Callable[[str], ArraySource]
SETS = pytest.mark.parametrize("digits", [handwritten_digits, printed_digits])


@SETS
def test_splits_are_disjoint_in_keys_and_in_pixels(digits: Digits) -> None:
    sources = [digits(split) for split in SPLITS]
    keys = [key for source in sources for key in source.keys]
    assert len(keys) == len(set(keys))
    contents = [{image.tobytes() for image in source.pixels} for source in sources]
    assert len(set.union(*contents)) == sum(map(len, contents))


@SETS
def test_splits_have_about_their_shares_and_every_class(digits: Digits) -> None:
    sizes = {split: len(digits(split)) for split in SPLITS}
    total = sum(sizes.values())
    for split, share in zip(SPLITS, (0.45, 0.10, 0.15, 0.30), strict=True):
        assert sizes[split] / total == pytest.approx(share, abs=0.03)
        assert set(digits(split).labels.tolist()) == set(range(10))


def test_handwritten_digits_are_all_of_the_uci_images() -> None:
    labels = np.concatenate([handwritten_digits(split).labels for split in SPLITS])
    assert sorted(labels) == sorted(load_digits().target)
    assert len(labels) == 1797


def test_upscaling_keeps_white_ink_on_black() -> None:
    source = handwritten_digits("test")
    index = int(source.keys[0].rsplit("-", 1)[1])
    cells = load_digits().images[index] / 16 * 255
    shown = np.asarray(source.image(0).convert("L"), dtype=np.float64)
    assert shown.shape == (32, 32)
    averaged = shown.reshape(8, 4, 8, 4).mean(axis=(1, 3))
    assert np.corrcoef(averaged.ravel(), cells.ravel())[0, 1] > 0.98
    assert source.labels[0] == load_digits().target[index]


@SETS
def test_images_are_rgb_and_the_same_twice(digits: Digits) -> None:
    first, second = digits("calibration"), digits("calibration")
    assert first.image(3).mode == "RGB"
    assert first.image(3).size == (32, 32)
    assert first.classes == CLASSES
    assert first.keys == second.keys
    assert first.image(3).tobytes() == second.image(3).tobytes()


@SETS
def test_an_unknown_split_is_named_with_the_allowed_ones(digits: Digits) -> None:
    with pytest.raises(DataError, match="train, validation, calibration, test") as caught:
        digits("dev")
    assert caught.value.field == "split"


def test_there_are_enough_printed_digits_and_templates() -> None:
    assert 500 <= sum(len(printed_digits(split)) for split in SPLITS) <= 1000
    assert all(template.count("{}") == 1 for template in TEMPLATES)
    assert len(set(TEMPLATES)) == len(TEMPLATES)
