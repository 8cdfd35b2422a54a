"""Bundles: the same files give the same bytes, and a hostile one writes nothing outside."""

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.artifacts.bundles import pack, unpack
from store.errors import ArtifactCorrupt

LONG = "x" * 180


def tree(root: Path) -> dict[str, bytes]:
    files = {
        "a.txt": b"a",
        "empty": b"",
        "train/Ünïcode 犬/1.png": bytes(range(256)) * 5000,
        f"train/{LONG}/{LONG}.png": b"long",
        "exact": bytes(512),
    }
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return files


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_round_trip_and_determinism(tmp_path: Path) -> None:
    files = tree(tmp_path / "a")
    bundle = b"".join(pack(tmp_path / "a"))
    unpack([bundle], tmp_path / "b")
    assert contents(tmp_path / "b") == files
    for path in (tmp_path / "b").rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700)
    assert b"".join(pack(tmp_path / "b")) == bundle
    with tarfile.open(fileobj=io.BytesIO(bundle)) as tar:
        members = tar.getmembers()
    assert [m.name for m in members] == sorted(files)
    assert {(m.mtime, m.uid, m.gid, m.mode, m.type) for m in members} == {
        (0, 0, 0, 0o644, tarfile.REGTYPE)
    }


@pytest.mark.parametrize("size", [1, 100, 511, 512, 513, 1 << 20])
def test_chunks_of_any_size_will_do(tmp_path: Path, size: int) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/f").write_bytes(os.urandom(3000))
    bundle = b"".join(pack(tmp_path / "a"))
    unpack((bundle[i : i + size] for i in range(0, len(bundle), size)), tmp_path / "b")
    assert contents(tmp_path / "b") == contents(tmp_path / "a")


def test_links_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "secret").write_text("s")
    (tmp_path / "a/link").symlink_to(tmp_path / "secret")
    unpack(pack(tmp_path / "a"), tmp_path / "b")
    assert contents(tmp_path / "b") == {}


def bundle_of(*members: tarfile.TarInfo) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for info in members:
            tar.addfile(info, io.BytesIO(bytes(info.size)))
    return file.getvalue()


def member(name: str, type: bytes = tarfile.REGTYPE, size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size = type, size
    info.linkname = "/etc/passwd" if type in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
    return info


@pytest.mark.parametrize(
    "members",
    [
        [member("../out")],
        [member("a/../../out")],
        [member("/out")],
        [member("./a")],
        [member("a//b")],
        [member("link", tarfile.SYMTYPE)],
        [member("link", tarfile.LNKTYPE)],
        [member("folder", tarfile.DIRTYPE)],
        [member("device", tarfile.CHRTYPE)],
        [member("pipe", tarfile.FIFOTYPE)],
        [member("a"), member("a")],
        [member("a"), member("a/b")],
        [member("a", size=600), member("b", size=600)],
    ],
)
def test_a_hostile_bundle_is_refused(tmp_path: Path, members: list[tarfile.TarInfo]) -> None:
    inside = tmp_path / "inside"
    with pytest.raises(ArtifactCorrupt):
        unpack([bundle_of(*members)], inside, max_bytes=1000)
    assert list(tmp_path.iterdir()) in ([], [inside])


@pytest.mark.parametrize("keep", [700, 1024, 5000])
def test_a_torn_bundle_is_refused(tmp_path: Path, keep: int) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/f").write_bytes(os.urandom(9000))
    with pytest.raises(ArtifactCorrupt):
        unpack([b"".join(pack(tmp_path / "a"))[:keep]], tmp_path / "b")


@pytest.mark.parametrize("data", [b"", b"not a tar at all" * 100])
def test_what_is_no_tar_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ArtifactCorrupt):
        unpack([data], tmp_path / "b")


def test_all_chunks_are_read_so_that_their_sum_is_checked(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/f").write_bytes(b"x")

    def chunks() -> Iterator[bytes]:
        yield from pack(tmp_path / "a")
        yield bytes(10240)
        raise ArtifactCorrupt("the sum is another")

    with pytest.raises(ArtifactCorrupt, match="the sum"):
        unpack(chunks(), tmp_path / "b")


def test_a_file_that_shrinks_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a/f"
    path.parent.mkdir()
    path.write_bytes(bytes(3 << 20))
    pieces = pack(tmp_path / "a")
    next(pieces)
    next(pieces)
    os.truncate(path, 1 << 20)
    with pytest.raises(ArtifactCorrupt, match="cut short"):
        list(pieces)
