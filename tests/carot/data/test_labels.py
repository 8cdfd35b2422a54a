from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carot.data.labels import check_no_captions, in_order, settle, unlabelled
from carot.errors import DataError


@pytest.mark.parametrize(
    ("written", "labels", "are_indices"),
    [
        (["0", "12"], ["0", "12"], True),
        (["01", "1"], ["01", "1"], False),
        (["02134", "7"], ["02134", "7"], False),
        (["1", "n1"], ["1", "n1"], False),
        (["0", "-1", "2"], ["0", None, "2"], True),
        (["-1", "cat"], ["-1", "cat"], False),
        (["cat", "", "NaN", "null", None], ["cat", None, None, None, None], False),
        (["golden\nretriever", " a\u2028 b\x85c\x0cd "], ["golden retriever", "a b c d"], False),
        (["none", "NA"], ["none", "NA"], False),
        (["9" * 19, "1"], ["9" * 19, "1"], False),
        (["+1", "1"], ["+1", "1"], False),
        (["0.5", "1"], ["0.5", "1"], False),
        ([], [], False),
    ],
)
def test_what_labels_mean(
    written: Sequence[str | None], labels: Sequence[str | None], are_indices: bool
) -> None:
    settled = settle(written, "x")
    assert (settled.labels, settled.are_indices) == (labels, are_indices)
    assert not settled.warnings


def test_floats_of_whole_numbers_are_told() -> None:
    settled = settle(["0.0", "1.0", "1", "-1.0"], "pets.csv")
    assert settled.labels == ["0", "1", "1", None]
    [warning] = settled.warnings
    assert warning.code == "float_labels"
    assert "pets.csv: labels written as 0.0 are read as 0" in warning.message
    assert warning.action


@given(st.lists(st.integers(0, 10**17).map(str)))
def test_integers_stay_what_they_are(labels: list[str]) -> None:
    assert settle(labels, "x").labels == labels


def test_those_left_out_are_counted() -> None:
    [warning] = unlabelled(3, 40, "pets.csv")
    assert warning.message == "pets.csv: 3 of 40 images have no label and are left out"
    assert unlabelled(0, 40, "pets.csv") == ()


@pytest.mark.parametrize(
    "labels",
    [
        [f"a photo of cat {i}" for i in range(24)],
        [f"img{i}" for i in range(12)],
        [f"img{i // 1 if i < 8 else 0}" for i in range(12)],
        ["one cat there", "one dog there", "a fine horse"],
    ],
)
def test_captions_are_no_classes(labels: list[str]) -> None:
    with pytest.raises(DataError, match="captions or names of images, not classes; give the class"):
        check_no_captions(labels, "data.csv, title")


@pytest.mark.parametrize(
    "labels", [["cat", "dog"], ["a", "b", "c"], ["a photo of a cat", "a photo of a dog"] * 6, []]
)
def test_classes_are_no_captions(labels: list[str]) -> None:
    check_no_captions(labels, "data.csv, label")


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        (["10", "9", "2"], ["2", "9", "10"]),
        (["10", "09", "1"], ["1", "09", "10"]),
        (["1", "01"], ["01", "1"]),
        (["10.5", "9", "-3"], ["-3", "9", "10.5"]),
        (["10", "9", "two"], ["10", "9", "two"]),
        (["b", "a", "b"], ["a", "b"]),
    ],
)
def test_order_of_classes(names: list[str], ordered: list[str]) -> None:
    assert in_order(names) == ordered
