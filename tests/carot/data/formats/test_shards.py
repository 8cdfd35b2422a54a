from __future__ import annotations

import gzip
import io
import json
import tarfile
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import webdataset
from PIL import Image

from carot.data.formats.folder import open_folder
from carot.data.formats.shards import open_shards
from carot.data.splits import SPLITS, split_of
from carot.errors import DataError, UnreadableImage
from tests.carot.data.written_images import members, pictures, write_tar
from tests.carot.tiny import write_images

CLASSES = ("bright", "dark")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    for split in ("train", "validation", "test"):
        write_images(root / split, each=10)
    return root


@pytest.fixture
def picture(images: Path) -> bytes:
    return (images / "train" / "dark" / "0.png").read_bytes()


def two(picture: bytes, **extra: bytes) -> list[tuple[str, bytes]]:
    """A sample of each of two classes."""
    return [
        ("0.png", picture), ("0.cls", b"0"), ("1.png", picture), ("1.cls", b"1"),
        *((name.replace("_", "."), content) for name, content in extra.items()),
    ]  # fmt: skip


def test_the_same_images_as_in_a_folder(images: Path, tmp_path: Path) -> None:
    for split, found in pictures(images).items():
        for shard in range(2):
            part = found[10 * shard :][:10]
            write_tar(tmp_path / "wds" / f"{split}-{shard:04}.tar", members(part, CLASSES))
    (tmp_path / "wds" / "classes.txt").write_text("bright\ndark\n")
    for split in ("train", "test"):
        files, shards = open_folder(images, split), open_shards(tmp_path / "wds", split)
        assert shards.classes == files.classes
        assert shards.keys == [key.removesuffix(".png") for key in files.keys]
        assert shards.labels.dtype == np.int64
        np.testing.assert_array_equal(shards.labels, files.labels)
        for i in range(len(files)):
            assert shards.image(i).tobytes() == files.image(i).tobytes()
    # Half of validation is the calibration split that is missing.
    parts = [set(open_shards(tmp_path / "wds", s).keys) for s in ("validation", "calibration")]
    assert all(parts)
    assert len(parts[0] | parts[1]) == 20
    assert not parts[0] & parts[1]


def test_what_webdatasets_own_writer_writes(picture: bytes, tmp_path: Path) -> None:
    labels = [11, 2, 100]
    for split in ("train", "val"):
        pattern = str(tmp_path / f"{split}-%06d.tar")
        with webdataset.ShardWriter(pattern, maxcount=4, verbose=0) as writer:
            for i in range(12):
                label = labels[i % 3]
                sample = {"__key__": f"{i:05}", "png": picture, "cls": label, "txt": "a caption"}
                writer.write(sample | {"json": {"width": 32}})
    source = open_shards(tmp_path, "train")
    assert len(list(tmp_path.glob("*.tar"))) == 6
    assert source.classes == ("2", "11", "100")  # by size, not by alphabet
    assert source.labels.tolist() == [1, 0, 2] * 4
    assert source.keys == [f"{i:05}" for i in range(12)]
    assert source.image(11).size == (32, 32)
    # Keys may come again in another split.
    assert (
        len(open_shards(tmp_path, "validation")) + len(open_shards(tmp_path, "calibration")) == 12
    )
    first_two = tmp_path / "train-{000000..000001}.tar"
    assert open_shards(first_two, "train").keys == source.keys[:8]
    assert open_shards(tmp_path / "train-000002.tar", "train").keys == source.keys[8:]


def test_samples_without_splits_are_dealt_out_by_key(picture: bytes, tmp_path: Path) -> None:
    keys = [f"pets/{i}" for i in range(60)]
    listed = [
        (f"./{key}.{kind}", content)
        for i, key in enumerate(keys)
        for kind, content in (("jpg", picture), ("txt", b"cat\n" if i % 2 else b"dog"))
    ]
    write_tar(tmp_path / "0.tar", listed[:60])
    write_tar(tmp_path / "1.tar", listed[60:])
    parts = {split: open_shards(tmp_path, split) for split in SPLITS}
    for split, source in parts.items():
        assert source.classes == ("cat", "dog")
        assert source.keys == [key for key in keys if split_of(key.encode()) == split]
    assert sum(map(len, parts.values())) == 60


