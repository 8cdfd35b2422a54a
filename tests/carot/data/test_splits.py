from __future__ import annotations

import pytest

from carot.data.splits import SPLIT_WORDS, is_split_word, split_named
from carot.errors import DataError


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("Training", "train"),
        ("TRN", "train"),
        ("seg_train", "train"),
        ("training_set", "train"),
        ("trainSet", "train"),
        ("train2017", "train"),
        ("trainimages", "train"),
        ("split=train", "train"),
        ("Val", "validation"),
        ("valid", "validation"),
        ("dev-00000-of-00003.parquet", "validation"),
        ("eval", "test"),
        ("Evaluation", "test"),
        ("pets test (1)", "test"),
        ("calib", "calibration"),
        ("latest", None),
        ("contest", None),
        ("trains", None),
        ("invalid", None),
        ("values", None),
        ("dataset", None),
        ("", None),
    ],
)
def test_what_a_name_says(name: str, split: str | None) -> None:
    assert split_named(name) == split


def test_every_word_in_every_case_is_a_split_by_itself() -> None:
    for word, split in SPLIT_WORDS.items():
        for written in (word, word.upper(), word.capitalize()):
            assert split_named(written) == split
            assert is_split_word(written)
    assert not is_split_word("seg_train")


def test_two_splits_in_one_name() -> None:
    with pytest.raises(DataError, match="train_test: named after test and train"):
        split_named("train_test")
    assert split_named("train_training") == "train"
