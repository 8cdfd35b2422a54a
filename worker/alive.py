"""A file that a living worker touches, for orchestrators: a worker answers no requests."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path

MAX_AGE_SECONDS = 120.0
"""Between two touches lies one sweep, and one that finds the database hanging takes its time."""


def alive_file(data_dir: Path) -> Path:
    """The file of this host's worker; workers on several hosts may share the folder."""
    return data_dir / f"worker-{socket.gethostname()}.alive"


def touch(data_dir: Path) -> None:
    """Touch the file. A full disk must not end the worker."""
    with contextlib.suppress(OSError):
        path = alive_file(data_dir)
        path.touch()
        os.utime(path)


def age(data_dir: Path) -> float | None:
    """Seconds since this host's worker touched the file; None without a file."""
    try:
        return max(0.0, time.time() - alive_file(data_dir).stat().st_mtime)
    except OSError:
        return None
