"""The same manifest, the same bundle and the same errors as in this process, within limits."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from carot.data.formats.archive_process import ApartLimits, normalise_apart
from carot.data.formats.archives import normalise
from carot.errors import ClassMismatch, DataError, TooManyUnreadable
from tests.carot.data.formats.test_archives import make_tar, make_zip, picture, two_classes

pytestmark = pytest.mark.slow
LIMITS = ApartLimits(memory_bytes=300 << 20, seconds=60)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "bundle.tar"


def test_the_same_as_here(tmp_path: Path, bundle: Path) -> None:
    source = make_zip(tmp_path / "a.zip", two_classes(60) | {"cat/é.png": b"junk"})
    here = io.BytesIO()
    expected = normalise(source, here)
    assert expected.unreadable
    assert normalise_apart(source, bundle, LIMITS) == expected
    assert bundle.read_bytes() == here.getvalue()
    assert left(bundle.parent) == ["bundle.tar"]


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"README.md": b"x"}, DataError),
        (two_classes(2) | {"../x.png": b""}, DataError),
        (two_classes(2) | {"cat/1.png": b"", "cat/ü.png": b"x"}, TooManyUnreadable),
        (two_classes(5, "train/") | {"test/fish/1.png": picture(1)}, ClassMismatch),
    ],
)
def test_errors_are_those_of_here(
    tmp_path: Path, bundle: Path, files: dict[str, bytes], kind: type[DataError]
) -> None:
    source = make_tar(tmp_path / "a.tar", files)
    with pytest.raises(DataError) as here:
        normalise(source, io.BytesIO())
    with pytest.raises(DataError) as there:
        normalise_apart(source, bundle, LIMITS)
    assert type(there.value) is type(here.value) is kind
    assert str(there.value) == str(here.value)
    assert there.value.field == here.value.field
    assert getattr(there.value, "names", None) == getattr(here.value, "names", None)


def test_too_much_memory(tmp_path: Path, bundle: Path) -> None:
    """Names alone: sixty million characters of them."""
    source = tmp_path / "a.tar"
    with tarfile.open(source, "w", format=tarfile.PAX_FORMAT) as tar:
        for i in range(40_000):
            name = "/".join(f"{i:05}{part}" + "x" * 190 for part in "abcdefg")
            tar.addfile(tarfile.TarInfo(f"{name}.png"))
    with pytest.raises(DataError, match="more memory") as caught:
        normalise_apart(source, bundle, ApartLimits(memory_bytes=32 << 20, seconds=60))
    assert caught.value.field == "file"


def test_too_much_time(tmp_path: Path, bundle: Path) -> None:
    source = make_zip(tmp_path / "a.zip", two_classes(400))
    started = time.monotonic()
    with pytest.raises(DataError, match=r"longer than 0\.05 seconds"):
        normalise_apart(source, bundle, ApartLimits(seconds=0.05))
    assert time.monotonic() - started < 30


def test_the_disk_is_full(tmp_path: Path, bundle: Path) -> None:
    source = make_zip(tmp_path / "a.zip", two_classes(400))
    bundle.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space") as caught:
        normalise_apart(source, bundle, LIMITS)
    assert caught.value.errno == errno.ENOSPC


def test_the_child_ends_with_its_parent(tmp_path: Path, bundle: Path) -> None:
    """A FIFO in place of the archive holds the child up until it is killed."""
    fifo = tmp_path / "archive"
    os.mkfifo(fifo)
    code = (
        "import sys; from pathlib import Path\n"
        "from carot.data.formats.archive_process import ApartLimits, normalise_apart\n"
        "normalise_apart(Path(sys.argv[1]), Path(sys.argv[2]), ApartLimits())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(fifo), str(bundle)])
    try:
        assert _until(lambda: _children(parent.pid))
        (child,) = _children(parent.pid)
        assert _until(lambda: "Max core file size        0" in _read(child, "limits"))
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert _until(lambda: not _read(child, "stat") or ") Z " in _read(child, "stat"))
    finally:
        parent.kill()
        parent.wait()


def _children(pid: int) -> list[int]:
    return [int(n) for n in _read(pid, f"task/{pid}/children").split()]


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8")
    except OSError:
        return ""


def _until(condition: Callable[[], object]) -> bool:
    for _ in range(400):
        if condition():
            return True
        time.sleep(0.05)
    return False
