"""Archives as people send them, and as nobody should."""

from __future__ import annotations

import gzip
import io
import random
import stat
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from carot.data.formats.archives import Manifest, normalise
from carot.data.formats.bundle_index import INDEX_NAME
from carot.data.formats.folder import open_folder
from carot.data.formats.members import Limits
from carot.errors import CarotError, ClassMismatch, DataError, TooManyUnreadable

SMALL = Limits(ratio_floor_bytes=1 << 20, total_bytes=32 << 20, file_bytes=4 << 20, members=5000)


def picture(seed: int, kind: str = "PNG") -> bytes:
    pixels = random.Random(seed).randbytes(8 * 8 * 3)
    file = io.BytesIO()
    Image.frombytes("RGB", (8, 8), pixels).save(file, kind)
    return file.getvalue()


def two_classes(n: int = 20, prefix: str = "", first: int = 0) -> dict[str, bytes]:
    return {
        f"{prefix}{name}/{i:03}.png": picture(1000 * c + first + i)
        for c, name in enumerate(("cat", "dog"))
        for i in range(n)
    }


def make_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def make_tar(path: Path, files: Mapping[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def run(source: Path, limits: Limits = SMALL) -> tuple[Manifest, bytes]:
    bundle = io.BytesIO()
    return normalise(source, bundle, limits), bundle.getvalue()


def refused(source: Path, match: str, limits: Limits = SMALL) -> CarotError:
    with pytest.raises(DataError, match=match) as caught:
        run(source, limits)
    return caught.value


def names(bundle: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(bundle)) as tar:
        return tar.getnames()


# What people send -----------------------------------------------------------------------------


def zip_without_the_flag(path: Path, classes: tuple[str, str], encoding: str) -> Path:
    """Names in an encoding that the zip does not name, as programs of old and macOS write them."""
    make_zip(path, {f"{c:02}/{i}.png": picture(9 * c + i) for c in range(2) for i in range(8)})
    content = path.read_bytes()
    for c, name in enumerate(classes):
        raw = name.encode(encoding)
        assert len(raw) == 2
        content = content.replace(f"{c:02}/".encode(), raw + b"/")
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("classes", "encoding", "guessed"),
    [(("ox", "\u00e9"), "utf-8", False), (("ox", "\u00e9\u00e8"), "cp437", True)],
)
def test_names_of_a_zip_that_does_not_say_their_encoding(
    tmp_path: Path, classes: tuple[str, str], encoding: str, guessed: bool
) -> None:
    manifest, _ = run(zip_without_the_flag(tmp_path / "a.zip", classes, encoding))
    assert manifest.classes == classes
    told = [each for each in manifest.warnings if each.code == "names_guessed"]
    assert [classes[1] in each.message for each in told] == [True] * guessed


def test_class_folders_become_a_bundle_that_the_trainer_counts_alike(tmp_path: Path) -> None:
    manifest, bundle = run(make_zip(tmp_path / "a.zip", two_classes(60)))
    assert manifest.classes == ("cat", "dog")
    assert manifest.images == 120
    with tarfile.open(fileobj=io.BytesIO(bundle)) as tar:
        tar.extractall(tmp_path / "out", filter="data")
    for split, counts in manifest.splits.items():
        source = open_folder(tmp_path / "out", split)
        assert len(source) == sum(counts.values())
        assert source.classes == manifest.classes


def test_every_container_gives_the_same_bundle(tmp_path: Path) -> None:
    files = two_classes()
    _, from_zip = run(make_zip(tmp_path / "a.zip", files))
    shuffled = dict(reversed(files.items()))
    _, from_tar = run(make_tar(tmp_path / "a.tar", shuffled))
    _, from_gzip = run(make_tar(tmp_path / "a.tgz", files, "w:gz"))
    _, from_nested = run(make_zip(tmp_path / "b.zip", two_classes(prefix="pets/")))
    for name, content in files.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(content)
    _, from_folder = run(tmp_path / "folder")
    assert from_zip == from_tar == from_gzip == from_nested == from_folder
    assert names(from_zip) == [*sorted(files), INDEX_NAME]


@pytest.mark.parametrize("prefix", ["", "pets/"])
def test_split_folders_are_kept(tmp_path: Path, prefix: str) -> None:
    files = two_classes(8, f"{prefix}train/") | two_classes(20, f"{prefix}validation/", 100)
    manifest, bundle = run(make_zip(tmp_path / "a.zip", files))
    assert manifest.splits["train"] == {"cat": 8, "dog": 8}
    shared = [sum(manifest.splits[s].values()) for s in ("validation", "calibration")]
    assert sum(shared) == 40
    assert min(shared) > 0
    assert [each.message for each in manifest.warnings] == ["no images in the test split"]
    assert names(bundle)[0] == "train/cat/000.png"


@pytest.mark.parametrize("separator", [",", "\t"])
@pytest.mark.parametrize("column", ["title", "label"])
def test_a_csv_names_the_classes(tmp_path: Path, separator: str, column: str) -> None:
    files = {f"images/{i}.png": picture(i) for i in range(20)}
    rows = [separator.join(("filepath", column))]
    rows += [separator.join((f"images/{i}.png", "odd" if i % 2 else "even")) for i in range(20)]
    files["labels.csv"] = "\n".join(rows).encode()
    manifest, bundle = run(make_zip(tmp_path / "a.zip", files))
    assert manifest.classes == ("even", "odd")
    assert "even/images/0.png" in names(bundle)


def test_a_csv_can_name_splits(tmp_path: Path) -> None:
    files = {f"{i}.png": picture(i) for i in range(8)}
    rows = ["filepath,label,split"]
    rows += [f"{i}.png,{'ab'[i % 2]},{'train' if i < 4 else 'test'}" for i in range(8)]
    manifest, _ = run(make_zip(tmp_path / "a.zip", {**files, "x.csv": "\n".join(rows).encode()}))
    assert manifest.splits == {"train": {"a": 2, "b": 2}, "test": {"a": 2, "b": 2}}


def test_hidden_files_and_other_files_are_ignored(tmp_path: Path) -> None:
    extra = {
        "__MACOSX/cat/._000.png": b"junk",
        "cat/.DS_Store": b"junk",
        ".git/config": b"junk",
        "README.md": b"hello",
    }
    manifest, bundle = run(make_zip(tmp_path / "a.zip", two_classes() | extra))
    assert manifest.images == 40
    assert names(bundle) == [*sorted(two_classes()), INDEX_NAME]
    [warning] = [each for each in manifest.warnings if each.code == "files_left_out"]
    assert warning.message == ("left out 4 files, not images: 1 .md, 3 hidden or made by a system")


def test_one_broken_image_of_many_is_left_out_and_named(tmp_path: Path) -> None:
    files = two_classes(60)
    files["cat/000.png"] = b""
    manifest, _ = run(make_zip(tmp_path / "a.zip", files))
    assert manifest.images == 119
    assert manifest.unreadable == ("cat/000.png: the file is empty",)
    assert "cat/000.png" in manifest.warnings[0].message


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_a_truncated_image_is_unreadable(tmp_path: Path, kind: str) -> None:
    files = two_classes(60)
    whole = io.BytesIO()
    Image.frombytes("RGB", (64, 64), random.Random(0).randbytes(64 * 64 * 3)).save(whole, kind)
    files["cat/broken.png"] = whole.getvalue()[: len(whole.getvalue()) // 2]
    manifest, _ = run(make_zip(tmp_path / "a.zip", files))
    assert [line.partition(":")[0] for line in manifest.unreadable] == ["cat/broken.png"]


# What cannot be used --------------------------------------------------------------------------


def test_too_many_broken_images_fail_with_the_list(tmp_path: Path) -> None:
    files = two_classes(60) | {"cat/x.png": b"", "dog/y.png": b"not an image"}
    with pytest.raises(TooManyUnreadable) as caught:
        run(make_zip(tmp_path / "a.zip", files))
    assert {name.partition(":")[0] for name in caught.value.names} == {"cat/x.png", "dog/y.png"}


def test_a_huge_image_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    chunk = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)
    header = b"IHDR" + chunk
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header
    png += struct.pack(">I", zlib.crc32(header)) + struct.pack(">I", 1000) + b"IDAT" + bytes(1000)
    files = two_classes(60) | {"cat/huge.png": png}
    manifest, _ = run(make_zip(tmp_path / "a.zip", files))
    assert "40 megapixels" in manifest.unreadable[0]


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", two_classes() | {"fish/": b""})
    refused(path, "'fish' has no images")
    path = make_zip(tmp_path / "b.zip", two_classes() | {"fish/notes.txt": b"none"})
    refused(path, "'fish' has no images")


def test_a_class_of_broken_images_is_named(tmp_path: Path) -> None:
    files = two_classes(200) | {"fish/1.png": b""}
    refused(make_zip(tmp_path / "a.zip", files), "'fish' has no readable images")


def test_one_class_only(tmp_path: Path) -> None:
    files = {f"cat/{i}.png": picture(i) for i in range(5)}
    refused(make_zip(tmp_path / "a.zip", files), "only one class")


def test_no_images(tmp_path: Path) -> None:
    refused(make_zip(tmp_path / "a.zip", {"README.md": b"hello"}), "no images")
    refused(make_zip(tmp_path / "b.zip", {}), "no images")


def test_an_image_outside_of_the_class_folders(tmp_path: Path) -> None:
    files = two_classes() | {"stray.png": picture(1)}
    refused(make_zip(tmp_path / "a.zip", files), r"stray\.png: not in a class folder")


def test_folders_beside_the_splits(tmp_path: Path) -> None:
    files = two_classes(prefix="train/") | {"extra/cat/1.png": picture(1)}
    refused(make_zip(tmp_path / "a.zip", files), "extra stand beside train")


def test_classes_that_only_the_test_split_has(tmp_path: Path) -> None:
    files = two_classes(prefix="train/") | {"test/fish/1.png": picture(1)}
    with pytest.raises(ClassMismatch, match="fish"):
        run(make_zip(tmp_path / "a.zip", files))


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ("filepath,colour\n1.png,x", "no column named label, class or title"),
        ("filepath,label\n1.png,", "not one row has a label"),
        ("filepath,label\n1.png,a\u200bb", "cannot be a class name"),
        ("filepath,label\n1.png,a\n1.png,b", "another label above"),
        ("filepath,label\n1.png,a\n2.png,b\n3.png,b", "1 of 3 images cannot be read"),
        ("filepath,label\n1.png,a\n../../etc/passwd,b", "named in labels.csv but not there"),
        ("filepath,label,split\n1.png,a,holdout", "is none of train"),
    ],
)
def test_csv_faults_are_named(tmp_path: Path, rows: str, match: str) -> None:
    files = {"1.png": picture(1), "2.png": picture(2), "labels.csv": rows.encode()}
    refused(make_zip(tmp_path / "a.zip", files), match)


