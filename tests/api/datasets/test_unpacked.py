"""Unpacked bundles: made once, whole or not at all, and no more than there is room for."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.datasets.unpacked import GONE, TEMPORARY, Bundle, Unpacked
from store.artifacts.bundles import pack
from store.artifacts.folder import FolderBlobs
from store.errors import ArtifactCorrupt, ArtifactMissing, NoSpace


class Counting(FolderBlobs):
    """Remembers what was read."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.opened: list[str] = []

    def open(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        self.opened.append(key)
        return super().open(key, start, end)


@pytest.fixture
def blobs(tmp_path: Path) -> Counting:
    return Counting(tmp_path / "blobs")


def bundle(blobs: Counting, tmp_path: Path, content: bytes) -> Bundle:
    folder = tmp_path / f"f{content[:1].hex()}"
    folder.mkdir()
    (folder / "file").write_bytes(content)
    blob = blobs.put(pack(folder))
    return Bundle(blob.key, blob.sha256, blob.size)


def there(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()}


def test_many_ask_and_one_unpacks(blobs: Counting, tmp_path: Path) -> None:
    made = bundle(blobs, tmp_path, b"x" * 100_000)
    cache = Unpacked(tmp_path / "cache", blobs, 1 << 30)
    barrier, read = threading.Barrier(8), []

    def ask() -> None:
        barrier.wait()
        with cache.using(made) as folder:
            read.append((folder / "file").read_bytes())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == [b"x" * 100_000] * 8
    assert blobs.opened == [made.ref]


def test_the_one_not_used_for_longest_goes(blobs: Counting, tmp_path: Path) -> None:
    a, b, c = (bundle(blobs, tmp_path, byte * 50_000) for byte in (b"a", b"b", b"c"))
    root = tmp_path / "cache"
    cache = Unpacked(root, blobs, 2 * a.size)
    for age, each in ((300, a), (200, b)):
        with cache.using(each) as folder:
            pass
        moment = folder.stat().st_mtime - age
        os.utime(folder, (moment, moment))
    with cache.using(a):  # again: now b is the older
        pass
    with cache.using(c):
        pass
    assert there(root) == {a.folder, c.folder}


def test_what_is_in_use_stays(blobs: Counting, tmp_path: Path) -> None:
    a, b = (bundle(blobs, tmp_path, byte * 50_000) for byte in (b"a", b"b"))
    root = tmp_path / "cache"
    cache = Unpacked(root, blobs, a.size)
    with cache.using(a) as folder:
        cache.forget(a)
        with cache.using(b):
            assert (folder / "file").read_bytes() == b"a" * 50_000
    cache.forget(a)
    assert there(root) == {b.folder}
    with (
        pytest.raises(NoSpace, match="CAROT_UNPACKED_BYTES"),
        cache.using(Bundle("x", "0" * 64, a.size + 1)),
    ):
        pass


def test_what_is_damaged_leaves_nothing(blobs: Counting, tmp_path: Path) -> None:
    made = bundle(blobs, tmp_path, b"x" * 50_000)
    [path] = [p for p in (tmp_path / "blobs").rglob("*") if p.is_file()]
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    root = tmp_path / "cache"
    cache = Unpacked(root, blobs, 1 << 30)
    with pytest.raises(ArtifactCorrupt), cache.using(made):
        pass
    with pytest.raises(ArtifactMissing), cache.using(Bundle("nothing", "0" * 64, 5)):
        pass
    assert there(root) == set()


def test_leavings_of_the_killed_go(blobs: Counting, tmp_path: Path) -> None:
    root = tmp_path / "cache"
    for name, age in ((f"{TEMPORARY}old", 90_000), (f"{GONE}old", 90_000), (f"{TEMPORARY}new", 10)):
        folder = root / name
        (folder / "sub").mkdir(parents=True)
        moment = folder.stat().st_mtime - age
        os.utime(folder, (moment, moment))
    made = bundle(blobs, tmp_path, b"x")
    with Unpacked(root, blobs, 1 << 30).using(made):
        assert there(root) == {f"{TEMPORARY}new", made.folder}
