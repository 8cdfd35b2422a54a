from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from carot.data.decoding.images import decode_image
from carot.data.formats.folder import open_folder
from carot.data.formats.parquet import ParquetSource, open_parquet, row_groups
from carot.data.formats.parquet_tables import MAX_ROW_GROUP_BYTES
from carot.data.loader import TrainingBatches, Unreadable
from carot.data.source import ImageSource
from carot.data.splits import SPLITS, split_of
from carot.errors import DataError, UnreadableImage
from carot.events import Silent
from tests.carot.data.written_images import class_label, pictures, write_parquet
from tests.carot.tiny import tiny_model, write_images

CLASSES = ("bright", "dark")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    for split in ("train", "test"):
        write_images(root / split, each=10)
    return root


@pytest.fixture
def picture(images: Path) -> bytes:
    return (images / "train" / "dark" / "0.png").read_bytes()


@pytest.mark.parametrize("plain", [False, True])
def test_the_same_images_as_in_a_folder(images: Path, tmp_path: Path, plain: bool) -> None:
    for split, found in pictures(images).items():
        for part in range(2):
            chosen = found[10 * part :][:10]
            write_parquet(
                tmp_path / "hf" / "data" / f"{split}-0000{part}-of-00002.parquet",
                [content for _, _, content in chosen],
                [CLASSES.index(name) for _, name, _ in chosen],
                metadata=class_label(CLASSES),
                rows=3,
                plain=plain,
            )
    for split in ("train", "test"):
        files, source = open_folder(images, split), open_parquet(tmp_path / "hf", split)
        assert source.classes == files.classes
        assert source.labels.dtype == np.int64
        np.testing.assert_array_equal(source.labels, files.labels)
        assert source.keys[0] == f"data/{split}-00000-of-00002.parquet:0"
        assert source.keys[19] == f"data/{split}-00001-of-00002.parquet:9"
        for i in range(len(files)):
            assert source.image(i).tobytes() == files.image(i).tobytes()
        assert source.blocks is not None
        assert [len(block) for block in source.blocks.ranges] == [3, 3, 3, 1] * 2


@pytest.mark.parametrize(
    ("labels", "metadata", "classes", "expected"),
    [
        ([2, 0, 1, 2], class_label(["c", "a", "b"]), ("c", "a", "b"), [2, 0, 1, 2]),
        ([0, 0, 1, 0], class_label(["c", "a", "b"]), ("c", "a", "b"), [0, 0, 1, 0]),
        ([10, 9, 10, 2], None, ("2", "9", "10"), [2, 1, 2, 0]),
        ([10, 9, 10, 2], {"other": "x"}, ("2", "9", "10"), [2, 1, 2, 0]),
        (["dog", "cat", "dog", "cat"], class_label(["x", "y"]), ("cat", "dog"), [1, 0, 1, 0]),
        (pa.array([1, 3, 1, 1], pa.uint8()), None, ("1", "3"), [0, 1, 0, 0]),
        (pa.array(["b", "a", "b", "b"]).dictionary_encode(), None, ("a", "b"), [1, 0, 1, 1]),
        (pa.array(["b", "a", "b", "b"], pa.large_string()), None, ("a", "b"), [1, 0, 1, 1]),
    ],
)
def test_labels(
    picture: bytes, tmp_path: Path, labels: Any, metadata: Any, classes: Any, expected: list[int]
) -> None:
    path = write_parquet(tmp_path / "train.parquet", [picture] * 4, labels, metadata=metadata)
    source = open_parquet(path, "train")
    assert source.classes == classes
    assert source.labels.tolist() == expected


@pytest.mark.parametrize("columns", [("img", "fine_label"), ("jpg", "cls"), ("png", "class")])
def test_names_of_columns(picture: bytes, tmp_path: Path, columns: tuple[str, str]) -> None:
    path = write_parquet(
        tmp_path / "train.parquet",
        [picture] * 2,
        [0, 1],
        columns=columns,
        metadata=class_label(CLASSES, columns[1]),
    )
    source = open_parquet(path, "train")
    assert source.classes == CLASSES
    assert source.image(1).size == (32, 32)