@pytest.mark.parametrize(
    ("first", "second", "classes"),
    [
        ({"cls": b"1"}, {"cls": b" 0\n"}, ("0", "1")),
        ({"cls": "\u00e9cru".encode()}, {"cls": b"blue"}, ("blue", "\u00e9cru")),
        ({"cls": b"7"}, {"cls": b"blue"}, ("7", "blue")),
        ({"json": b'{"label": "x"}'}, {"json": b'{"class": "y"}'}, ("x", "y")),
        ({"json": b'{"label": 3}'}, {"json": b'{"class": "20"}'}, ("3", "20")),
        (
            {"json": b'{"label": 0}', "cls": b"a"},
            {"json": b'{"label": 0}', "cls": b"b"},
            ("a", "b"),
        ),
        ({"txt": b"a fine cat", "json": b'{"label": "cat"}'}, {"txt": b"dog"}, ("cat", "dog")),
        ({"txt": b"x", "json": b'{"label": null}'}, {"txt": b"y", "json": b"[1]"}, ("x", "y")),
    ],
)
def test_labels(
    picture: bytes,
    tmp_path: Path,
    first: dict[str, bytes],
    second: dict[str, bytes],
    classes: tuple[str, ...],
) -> None:
    listed = []
    for key, sample in (("a", first), ("b", second)):
        listed += [(f"{key}.{kind}", content) for kind, content in sample.items()]
        listed.append((f"{key}.PNG", picture))
    source = open_shards(write_tar(tmp_path / "train.tar", listed), "train")
    assert source.classes == classes
    assert sorted(source.labels.tolist()) == [0, 1]


@pytest.mark.parametrize("name", ["classes.txt", "classnames.txt"])
def test_names_that_go_with_indices(picture: bytes, tmp_path: Path, name: str) -> None:
    shard = write_tar(tmp_path / "train.tar", two(picture))
    (tmp_path / name).write_text("zebra\r\nant\nbee\n\n", encoding="utf-8-sig")
    for path in (tmp_path, shard):
        source = open_shards(path, "train")
        assert source.classes == ("zebra", "ant", "bee")
        assert source.labels.tolist() == [0, 1]
    (tmp_path / name).write_text("zebra\n")
    with pytest.raises(DataError, match="label 1, but there are 1 class names"):
        open_shards(tmp_path, "train")
    (tmp_path / name).write_text("ant\nant\n")
    with pytest.raises(DataError, match="one name: ant"):
        open_shards(tmp_path, "train")
    (tmp_path / name).write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="not UTF-8"):
        open_shards(tmp_path, "train")


def test_links_devices_and_hidden_files_are_no_samples(picture: bytes, tmp_path: Path) -> None:
    path = write_tar(tmp_path / "train.tar", two(picture))
    with tarfile.open(path, "a") as tar:
        for name, kind in (
            ("2.png", tarfile.SYMTYPE),
            ("3.png", tarfile.LNKTYPE),
            ("4.png", tarfile.CHRTYPE),
            ("5.png", tarfile.FIFOTYPE),
            ("folder.png", tarfile.DIRTYPE),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            tar.addfile(entry)
        for name in (".hidden.png", "a/._0.png", "README"):
            tar.addfile(tarfile.TarInfo(name))
    assert open_shards(path, "train").keys == ["0", "1"]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (
            {"2_cls": b"1"},
            "sample '2': no images; it has .cls; the files of a sample stand together",
        ),
        ({"2_png": b"x", "2_jpg": b"x", "2_cls": b"1"}, "sample '2': 2 images"),
        ({"2_png": b"x", "2_cls": b"\xff"}, "its .cls is not UTF-8"),
        ({"2_png": b"x", "2_json": b'{"label": true}'}, "the label True is neither"),
        ({"2_png": b"x", "2_json": b'{"label": 0.5}'}, "the label 0.5 is neither"),
        ({"2_png": b"x", "2_json": b'{"label": '}, "its .json is none"),
        ({"2_png": b"x", "2_json": b"[" * 100_000}, "its .json is none"),
        ({"2_png": b"x", "2_txt": bytes(2 << 20)}, "too many for a label"),
        ({"2_png": b"x", "2_cls": b"1", "0_png": b"x", "0_cls": b"0"}, "the key '0' is also in"),
        ({"2_png": b"x", "2_txt": b"a\0b"}, "cannot be a class name"),
    ],
)
def test_samples_that_are_refused(
    picture: bytes, tmp_path: Path, extra: dict[str, bytes], message: str
) -> None:
    path = write_tar(tmp_path / "train.tar", two(picture, **extra))
    with pytest.raises(DataError) as caught:
        open_shards(path, "train")
    assert message in caught.value.message
    assert caught.value.field == "dataset"


