from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from carot.data.formats.bundle_index import INDEX_NAME
from carot.data.formats.csv_table import open_csv, read_csv
from carot.data.formats.folder import open_folder
from carot.data.splits import SHARES, SPLITS, split_of
from carot.errors import DataError, TooManyUnreadable
from tests.carot.tiny import write_images


def keys(root: Path, split: str) -> set[str]:
    return set(open_folder(root, split).keys)


def test_images_without_splits_are_dealt_out_by_content(tmp_path: Path) -> None:
    write_images(tmp_path, each=40)
    parts = {split: keys(tmp_path, split) for split in SPLITS}
    assert sum(map(len, parts.values())) == 80
    assert len(set.union(*parts.values())) == 80
    assert all(parts.values())
    # Adding images moves none, and a copy goes where its original is.
    shutil.copy(tmp_path / "dark" / "0.png", tmp_path / "dark" / "copy.png")
    for split in SPLITS:
        assert parts[split] <= keys(tmp_path, split)
        assert ("dark/copy.png" in keys(tmp_path, split)) == ("dark/0.png" in parts[split])


def test_shares_are_kept() -> None:
    counts = Counter(split_of(str(i).encode()) for i in range(20_000))
    for split, share in SHARES.items():
        assert counts[split] / 20_000 == pytest.approx(share, abs=0.01)


def test_split_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        write_images(tmp_path / split, each=20)
    assert len(open_folder(tmp_path, "train")) == 40
    assert len(open_folder(tmp_path, "test")) == 40
    validation, calibration = keys(tmp_path, "validation"), keys(tmp_path, "calibration")
    assert validation
    assert calibration
    assert not validation & calibration
    assert len(validation | calibration) == 40
    assert open_folder(tmp_path, "train").classes == ("bright", "dark")


def test_an_own_calibration_split_is_used(tmp_path: Path) -> None:
    for split in SPLITS:
        write_images(tmp_path / split, each=5)
    assert all(k.startswith("calibration/") for k in keys(tmp_path, "calibration"))
    assert len(keys(tmp_path, "validation")) == 10


def test_a_folder_behind_a_link(tmp_path: Path) -> None:
    write_images(tmp_path / "real" / "train")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert keys(tmp_path / "link", "train") == keys(tmp_path / "real", "train")


def test_empty_class_is_named(tmp_path: Path) -> None:
    write_images(tmp_path)
    (tmp_path / "grey").mkdir()
    with pytest.raises(DataError, match=r"'grey'.*no images"):
        open_folder(tmp_path, "train")


def test_one_class_only(tmp_path: Path) -> None:
    write_images(tmp_path, classes=("bright",))
    with pytest.raises(DataError, match="only one class"):
        open_folder(tmp_path, "train")


def test_no_images_and_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images"):
        open_folder(tmp_path, "train")
    with pytest.raises(DataError, match="no such folder"):
        open_folder(tmp_path / "missing", "train")


def test_classes_of_the_splits_must_agree(tmp_path: Path) -> None:
    write_images(tmp_path / "train")
    write_images(tmp_path / "test", classes=("bright", "grey"))
    with pytest.raises(DataError, match="test/ has classes that train/ does not: grey"):
        open_folder(tmp_path, "test")


def write_csv(root: Path, text: str) -> Path:
    path = root / "images.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_in_open_clips_convention(tmp_path: Path) -> None:
    write_images(tmp_path)
    rows = [f"{c}/{i}.png\t{c} thing" for c in ("bright", "dark") for i in range(12)]
    path = write_csv(tmp_path, "filepath\ttitle\n" + "\n".join(rows))
    sources = [open_csv(path, split) for split in SPLITS]
    assert sum(map(len, sources)) == 24
    assert sources[0].classes == ("bright thing", "dark thing")
    assert sources[0].image(0).size == (32, 32)


def test_csv_with_splits_and_labels(tmp_path: Path) -> None:
    write_images(tmp_path)
    path = write_csv(
        tmp_path,
        "filepath,label,split\nbright/0.png,a,train\ndark/0.png,b,train\ndark/1.png,b,test\n",
    )
    assert open_csv(path, "train").keys == ["bright/0.png", "dark/0.png"]
    assert open_csv(path, "test").classes == ("a", "b")


def test_csv_without_a_calibration_split_has_it_from_validation(tmp_path: Path) -> None:
    write_images(tmp_path, each=20)
    rows = [
        f"{name}/{i}.png,{name},{'train' if i < 2 else 'validation'}"
        for name in ("bright", "dark")
        for i in range(20)
    ]
    path = write_csv(tmp_path, "filepath,label,split\n" + "\n".join(rows))
    validation, calibration = (set(open_csv(path, s).keys) for s in ("validation", "calibration"))
    assert validation
    assert calibration
    assert len(validation | calibration) == len(validation) + len(calibration) == 36


