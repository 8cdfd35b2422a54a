"""Folders that appear whole or not at all: written to a temporary one, flushed, then renamed."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from carot.errors import NoSpace

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic_folder(final: Path) -> Iterator[Path]:
    """A temporary folder beside `final` that takes its place when the block ends well.

    Raises:
        NoSpace: the disk is full; what stood at `final` before still stands.
    """
    temporary = final.with_name(final.name + ".writing")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        _flush(temporary)
        _replace(temporary, final)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if _is_no_space(error):
            raise NoSpace(f"no space left on the disk to write the {final.name}") from error
        raise
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def recovered(final: Path) -> Path | None:
    """The folder at `final`, or the one it was replacing when the process died, or None."""
    old = _old(final)
    if not final.exists() and old.exists():
        old.rename(final)
    return final if final.exists() else None


def _replace(temporary: Path, final: Path) -> None:
    # A folder cannot be renamed over another that has content: between the two renames only the
    # old one exists, under another name, and `recovered` puts it back.
    old = _old(final)
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    temporary.rename(final)
    _fsync(final.parent)
    shutil.rmtree(old, ignore_errors=True)


def _old(final: Path) -> Path:
    return final.with_name(final.name + ".old")


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            _fsync(path)
    _fsync(folder)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_no_space(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in NO_SPACE
    # safetensors reports the system's error as text only.
    return any(f"os error {number}" in str(error) for number in NO_SPACE)