def test_a_file_named_twice_in_a_sample(picture: bytes, tmp_path: Path) -> None:
    listed = [("0.png", picture), ("0.png", picture), ("0.cls", b"0")]
    with pytest.raises(DataError, match=r"sample '0': two files named \.png"):
        open_shards(write_tar(tmp_path / "train.tar", listed), "train")


def test_keys_of_two_shards(picture: bytes, tmp_path: Path) -> None:
    for number in range(2):
        write_tar(tmp_path / f"train-{number}.tar", two(picture))
    with pytest.raises(DataError, match=r"train-1\.tar: the key '0' is also in train-0\.tar"):
        open_shards(tmp_path, "train")


def test_classes_that_training_lacks(picture: bytes, tmp_path: Path) -> None:
    write_tar(tmp_path / "train.tar", two(picture))
    write_tar(tmp_path / "test.tar", two(picture, **{"2_png": picture, "2_cls": b"5"}))
    with pytest.raises(DataError, match="test/ has classes that train/ does not: 5"):
        open_shards(tmp_path, "train")


def test_one_class_and_none(picture: bytes, tmp_path: Path) -> None:
    one = write_tar(tmp_path / "a" / "train.tar", two(picture)[:2])
    with pytest.raises(DataError, match="only one class"):
        open_shards(one, "train")
    with pytest.raises(DataError, match="no images"):
        open_shards(write_tar(tmp_path / "b" / "train.tar", []), "train")


# Damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["train.tar.gz", "train.tgz", "train.tar.zst"])
def test_compressed_shards(picture: bytes, tmp_path: Path, name: str) -> None:
    whole = write_tar(tmp_path / "train.tar", two(picture))
    (tmp_path / name).write_bytes(gzip.compress(whole.read_bytes()))
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(DataError, match=rf"{name}: .*decompress it"):
            open_shards(path, "train")


def test_a_compressed_shard_by_another_name(picture: bytes, tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "whole.tar", two(picture)).read_bytes()
    path = tmp_path / "train.tar"
    path.write_bytes(gzip.compress(whole))
    with pytest.raises(DataError, match=r"train\.tar: packed with gzip; decompress it"):
        open_shards(path, "train")


def test_a_shard_that_is_cut_anywhere(picture: bytes, tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "whole.tar", two(picture)).read_bytes()
    end = len(whole.rstrip(b"\0")) // 512 * 512 + 512
    path = tmp_path / "train.tar"
    for length in [*range(0, end, 256), end]:
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"train\.tar: damaged tar"):
            open_shards(path, "train")


def test_a_damaged_header_is_not_taken_for_the_end(picture: bytes, tmp_path: Path) -> None:
    path = write_tar(tmp_path / "train.tar", two(picture))
    content = bytearray(path.read_bytes())
    content[content.index(b"1.png")] ^= 1  # its checksum is wrong now
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"train\.tar: damaged tar"):
        open_shards(path, "train")


