"""Layouts as people have them: understood alike in place and as uploads, or refused alike."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from carot.data.decoding.images import FORMATS
from carot.data.formats.archives import normalise
from carot.data.formats.listing import HEAD_BYTES, is_image
from carot.errors import DataError
from tests.carot.data.formats.brought import bring, picture, pictures, refuse

# Splits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "val", "test"),
        ("Training", "Validation", "Testing"),
        ("TRAIN", "dev", "eval"),
        ("seg_train/seg_train", "seg_val/seg_val", "seg_test/seg_test"),
        ("pets/training_set", "pets/valid_set", "pets/test_set"),
        ("images/train2017", "images/val2017", "images/test2017"),
    ],
)
def test_split_folders(tmp_path: Path, train: str, validation: str, test: str) -> None:
    files = pictures(*(f"{split}/{c}" for split in (train, validation, test) for c in ("a", "b")))
    brought = bring(tmp_path, files)
    assert brought.classes == ("a", "b")
    assert brought.splits["train"] == brought.splits["test"] == {"a": 4, "b": 4}
    assert sum(len(source) for source in brought.sources.values()) == 24
    assert brought.codes() == set()


def test_a_folder_without_images_beside_the_splits(tmp_path: Path) -> None:
    files = pictures("train/a", "train/b", "test/a", "test/b") | {"annotations/a.xml": b"<x/>"}
    brought = bring(tmp_path, files)
    assert set(brought.splits) == {"train", "test"}
    assert [warning.message for warning in brought.warnings] == [
        "left out 1 file, not images: 1 .xml"
    ]


def test_evaluation_splits_alone(tmp_path: Path) -> None:
    brought = bring(tmp_path, pictures("dev/a", "dev/b", "eval/a", "eval/b"))
    assert brought.splits["test"] == {"a": 4, "b": 4}
    assert "train" not in brought.splits


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("train/a", "train/b", "extra/a"), "extra stand beside train"),
        (("seg_train/a", "seg_train/b", "seg_test/a", "seg_pred"), "seg_pred stand beside"),
        (("train/a", "train/b", "test"), "images lie directly in test"),
        (("train", "test"), "images lie directly in test, train"),
        (("train/a", "training/b"), "are all named after the train split"),
        (("train_1/a", "train_2/a"), "are all named after the train split"),
        (("test1", "test2", "other"), "other stand beside test1, test2"),
        (("fold_0/a", "fold_0/b", "fold_1/a"), "look like parts or folds"),
        (("Fold 1/a", "Fold 2/a"), "look like parts or folds"),
        (("kfold1", "kfold2"), "look like parts or folds"),
        (("images_part_1", "images_part_2"), "look like parts or folds"),
        (("batch1", "batch2", "batch3"), "look like parts or folds"),
        (("a/airfield", "a/abbey", "b/beach"), "one folder deeper than expected, in a/abbey"),
        (("a/airfield", "b/beach"), "one folder deeper than expected"),
        (("photo/cat", "photo/dog", "sketch/cat", "sketch/dog"), "one folder deeper"),
        (
            ("art/cat", "art/dog", "photo/cat", "photo/dog", "sketch/cat", "sketch/dog"),
            "one folder",
        ),
        (("train/a/airfield", "train/b/beach"), "one folder deeper than expected"),
        (("train_val/a", "test/a"), "named after train and validation"),
    ],
)
def test_folders_that_are_no_classes(
    tmp_path: Path, folders: tuple[str, ...], message: str
) -> None:
    refuse(tmp_path, pictures(*folders), message)


@pytest.mark.parametrize(
    "folders",
    [("bus", "car", "train"), ("apple", "pear", "test_tube")],
)
def test_a_class_that_is_called_like_a_split(tmp_path: Path, folders: tuple[str, ...]) -> None:
    brought = bring(tmp_path, pictures(*folders, each=12))
    assert brought.classes == folders
    assert brought.codes() == {"class_named_like_split"}


def test_a_folder_around_everything_that_is_called_like_a_split(tmp_path: Path) -> None:
    brought = bring(tmp_path, pictures("pets_train/cat", "pets_train/dog", each=12))
    assert set(brought.splits) == {"train", "validation", "calibration", "test"}
    assert brought.codes() == {"class_named_like_split"}


@pytest.mark.parametrize(
    "folders",
    [
        ("cat/images", "dog/images"),
        ("cat", "cat/old", "dog"),
        ("train/cat/images", "train/dog/images"),
        ("pets/cat", "pets/dog"),
        ("a/b/cat", "a/b/dog"),
        ("c0", "c1"),
        ("class_1", "class_2"),
    ],
)
def test_folders_that_are_classes(tmp_path: Path, folders: tuple[str, ...]) -> None:
    assert len(bring(tmp_path, pictures(*folders, each=8)).classes) == 2


def test_hive_folders(tmp_path: Path) -> None:
    folders = [f"split={s}/label={c}" for s in ("train", "test") for c in ("cat", "dog")]
    brought = bring(tmp_path, pictures(*folders))
    assert brought.splits["train"] == brought.splits["test"] == {"cat": 4, "dog": 4}


def test_classes_that_read_as_numbers_are_in_their_order(tmp_path: Path) -> None:
    brought = bring(tmp_path, pictures("10", "9", "100", each=8))
    assert brought.classes == ("9", "10", "100")


def test_one_spelling_of_accents(tmp_path: Path) -> None:
    brought = bring(tmp_path, pictures("cafe\u0301", "the\u0301", each=8))
    assert brought.classes == ("caf\u00e9", "th\u00e9")


# What is left out -----------------------------------------------------------------------------


def test_what_is_hidden_or_made_by_systems_is_no_image(tmp_path: Path) -> None:
    extra = ("__MACOSX/cat", "cat/.ipynb_checkpoints", "cat/.thumbnails", "dog/@eaDir/0.png")
    files = pictures("cat", "dog", each=8) | pictures(*extra, each=1)
    files["cat/Thumbs.db"] = b"x"
    files["__MACOSX/dog/._0.png"] = b"x"
    brought = bring(tmp_path, files)
    assert brought.classes == ("cat", "dog")
    assert sum(len(source) for source in brought.sources.values()) == 16
    [warning] = brought.warnings
    assert "6 hidden or made by a system" in warning.message


def test_what_an_image_is_its_bytes_decide(tmp_path: Path) -> None:
    files = pictures("cat", "dog")
    for name, kind in (
        ("a.jfif", "JPEG"), ("b.jpe", "JPEG"), ("c.avif", "AVIF"), ("d", "PNG"), ("e.bin", "WEBP"),
        ("f.dat", "TIFF"), ("g.image", "GIF"), ("h.x", "BMP"), ("i.JPG", "PNG"), ("j.y", "PPM"),
    ):  # fmt: skip
        files[f"cat/{name}"] = picture(1000 + len(files), kind)
    files |= {"dog/notes.txt": b"none", "dog/scan.heic": b"\0\0\0\x18ftypheic", "dog/x": b"hello"}
    brought = bring(tmp_path, files)
    assert brought.manifest.images == 18
    [warning] = brought.warnings
    assert warning.code == "files_left_out"
    for kind in ("left out 3 files", "1 .txt", "1 .heic", "1 without an ending"):
        assert kind in warning.message
    for source in brought.sources.values():
        for i in range(len(source)):
            assert source.image(i).size == (8, 8)


def test_a_readme_beside_the_folder_around_everything(tmp_path: Path) -> None:
    files = pictures("pets/cat", "pets/dog", each=8) | {"README.txt": b"hello", "LICENSE": b"x"}
    brought = bring(tmp_path, files)
    assert brought.classes == ("cat", "dog")
    assert brought.codes() == {"files_left_out"}


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"fish/": b""}, "class folder 'fish' has no images"),
        ({"fish/notes.txt": b"x"}, "class folder 'fish' has no images"),
        ({"stray.png": picture(1)}, "stray.png: not in a class folder"),
        ({"labels.xlsx": b"PK"}, "labels.xlsx: tables of this kind are not read"),
        ({"cat/x.parquet": b"PAR1"}, "tables of this kind are not read"),
        ({"info.csv": b"id,name\n1,cat\n"}, "for classes; its columns are id, name"),
        ({"deep/er/info.tsv": b"a\tb\n1\t2\n"}, "its columns are a, b"),
    ],
)
def test_what_belongs_to_nothing(tmp_path: Path, extra: dict[str, bytes], message: str) -> None:
    refuse(tmp_path, pictures("cat", "dog") | extra, message)


def test_images_in_an_archive_beside_their_table(tmp_path: Path) -> None:
    table = b'{"file_name": "a.png", "label": "cat"}'
    packed = {"metadata.jsonl": table, "images.zip": b"PK"}
    refuse(tmp_path, packed, "archives inside are not opened")


def test_no_images_and_one_class(tmp_path: Path) -> None:
    refuse(tmp_path, {"cat/notes.txt": b"x"}, "there are no images")
    refuse(tmp_path / "one", write_in(tmp_path / "one", pictures("cat")), "only one class")


def write_in(folder: Path, files: dict[str, bytes]) -> dict[str, bytes]:
    folder.mkdir()
    return files


# Tables ---------------------------------------------------------------------------------------


def images(count: int = 24, folder: str = "im") -> dict[str, bytes]:
    return {f"{folder}/{i}.png": picture(i) for i in range(count)}


def table(rows: str, count: int = 24, header: str = "filepath,label") -> bytes:
    lines = [rows.format(i=i, c="cat" if i % 2 else "dog") for i in range(count)]
    return "\n".join([header, *lines, ""]).encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data.csv", table("im/{i}.png,{c}")),
        ("data.csv", table("im/{i}.png, {c} ", header="File_Name, Label")),
        ("data.csv", table("im/{i}.png;{c}", header="filepath;label").decode().encode("utf-16")),
        ("data.csv.gz", gzip.compress(table("im/{i}.png,{c}"))),
        ("labels/data.tsv", table("im/{i}.png\t{c}", header="filename\tclass")),
        ("data.csv", table("{i},{c}", header="image_id,label")),
        ("im/metadata.csv", table("{i}.png,{c}", header="file_name,label")),
        ("metadata.jsonl", table('{{"file_name": "im/{i}.png", "label": "{c}"}}', header="")),
        ("pets/deep/data.csv", table("{i}.png,{c}")),
    ],
)
def test_tables(tmp_path: Path, name: str, content: bytes) -> None:
    brought = bring(tmp_path, images() | {name: content})
    assert brought.classes == ("cat", "dog")
    assert brought.manifest.images == 24
    assert brought.codes() == set()


def test_splits_of_a_table_are_honoured(tmp_path: Path) -> None:
    rows = [f"im/{i}.png,{'ab'[i % 2]}, {'Train' if i < 16 else 'TEST'}" for i in range(24)]
    content = "\n".join(["filepath,label, Split", *rows]).encode()
    brought = bring(tmp_path, images() | {"data.csv": content})
    assert brought.splits == {"train": {"a": 8, "b": 8}, "test": {"a": 4, "b": 4}}


def test_a_table_in_each_split_folder(tmp_path: Path) -> None:
    """As Roboflow exports classes: a column for each."""
    files: dict[str, bytes] = {}
    for split, start in (("train", 0), ("valid", 100), ("test", 200)):
        files |= {f"{split}/{i}.png": picture(start + i) for i in range(8)}
        rows = [f"{i}.png, {i % 2}, {1 - i % 2}" for i in range(8)]
        files[f"{split}/_classes.csv"] = "\n".join(["filename, cat, dog", *rows]).encode()
    brought = bring(tmp_path, files)
    assert brought.classes == ("cat", "dog")
    assert brought.splits["train"] == brought.splits["test"] == {"cat": 4, "dog": 4}


def test_tables_named_after_splits(tmp_path: Path) -> None:
    files = images() | {
        "train.csv": table("im/{i}.png,{c}", 16),
        "test.csv": b"filepath,label\n" + b"\n".join(table("im/{i}.png,{c}").split(b"\n")[17:]),
    }
    brought = bring(tmp_path, files)
    assert {split: sum(each.values()) for split, each in brought.splits.items()} == {
        "train": 16,
        "test": 8,
    }
    # One alone says nothing of its rows: it is often all that there is.
    alone = tmp_path / "alone"
    alone.mkdir()
    assert "calibration" in bring(alone, images() | {"train.csv": table("im/{i}.png,{c}")}).splits


def test_a_table_without_splits_of_images_in_split_folders(tmp_path: Path) -> None:
    files = pictures("train/im", "test/im", each=8)
    rows = [f"{name},{'ab'[i % 2]}" for i, name in enumerate(files)]
    files["labels.csv"] = "\n".join(["filepath,label", *rows]).encode()
    brought = bring(tmp_path, files)
    assert brought.splits == {"train": {"a": 4, "b": 4}, "test": {"a": 4, "b": 4}}


def test_class_names_that_no_folder_can_have(tmp_path: Path) -> None:
    names = ["T-shirt/top", "a/b/c", "train", ".hidden", "0.0", "null-ish"]
    rows = [f"im/{i}.png,{names[i % 6]}" for i in range(48)]
    files = images(48) | {"data.csv": "\n".join(["filepath,label", *rows]).encode()}
    brought = bring(tmp_path, files)
    assert brought.classes == tuple(sorted(names))


def test_captions_beside_labels(tmp_path: Path) -> None:
    """FLYP's tables name each image once for each template."""
    rows = [
        f"{template.format('ab'[i % 2])}\tim/{i}.png\t{i % 2}"
        for template in ("a photo of {}.", "a sketch of {}.")
        for i in range(24)
    ]
    files = images() | {"data.tsv": "\n".join(["title\tfilepath\tlabel", *rows]).encode()}
    brought = bring(tmp_path, files)
    assert brought.classes == ("0", "1")
    assert brought.manifest.images == 24
    captions = {each for s in brought.sources.values() for each in s.captions or ()}
    assert captions == {
        ("a photo of a.", "a sketch of a."),
        ("a photo of b.", "a sketch of b."),
    }