def test_rows_without_splits_are_dealt_out_by_key(picture: bytes, tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "0000.parquet", [picture] * 60, [i % 2 for i in range(60)], rows=7
    )
    keys = [f"0000.parquet:{i}" for i in range(60)]
    for split in SPLITS:
        source = open_parquet(path, split)
        assert source.keys == [key for key in keys if split_of(key.encode()) == split]
        assert source.labels.tolist() == [int(key.rpartition(":")[2]) % 2 for key in source.keys]
        assert source.blocks is not None
        for block in source.blocks.ranges:
            assert len({int(source.keys[i].rpartition(":")[2]) // 7 for i in block}) == 1


def write(path: Path, table: pa.Table) -> Path:
    pq.write_table(table, path)
    return path


def table(picture: bytes, **columns: Any) -> pa.Table:
    return pa.table({"image": pa.array([picture] * 2, pa.binary()), "label": [0, 1]} | columns)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": ["a.png", "b.png"]}, "no column of encoded images named image or img"),
        ({"image": pa.array([{"path": "x"}] * 2)}, "image (struct<path: string>)"),
        ({"label": [0.5, 1.5]}, "labels are fractions, such as 0.5"),
        ({"label": [True, False]}, "label (bool)"),
        ({"label": [[1], [2]]}, "label (list<"),
        ({"label": pa.array([None, None], pa.int64())}, "not one row has a label"),
        ({"label": ["a", "b\0"]}, "cannot be a class name"),
        ({"label": [1, 1]}, "only one class"),
    ],
)
def test_tables_that_are_refused(
    picture: bytes, tmp_path: Path, columns: Any, message: str
) -> None:
    path = write(tmp_path / "train.parquet", table(picture, **columns))
    with pytest.raises(DataError) as caught:
        open_parquet(path, "train")
    assert message in caught.value.message
    assert caught.value.field == "dataset"


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (class_label(["a"]), "label 1, but there are 1 class names"),
        (class_label(["a", "a"]), "one name: a"),
        ({"huggingface": "{"}, "does not describe label"),
        ({"huggingface": "[]"}, "does not describe label"),
        ({"huggingface": json.dumps({"info": {"features": {}}})}, "does not describe label"),
        (
            {"huggingface": json.dumps({"info": {"features": {"label": {"names": "ab"}}}})},
            "are no list",
        ),
    ],
)
def test_class_names_that_are_refused(
    picture: bytes, tmp_path: Path, metadata: dict[str, str], message: str
) -> None:
    path = write_parquet(tmp_path / "train.parquet", [picture] * 2, [0, 1], metadata=metadata)
    with pytest.raises(DataError, match=message):
        open_parquet(path, "train")


def test_integers_that_metadata_calls_plain(picture: bytes, tmp_path: Path) -> None:
    feature = {"dtype": "int64", "_type": "Value"}
    metadata = {"huggingface": json.dumps({"info": {"features": {"label": feature}}})}
    path = write_parquet(tmp_path / "train.parquet", [picture] * 2, [4, 3], metadata=metadata)
    assert open_parquet(path, "train").classes == ("3", "4")


def test_files_that_disagree(picture: bytes, tmp_path: Path) -> None:
    one, other = tmp_path / "train-0.parquet", tmp_path / "train-1.parquet"
    write_parquet(one, [picture] * 2, [0, 1], metadata=class_label(["a", "b"]))
    write_parquet(other, [picture] * 2, [0, 1], metadata=class_label(["b", "a"]))
    with pytest.raises(DataError, match="other class names"):
        open_parquet(tmp_path, "train")
    write_parquet(one, [picture] * 2, [0, 1])
    write_parquet(other, [picture] * 2, ["a", "b"])
    with pytest.raises(DataError, match="words as labels"):
        open_parquet(tmp_path, "train")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 30, b"\x89PNG" * 99])