def test_images_that_cannot_be_read(picture: bytes, tmp_path: Path) -> None:
    torn = {"2_png": picture[: len(picture) // 2], "2_cls": b"0", "3_png": b"", "3_cls": b"0"}
    path = write_tar(tmp_path / "train.tar", two(picture, **torn))
    source = open_shards(path, "train")
    for index, reason in ((2, "truncated"), (3, "the file is empty")):
        with pytest.raises(UnreadableImage, match=reason) as caught:
            source.image(index)
        assert caught.value.name == str(index)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(UnreadableImage, match=r"train\.tar has become shorter"):
        source.image(0)
    path.unlink()
    with pytest.raises(UnreadableImage, match="No such file"):
        source.image(0)


# Memory and threads ---------------------------------------------------------------------------


def test_threads_read_what_is_theirs(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images" / "train", each=40)
    write_tar(tmp_path / "train.tar", members(pictures(images.parent)["train"], CLASSES))
    source, files = (
        open_shards(tmp_path / "train.tar", "train"),
        open_folder(images.parent, "train"),
    )
    expected = [files.image(i).tobytes() for i in range(80)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            found = pool.map(lambda i: source.image(i).tobytes(), range(80))
            assert list(found) == expected


def peak(path: Path) -> int:
    """Bytes at most while a data set is opened and all of it is read, beyond what stays."""
    tracemalloc.start()
    source = open_shards(path, "train")
    for index in range(len(source)):
        source.image(index)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def test_ten_times_the_images_take_no_more_memory(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    content = file.getvalue()
    sizes = {}
    for count in (10, 100):
        listed = [
            (f"{i}.{kind}", data)
            for i in range(count)
            for kind, data in (("png", content), ("json", json.dumps({"label": i % 2}).encode()))
        ]
        sizes[count] = write_tar(tmp_path / str(count) / "train.tar", listed)
    assert sizes[100].stat().st_size > 25_000_000
    peak(sizes[10])  # whatever is made once is made now
    assert peak(sizes[100]) < 1.5 * peak(sizes[10])


# What labels mean -----------------------------------------------------------------------------


def labelled(picture: bytes, labels: list[bytes], kind: str = "cls") -> list[tuple[str, bytes]]:
    """A sample for each label."""
    return [
        (f"{i:04}.{ending}", content)
        for i, label in enumerate(labels)
        for ending, content in (("png", picture), (kind, label))
    ]


def test_padded_numbers_are_words(picture: bytes, tmp_path: Path) -> None:
    path = write_tar(tmp_path / "train.tar", labelled(picture, [b"01", b"1", b"02134", b"10"]))
    source = open_shards(path, "train")
    assert source.classes == ("01", "1", "10", "02134")
    assert source.labels.tolist() == [0, 1, 3, 2]


@pytest.mark.parametrize(
    ("kind", "missing"),
    [("cls", b"-1"), ("cls", b" \n"), ("cls", b"null"), ("json", b'{"label": null}'),
     ("json", b'{"label": -1}'), ("note", b"")],
)  # fmt: skip
def test_samples_without_a_label_are_left_out_and_counted(
    picture: bytes, tmp_path: Path, kind: str, missing: bytes
) -> None:
    listed = [*labelled(picture, [b"0", b"1", b"0"]), ("9.png", picture), (f"9.{kind}", missing)]
    source = open_shards(write_tar(tmp_path / "train.tar", listed), "train")
    assert source.keys == ["0000", "0001", "0002"]
    [warning] = source.warnings
    assert (warning.code, warning.message[:32]) == (
        "images_unlabelled",
        "train.tar: 1 of 4 images have no",
    )


def test_no_labels_at_all(picture: bytes, tmp_path: Path) -> None:
    path = write_tar(tmp_path / "train.tar", [("0.png", picture), ("1.png", picture)])
    with pytest.raises(DataError, match=r"no sample has a label in \.cls"):
        open_shards(path, "train")


def test_captions_are_refused(picture: bytes, tmp_path: Path) -> None:
    captions = [f"a fine cat, number {i}".encode() for i in range(12)]
    path = write_tar(tmp_path / "train.tar", labelled(picture, captions, "txt"))
    with pytest.raises(DataError, match="captions or names of images, not classes"):
        open_shards(path, "train")


def test_floats_of_whole_numbers_are_told(picture: bytes, tmp_path: Path) -> None:
    path = write_tar(tmp_path / "train.tar", labelled(picture, [b"0.0", b"1.0"]))
    source = open_shards(path, "train")
    assert source.classes == ("0", "1")
    assert [warning.code for warning in source.warnings] == ["float_labels"]


def test_endings_of_several_parts(picture: bytes, tmp_path: Path) -> None:
    listed = [
        ("0.image.png", picture), ("0.label.cls", b"a"),
        ("1.png", picture), ("1.mask.png", b"x"), ("1.cls", b"b"), ("1.meta.json", b"{}"),
        ("2.v1.JFIF", picture), ("2.info.json", b'{"label": "a"}'),
        ("3.image", picture), ("3.cls", b"b"),
    ]  # fmt: skip
    source = open_shards(write_tar(tmp_path / "train.tar", listed), "train")
    assert source.keys == ["0", "1", "2", "3"]
    assert source.labels.tolist() == [0, 1, 0, 1]
    assert source.image(1).size == source.image(3).size == (32, 32)
    for extra in (
        {"2_a.png": picture, "2_b.png": picture},
        {"2_png": picture, "2_a.cls": b"1", "2_b.cls": b"1"},
    ):
        path = write_tar(tmp_path / "train.tar", two(picture, **extra))
        with pytest.raises(DataError, match=r"sample '2': (2 images|it has \.a\.cls and \.b\.cls)"):
            open_shards(path, "train")


def test_a_dot_in_the_name_of_a_folder_ends_no_key(picture: bytes, tmp_path: Path) -> None:
    inside = [(f"set.v1/{name}", content) for name, content in two(picture)]
    source = open_shards(write_tar(tmp_path / "train-0.tar", inside), "train")
    assert source.keys == ["set.v1/0", "set.v1/1"]