def test_label_studio(tmp_path: Path) -> None:
    tasks = [
        {
            "data": {"image": f"/data/upload/1/0123abcd-{i}.png"},
            "annotations": [{"result": [{"value": {"choices": ["ab"[i % 2]]}}]}] if i else [],
        }
        for i in range(24)
    ]
    brought = bring(tmp_path, images() | {"export.json": json.dumps(tasks).encode()})
    assert brought.classes == ("a", "b")
    assert brought.manifest.images == 23
    assert brought.codes() == {"images_unlabelled"}


def test_json_that_is_no_table_is_not_read(tmp_path: Path) -> None:
    files = pictures("cat", "dog", each=8) | {"info.json": b'{"images": [', "cat/0.json": b" [1]"}
    [warning] = bring(tmp_path, files).warnings
    assert warning.message == "left out 2 files, not images: 2 .json"


def test_images_that_a_table_does_not_name(tmp_path: Path) -> None:
    brought = bring(tmp_path, images() | {"data.csv": table("im/{i}.png,{c}", 20)})
    [warning] = brought.warnings
    assert warning.message == "4 images that data.csv does not name were left out"


def test_labels_with_blanks_of_all_kinds(tmp_path: Path) -> None:
    rows = [f'im/{i}.png,"golden{chr(0x2028) if i % 4 else chr(10)}dog"' for i in range(0, 24, 2)]
    rows += [f"im/{i}.png,cat" for i in range(1, 24, 2)]
    content = "\n".join(["filepath,label", *rows]).encode()
    assert bring(tmp_path, images() | {"data.csv": content}).classes == ("cat", "golden dog")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("0.png,a\n0.png,b\n1.png,b", "line 3: 0.png has another label above (a)"),
        ("0.png,a\n./0.png,b\n1.png,b", "has another label above"),
        ("0.png,crane, bird\n1.png,dog", "line 2: 3 values for 2 columns"),
        ("\n".join(f"{i}.png,caption {i}" for i in range(24)), "24 different labels for 24 images"),
        ("0.png,a\n1.png,b\u200b", "line 3: 'b\\u200b' cannot be a class name"),
        ("0.png,a\n1.png,b\ngone.png,b", "gone.png: named in x.csv but not there"),
        ("0.png,a\n1.png,../b", "line 3: '../b' cannot be a class name"),
        (f"0.png,a\n1.png,{'b' * 201}", "cannot be a class name"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, rows: str, message: str) -> None:
    content = f"filepath,label\n{rows}\n".encode()
    refuse(tmp_path, {f"{i}.png": picture(i) for i in range(24)} | {"x.csv": content}, message)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"x.csv": b"filepath,label,split\n0.png,a,train\n0.png,a,test\n"}, "in another split"),
        (
            {"train.csv": b"filepath,label\n0.png,a\n", "test.csv": b"filepath,label\n0.png,a\n"},
            "is in another split above (test)",
        ),
        (
            {"train.csv": b"filepath,label\n0.png,a\n", "more.csv": b"filepath,label\n1.png,a\n"},
            "1 images are in no split, such as 1.png",
        ),
        ({"captions.csv": b"file_name,caption\n0.png,a fine old cat\n1.png,a small brown dog\n"
          b"2.png,a horse in snow\n"}, "captions or names of images"),
    ],
)  # fmt: skip
def test_tables_that_do_not_go_together(
    tmp_path: Path, tables: dict[str, bytes], message: str
) -> None:
    refuse(tmp_path, {f"{i}.png": picture(i) for i in range(3)} | tables, message)


def test_a_file_and_a_folder_of_one_name(tmp_path: Path) -> None:
    files = pictures("red", "green") | {"red/0.png/x.png": picture(99)}
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    for name in ("a.zip", "a.tar"):
        with pytest.raises(DataError, match=r"red/0\.png: the archive holds a file and a folder"):
            normalise(tmp_path / name, io.BytesIO())


def test_the_formats_that_are_told_by_their_bytes_are_those_that_are_read() -> None:
    for kind in FORMATS:
        file = io.BytesIO()
        Image.new("RGB", (16, 16)).save(file, kind)
        assert is_image(file.getvalue()[:HEAD_BYTES]), kind
    for other in (b"", b"hello", b"P9\n", b"\0\0\0\x18ftypheic", b"RIFF\0\0\0\0WAVE", b"%PDF"):
        assert not is_image(other)