def test_csv_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "images.csv"
    path.write_bytes(b"filepath,label\n\xff.png,x\n")
    with pytest.raises(DataError, match="UTF-8"):
        open_csv(path, "train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filepath,colour\na.png,x\n", "no column named label"),
        ("name,label\na.png,x\n", "no column named filepath"),
        ("filepath,label\na.png,\n", "not one row has a label"),
        ("filepath,label\na.png,x\n,y\n", "line 3: no filepath"),
        ("filepath,label,split\na.png,x,exam\n", "'exam' is none of"),
        ("filepath,label\na.png,x\n", "only one class"),
        ("", "no column"),
    ],
)
def test_bad_csv(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_csv(write_csv(tmp_path, text), "train")


def test_csv_names_images_that_lie_elsewhere(tmp_path: Path) -> None:
    write_images(tmp_path / "deep" / "images")
    write_images(tmp_path / "beside")
    (tmp_path / "set").mkdir()
    rows = ["bright/0", "/home/me/images/dark/0.png", "../beside/dark/1.png", "gone.png"]
    text = "image_id,label\n" + "".join(f"{row},{'ab'[i % 2]}\n" for i, row in enumerate(rows))
    write_images(tmp_path / "set" / "images")
    found = {
        Path(image.file).as_posix()
        for image in read_csv(
            write_csv(tmp_path / "set", text.replace("bright/0", "images/bright/0"))
        ).images
    }
    assert found == {
        "images/bright/0.png", "images/dark/0.png", "../beside/dark/1.png", "gone.png"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filepath,label\ndark/0.png,a\ndark/0.png,b\n", "has another label above"),
        ("filepath,label\ndark/0.png,a\n./dark/0.png,b\n", "has another label above"),
        ("filepath,label,split\ndark/0.png,a,train\ndark/0.png,a,val\n", "in another split above"),
    ],
)
def test_csv_of_one_image_twice(tmp_path: Path, text: str, message: str) -> None:
    write_images(tmp_path)
    with pytest.raises(DataError, match=message):
        open_csv(write_csv(tmp_path, text), "train")
    same = "filepath,label\n" + "dark/0.png,a\n" * 3 + "bright/0.png,b\n"
    sources = [open_csv(write_csv(tmp_path, same), split) for split in SPLITS]
    assert sum(map(len, sources)) == 2


def test_csv_says_what_it_leaves_out(tmp_path: Path) -> None:
    write_images(tmp_path)
    path = write_csv(tmp_path, "filepath,label\nbright/0.png,0.0\ndark/0.png,1.0\ndark/1.png,\n")
    source = open_csv(path, "train")
    assert source.classes == ("0", "1")
    assert [warning.code for warning in source.warnings] == ["float_labels", "images_unlabelled"]


def test_images_that_a_table_spells_otherwise_are_named_and_not_their_class(
    tmp_path: Path,
) -> None:
    write_images(tmp_path)
    rows = [f"{name}/{i}.PNG,{name}" for name in ("bright", "dark") for i in range(12)]
    write_csv(tmp_path, "\n".join(["filepath,label", *rows]))
    with pytest.raises(TooManyUnreadable, match=r"24 of 24 .*bright/0\.PNG"):
        open_folder(tmp_path, "train")


def test_csv_that_names_what_is_hidden(tmp_path: Path) -> None:
    write_images(tmp_path, each=60)
    shutil.copytree(tmp_path / "dark", tmp_path / "dark" / ".ipynb_checkpoints")
    rows = [f"{name}/{i}.png,{name}" for name in ("bright", "dark") for i in range(60)]
    one = [*rows, "dark/.ipynb_checkpoints/0.png,dark"]
    source = open_csv(write_csv(tmp_path, "\n".join(["filepath,label", *one])), "train")
    assert not [key for key in source.keys if "checkpoints" in key]
    assert "1 of 121 images that are named cannot be had" in source.warnings[0].message
    many = [*one, "__MACOSX/._0.png,dark"]
    with pytest.raises(TooManyUnreadable, match="2 of 122"):
        open_csv(write_csv(tmp_path, "\n".join(["filepath,label", *many])), "train")


def test_circles_of_links_and_special_files(tmp_path: Path) -> None:
    write_images(tmp_path / "set", each=4)
    (tmp_path / "set" / "dark" / "again").symlink_to(tmp_path / "set")
    os.mkfifo(tmp_path / "set" / "dark" / "pipe.png")
    sources = [open_folder(tmp_path / "set", split) for split in SPLITS]
    assert sum(map(len, sources)) == 8


INDEX = '{"file": "a/0.png", "label": "x"}\n'


@pytest.mark.parametrize(
    "line",
    [
        '{"file": "../0.png", "label": "x"}',
        '{"file": "/etc/passwd", "label": "x"}',
        '{"file": "a/0.png"}',
        '{"file": "a/0.png", "label": 3}',
        '{"file": "a/0.png", "label": "x", "split": "exam"}',
        '{"file": "a/0.png", "label": "x", "captions": [1]}',
        '{"file": "a/0.png", "label": "x", "more": 1}',
        "[]",
        "{",
    ],
)
def test_an_index_that_is_none(tmp_path: Path, line: str) -> None:
    (tmp_path / INDEX_NAME).write_text(f"{INDEX}{line}\n")
    with pytest.raises(DataError, match="line 2"):
        open_folder(tmp_path, "train")