def test_bytes_that_are_no_parquet(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "train.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"train\.parquet: not a whole Parquet file"):
        open_parquet(tmp_path, "train")


def test_a_file_that_is_cut(picture: bytes, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "train.parquet", [picture] * 9, [0, 1, 0] * 3)
    whole = path.read_bytes()
    for length in range(0, len(whole), len(whole) // 20):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="not a whole Parquet file"):
            open_parquet(path, "train")


def test_images_that_cannot_be_read(picture: bytes, tmp_path: Path) -> None:
    contents = [picture, picture[: len(picture) // 2], None, b"", b"text", picture]
    path = write_parquet(tmp_path / "train.parquet", contents, [0, 1] * 3, rows=5)
    source = open_parquet(path, "train", row_groups(1 << 20))
    assert source.image(0).size == (32, 32)
    for index, reason in enumerate(("truncated", "no image bytes", "empty", "not one of"), 1):
        with pytest.raises(UnreadableImage, match=reason) as caught:
            source.image(index)
        assert caught.value.name == f"train.parquet:{index}"
    path.unlink()
    assert source.image(0).size == (32, 32)  # its row group was read
    with pytest.raises(UnreadableImage, match=r"row group 1 of train\.parquet"):
        source.image(5)


def test_a_row_group_too_large_to_be_read_at_once(
    picture: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_parquet(tmp_path / "train.parquet", [picture] * 9, [0, 1, 0] * 3)
    assert MAX_ROW_GROUP_BYTES == 1 << 30
    monkeypatch.setattr("carot.data.formats.parquet_tables.MAX_ROW_GROUP_BYTES", 10_000)
    with pytest.raises(DataError, match="row_group_size"):
        open_parquet(path, "train")


def test_a_file_that_is_written_anew_is_read_anew(picture: bytes, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "train.parquet", [picture] * 2, ["a", "b"])
    assert open_parquet(path, "train").classes == ("a", "b")
    write_parquet(path, [picture] * 3, ["a", "b", "c"])
    assert open_parquet(path, "train").classes == ("a", "b", "c")


# What people bring ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["split", "Split", " subset", "data_set"])
def test_a_column_of_splits(picture: bytes, tmp_path: Path, name: str) -> None:
    splits = ["train"] * 4 + ["Val", "dev", "TEST", "testing"]
    columns = {"image": pa.array([picture] * 8, pa.binary()), "label": ["a", "b"] * 4}
    write(tmp_path / "0.parquet", pa.table(columns | {name: splits}))
    sources = {split: open_parquet(tmp_path, split) for split in SPLITS}
    assert len(sources["train"]) == 4
    assert len(sources["validation"]) + len(sources["calibration"]) == 2
    assert sources["test"].keys == ["0.parquet:6", "0.parquet:7"]


@pytest.mark.parametrize(
    ("columns", "file", "message"),
    [
        ({"split": ["train", "exam"]}, "0", "row 1: split 'exam' is none of train"),
        ({"split": ["train", None]}, "0", "row 1: split '' is none of"),
        ({"split": ["train", "test"]}, "train-0", "in the split test, but the file is named after"),
        ({"set": ["train", "rest"]}, "0", "row 1: set 'rest' is none of"),
    ],
)
def test_splits_that_are_refused(
    picture: bytes, tmp_path: Path, columns: dict[str, Any], file: str, message: str
) -> None:
    write(tmp_path / f"{file}.parquet", table(picture, **columns))
    with pytest.raises(DataError, match=message):
        open_parquet(tmp_path, "train")


def test_flags_of_splits_and_columns_that_are_not_used(picture: bytes, tmp_path: Path) -> None:
    images = pa.array([picture] * 4, pa.binary())
    columns = {
        "image": images,
        "label": [0, 1] * 2,
        "is_test": [False] * 3 + [True],
        "fold": [0] * 4,
    }
    source = open_parquet(write(tmp_path / "flags.parquet", pa.table(columns)), "train")
    assert source.keys == [f"flags.parquet:{i}" for i in range(3)]
    assert [warning.code for warning in source.warnings] == ["columns_not_used"]
    path = write(tmp_path / "train.parquet", table(picture, split=["train"] * 2, subset=["a"] * 2))
    [warning] = open_parquet(path, "train").warnings
    assert warning.message == "train.parquet: subset might name splits and is not used"


def test_folders_of_splits(picture: bytes, tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / f"split={split}").mkdir()
        write(tmp_path / f"split={split}" / "0.parquet", table(picture))
    assert open_parquet(tmp_path, "train").keys == [f"split=train/0.parquet:{i}" for i in (0, 1)]
    assert len(open_parquet(tmp_path, "test")) == 2


def test_types_of_views(picture: bytes, tmp_path: Path) -> None:
    images = pa.array([picture] * 4, pa.binary()).cast(pa.binary_view())
    for column in (images, pa.StructArray.from_arrays([images], ["bytes"])):
        labels = pa.array(["a", "b"] * 2).cast(pa.string_view())
        path = write(tmp_path / "train.parquet", pa.table({"Image": column, "label": labels}))
        source = open_parquet(path, "train", row_groups(1 << 20))
        assert source.classes == ("a", "b")
        assert source.image(3).size == (32, 32)


@pytest.mark.parametrize("statistics", [True, False])
def test_images_that_are_named_and_not_there(tmp_path: Path, statistics: bool) -> None:
    images = [{"bytes": None, "path": f"{i}.png"} for i in range(8)]
    path = tmp_path / "train.parquet"
    columns = pa.table(
        {
            "image": pa.array(images, pa.struct({"bytes": pa.binary(), "path": pa.string()})),
            "label": [0, 1] * 4,
        }
    )
    pq.write_table(columns, path, write_statistics=statistics)
    with pytest.raises(DataError, match="8 of 8 rows have no image bytes") as caught:
        open_parquet(path, "train")
    assert "embed the files" in caught.value.message


@pytest.mark.parametrize(
    ("labels", "codes"),
    [
        ([0, 1, None, 0], ["images_unlabelled"]),
        ([0, 1, -1, 0], ["images_unlabelled"]),
        (["a", "b", "", "a"], ["images_unlabelled"]),
        ([0.0, 1.0, None, 0.0], ["float_labels", "images_unlabelled"]),
        ([0.0, 1.0, float("nan"), 0.0], ["float_labels", "images_unlabelled"]),
    ],
)
def test_a_row_without_a_label(
    picture: bytes, tmp_path: Path, labels: list[Any], codes: list[str]
) -> None:
    columns = pa.table({"image": pa.array([picture] * 4, pa.binary()), "label": labels})
    source = open_parquet(write(tmp_path / "train.parquet", columns), "train")
    assert source.keys == [f"train.parquet:{i}" for i in (0, 1, 3)]
    assert [warning.code for warning in source.warnings] == codes


def test_padded_numbers_are_words(picture: bytes, tmp_path: Path) -> None:
    path = write(tmp_path / "train.parquet", table(picture, label=["01", "1"]))
    assert open_parquet(path, "train").classes == ("01", "1")


def test_captions_in_a_column_of_labels(picture: bytes, tmp_path: Path) -> None:
    captions = [f"cat number {i}" for i in range(12)]
    columns = pa.table({"image": pa.array([picture] * 12, pa.binary()), "label": captions})
    with pytest.raises(DataError, match="captions or names of images"):
        open_parquet(write(tmp_path / "train.parquet", columns), "train")


# Memory, threads and order --------------------------------------------------------------------

GROUP = 16
SIDE = 64


def noise(path: Path, count: int) -> Path:
    """Images of about 12 kB each."""
    write_images(path / "images", each=count // 2, size=SIDE)
    found = pictures_of(path / "images")
    return write_parquet(path / "train.parquet", found, [i % 2 for i in range(count)], rows=GROUP)


def pictures_of(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("*/*"))]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise(tmp_path_factory.mktemp("small"), 64)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise(tmp_path_factory.mktemp("large"), 640)


def group_bytes(path: Path) -> int:
    metadata = pq.ParquetFile(path).metadata
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    return max(int(group.total_byte_size) for group in groups)


def source_of(path: Path, groups: int) -> ParquetSource:
    return open_parquet(path, "train", row_groups(groups * group_bytes(path)))


def arrow_bytes(source: ParquetSource) -> Iterator[int]:
    """What Arrow has allocated, and what is held, while all images are read in order."""
    gc.collect()  # what goes meanwhile would lower the rest
    before = pa.total_allocated_bytes()
    for index in range(len(source)):
        source.image(index)
        yield pa.total_allocated_bytes() - before


@pytest.mark.slow
def test_memory_is_bounded_whatever_the_size_of_the_file(small: Path, large: Path) -> None:
    assert large.stat().st_size > 8 * small.stat().st_size
    peaks = {}
    for path in (small, large):
        source = source_of(path, 3)
        peaks[path] = max(arrow_bytes(source))
        assert source.groups.held <= source.groups.limit
        assert source.groups.loads == len(source) // GROUP
        # Arrow rounds each allocation up; all the images of the large file are 40 groups.
        assert peaks[path] < 1.5 * source.groups.limit
    assert peaks[large] < 1.5 * peaks[small]


def batches(source: ImageSource) -> TrainingBatches:
    model = tiny_model()
    return TrainingBatches(
        source,
        model.transform,
        model.resizing,
        batch_size=8,
        templates=1,
        crop_scale=1.0,
        seed=3,
        unreadable=Unreadable("images", source, Silent()),
    )


def test_training_reads_a_row_group_about_once_an_epoch(large: Path) -> None:
    source = source_of(large, 10)
    assert source.blocks is not None
    assert source.blocks.window in (4, 5)
    made = batches(source)
    steps = list(made.steps(0, made.steps_per_epoch))
    groups = len(source) // GROUP
    seen = [index for step in steps for index in step.indices_N.tolist()]
    assert sorted(seen) == list(range(640))
    assert source.groups.loads <= 1.2 * groups
    assert source.groups.held <= source.groups.limit
    # In the order that sources without blocks have, nearly every image costs a row group.
    careless = source_of(large, 10)
    careless.blocks = None
    list(batches(careless).steps(0, 20))
    assert careless.groups.loads > 2 * groups


def test_a_step_is_the_same_whoever_asks_and_whenever(large: Path) -> None:
    straight = list(batches(source_of(large, 4)).steps(0, 160))
    late = list(batches(source_of(large, 4)).steps(77, 83))
    for first, second in zip(straight[77:83], late, strict=True):
        assert first.indices_N.tolist() == second.indices_N.tolist()
        assert first.images_NCHW.equal(second.images_NCHW)
        assert first.labels_N.equal(second.labels_N)


def test_threads_read_what_is_theirs(large: Path) -> None:
    expected = pictures_of(large.parent / "images")
    source = source_of(large, 2)
    order = np.random.default_rng(0).permutation(640).tolist()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: source.image(i).tobytes(), order[:200]))
    assert source.groups.held <= source.groups.limit
    for index, pixels in zip(order, found, strict=False):
        assert pixels == decode_image(expected[index], "x").tobytes()