# What nobody should send ----------------------------------------------------------------------

CLIMBING = ["../evil.png", "cat/../../evil.png", "/etc/evil.png", "C:/evil.png", "cat\\evil.png"]


@pytest.mark.parametrize("name", [*CLIMBING, "cat/a\nb.png", "cat/" + "x" * 300, "a/" * 40 + "b"])
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_names_that_are_not_plain_paths(tmp_path: Path, make: object, name: str) -> None:
    path = (make_zip if make is make_zip else make_tar)(
        tmp_path / "a", two_classes(2) | {name: picture(1)}
    )
    refused(path, "climbs|absolute|backslash|control|too long")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_a_tar(tmp_path: Path, kind: bytes) -> None:
    path = make_tar(tmp_path / "a.tar", two_classes(2))
    with tarfile.open(path, "a") as tar:
        entry = tarfile.TarInfo("cat/link.png")
        entry.type, entry.linkname = kind, "/etc/passwd"
        tar.addfile(entry)
    refused(path, "a link or a device")


def test_a_link_in_a_zip(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", two_classes(2))
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("cat/link.png")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    refused(path, "a link or a device")


def test_a_link_that_leads_out_of_a_folder(tmp_path: Path) -> None:
    for name, content in two_classes(2).items():
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(content)
    (tmp_path / "secret.png").write_bytes(picture(1))
    (tmp_path / "set/cat/link.png").symlink_to(tmp_path / "secret.png")
    refused(tmp_path / "set", "leads out of the folder")


def test_a_zip_bomb_is_refused_without_being_unpacked(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", two_classes(2) | {"cat/b.png": bytes(4 << 20)})
    tracemalloc.start()
    refused(path, "zip bomb")
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def test_a_gzip_bomb(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(64):
            file.write(bytes(1 << 20))
    refused(path, "zip bomb")


def test_overlapping_entries(tmp_path: Path) -> None:
    """One compressed body that many directory entries share (Fifield's construction)."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cat/0.png", picture(1) * 50)
        first = archive.filelist[0]
        for i in range(1, 50):
            twin = zipfile.ZipInfo("cat/0.png")
            for attribute in ("CRC", "compress_size", "file_size", "header_offset"):
                setattr(twin, attribute, getattr(first, attribute))
            twin.compress_type = zipfile.ZIP_DEFLATED
            twin.filename = f"cat/{i}.png"
            archive.filelist.append(twin)
        archive._didModify = True  # type: ignore[attr-defined]
    refused(path, "overlaps")


def test_a_zip_that_lies_about_sizes(tmp_path: Path) -> None:
    """The directory promises 10 bytes; the body unpacks to megabytes."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in two_classes(2).items():
            archive.writestr(name, content)
        archive.writestr("cat/lie.png", bytes(3 << 20))
        archive.filelist[-1].file_size = 10
    refused(path, r"cat/lie\.png: damaged|another number")


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_large_image_in_a_tar(tmp_path: Path, mode: str) -> None:
    """Larger than what an extended header may be."""
    file = io.BytesIO()
    Image.frombytes("RGB", (800, 800), random.Random(0).randbytes(800 * 800 * 3)).save(file, "PNG")
    path = make_tar(tmp_path / "a.tar", two_classes(2) | {"cat/large.png": file.getvalue()}, mode)
    manifest, _ = run(path)
    assert manifest.images == 5


def test_an_extended_header_is_no_place_for_megabytes(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        entry = tarfile.TarInfo("cat/1.png")
        entry.pax_headers = {"comment": "x" * (100 << 10)}
        tar.addfile(entry)
    refused(path, "extended header")


def test_more_classes_than_one_data_set_has(tmp_path: Path) -> None:
    files = {f"{i}/1.png": picture(i) for i in range(5)}
    refused(make_zip(tmp_path / "a.zip", files), "5 classes", replace(SMALL, classes=4))


def test_a_tar_that_promises_more_than_it_has(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", two_classes(2))
    path.write_bytes(path.read_bytes()[: 3 * 512 + 100])
    refused(path, "cut short")


def test_a_tar_cut_between_members(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", two_classes(20))
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size - size % 1024 - 10240 - 1024])
    refused(path, "cut short")


def test_a_truncated_zip(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", two_classes())
    path.write_bytes(path.read_bytes()[:-40])
    refused(path, "damaged or cut short")


def test_a_zip_whose_directory_would_begin_before_the_file(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", two_classes())
    content = bytearray(path.read_bytes())
    at = content.rfind(b"PK\x05\x06") + 16
    content[at : at + 4] = struct.pack("<I", 0x0FFFFFF0)
    path.write_bytes(content)
    refused(path, "damaged or cut short")


def test_flipped_bytes_in_a_zip_member(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", two_classes())
    content = bytearray(path.read_bytes())
    content[100] ^= 0xFF
    path.write_bytes(content)
    refused(path, "damaged or cut short")


def test_too_many_files(tmp_path: Path) -> None:
    for make in (make_zip, make_tar):
        path = make(tmp_path / make.__name__, {f"cat/{i}.txt": b"" for i in range(30)})
        refused(path, "more than 20 files", replace(SMALL, members=20))


def test_too_large_a_file_and_too_large_a_whole(tmp_path: Path) -> None:
    noise = random.Random(0).randbytes(300_000)
    path = make_tar(tmp_path / "a.tar", {f"cat/{i}.png": noise for i in range(4)})
    refused(path, "of one file", replace(SMALL, file_bytes=200_000))
    refused(path, "unpacks to more than", replace(SMALL, total_bytes=1_000_000))


def test_a_huge_extended_header(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        entry = tarfile.TarInfo("cat/1.png")
        entry.pax_headers = {"comment": "x" * (3 << 20)}
        tar.addfile(entry)
    refused(path, "extended header")


def test_a_chain_of_long_name_headers(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 0
    (tmp_path / "a.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) * 5000)
    refused(tmp_path / "a.tar", "damaged or cut short")


def test_the_same_name_twice(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", two_classes(2))
    with tarfile.open(path, "a") as tar:
        tar.addfile(tarfile.TarInfo("cat/000.png"))
    refused(path, "twice")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04garbage", b"\x1f\x8bgarbage"])
def test_something_else(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    refused(tmp_path / "a", "not a zip|damaged")


def test_an_encrypted_zip(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", two_classes(2))
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    content[directory + 8] |= 1
    path.write_bytes(content)
    refused(path, "encrypted")


def test_random_bytes_never_escape_the_error_tree(tmp_path: Path) -> None:
    rng = random.Random(7)
    whole = [
        make_zip(tmp_path / "a.zip", two_classes(3)).read_bytes(),
        make_tar(tmp_path / "a.tar", two_classes(3)).read_bytes(),
        make_tar(tmp_path / "a.tgz", two_classes(3), "w:gz").read_bytes(),
    ]
    for i in range(150):
        content = bytearray(whole[i % 3])
        for _ in range(rng.randint(1, 8)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        cut = rng.randrange(len(content)) if i % 5 else len(content)
        (tmp_path / "fuzz").write_bytes(content[:cut])
        try:
            run(tmp_path / "fuzz")
        except DataError:
            continue
