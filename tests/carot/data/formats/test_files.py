from __future__ import annotations

from pathlib import Path

import braceexpand
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carot.data.formats.files import expand, find_files
from carot.errors import DataError

NUMBERS = st.integers(0, 120)


@st.composite
def patterns(draw: st.DrawFn) -> str:
    """Names with one to three numeric ranges, padded or not."""
    text = draw(st.sampled_from(["a-", "/x/b", ""]))
    for _ in range(draw(st.integers(1, 3))):
        first, length = draw(NUMBERS), draw(st.integers(0, 5))
        width = draw(st.integers(1, 5))
        last = first + length
        text += f"{{{first:0{width}}..{last:0{width}}}}" + draw(st.sampled_from(["-", "", ".tar"]))
    return text


@given(patterns())
def test_ranges_are_expanded_as_shells_do(pattern: str) -> None:
    assert expand(pattern) == list(braceexpand.braceexpand(pattern))


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{5..3}.tar", "backwards"),
        ("{0..99999999}.tar", "more than"),
        ("{0..999}{0..999}.tar", "more than"),
        ("{a,b}.tar", "ranges of numbers"),
        ("{{0..1}}.tar", "ranges of numbers"),
        ("{0..1}}.tar", "ranges of numbers"),
        ("x{}{0..1}.tar", "ranges of numbers"),
    ],
)
def test_patterns_that_name_no_files(pattern: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        expand(pattern)
    assert caught.value.field == "dataset"


def splits_of(root: Path, *names: str) -> dict[str, str | None]:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return {file.name: file.split for file in find_files(root, (".tar",))}


def test_splits_by_words_of_names_and_by_folders(tmp_path: Path) -> None:
    expected = {
        "train-0000.tar": "train",
        "imagenet1k-validation-07.tar": "validation",
        "val_3.TAR": "validation",
        "calibration.tar": "calibration",
        "test2019.tar": "test",
        "val/0.tar": "validation",
        "Training-0.tar": "train",
        "eval-0.tar": "test",
        "seg_train/9.tar": "train",
        "split=test/9.tar": "test",
        "plain_text/dev/deep/0.tar": "validation",
        "train/sub/test-1.tar": "test",
    }
    assert splits_of(tmp_path, *expected) == expected
    assert [f.name for f in find_files(tmp_path, (".tar",))] == sorted(expected)


def test_words_inside_of_words_say_nothing(tmp_path: Path) -> None:
    names = ("latest.tar", "trains-1.tar", "values.tar", "contest/0.tar")
    assert splits_of(tmp_path, *names, ".hidden/train.tar", "train/a.txt") == dict.fromkeys(names)


def test_two_splits_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="test and train"):
        splits_of(tmp_path, "train-test-0.tar")


def test_some_files_without_a_split(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"but not extra-0\.tar"):
        splits_of(tmp_path, "train-0.tar", "extra-0.tar")


def test_ranges_of_files(tmp_path: Path) -> None:
    splits_of(tmp_path, *(f"d{i}/train-{j:02}.tar" for i in range(2) for j in range(8, 12)))
    files = find_files(tmp_path / "d{0..1}" / "train-{08..11}.tar", (".tar",))
    assert [file.name for file in files] == [
        f"d{i}/train-{j:02}.tar" for i in (0, 1) for j in range(8, 12)
    ]
    assert {file.split for file in files} == {"train"}
    with pytest.raises(DataError, match=r"train-12\.tar: no such file"):
        find_files(tmp_path / "d0" / "train-{08..12}.tar", (".tar",))
    odd = tmp_path / "{0..1}.tar"
    odd.touch()  # a file of that very name comes first
    assert [file.path for file in find_files(odd, (".tar",))] == [odd]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "missing: no such file"),
        ("missing.tar", "no such file"),
        ("a\0b", "cannot be read"),
        ("x" * 300, "cannot be read"),
    ],
)
def test_nothing_there(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_files(tmp_path / name, (".tar",))
    with pytest.raises(DataError, match=r"no files named \*\.tar"):
        find_files(tmp_path, (".tar",))


def test_a_folder_behind_a_link(tmp_path: Path) -> None:
    splits_of(tmp_path / "real", "train/0.tar")
    (tmp_path / "link").symlink_to(tmp_path / "real")  # as a worker links its data set root
    [file] = find_files(tmp_path / "link", (".tar",))
    assert (file.name, file.path) == ("train/0.tar", tmp_path / "link" / "train" / "0.tar")
