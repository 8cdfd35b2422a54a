"""Child processes for untrusted bytes: bounded memory, no files, no secrets.

The parent starts `python -m MODULE` with an environment of its own making, so that a child knows
neither database nor keys; the child confines itself before it looks at the first byte. What comes
back is parsed by length, never unpickled: whoever takes over a child gets no further.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

INHERITED = ("LD_LIBRARY_PATH", "PYTHONHOME", "TMPDIR", "TZ")
"""What a Python may need to start; nothing else of the parent's environment goes on."""

PR_SET_PDEATHSIG = 1
MEBIBYTE = 1 << 20


def command(module: str, *arguments: str) -> list[str]:
    """What starts a module of this project in a Python like this one."""
    return [sys.executable, "-m", module, *arguments]


def environment() -> dict[str, str]:
    """The environment of a confined child."""
    root = str(Path(__file__).parents[3])
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    # A pool of threads for linear algebra would take address space for nothing.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return kept | threads | {"PYTHONPATH": path, "PYTHONUTF8": "1"}


def confine(*, memory_bytes: int, file_bytes: int, open_files: int, parent: int) -> None:
    """Bound this process for good. To be called in the child, once everything is imported.

    Args:
        memory_bytes: address space it may have besides what it has now.
        file_bytes: size to which it may write a file; 0 for none at all.
        open_files: descriptors it may hold.
        parent: process id of whoever started it; gone meanwhile, this one ends as well.
    """
    for kind, bound in (
        (resource.RLIMIT_AS, _address_space() + memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, open_files),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        allowed = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(kind, (allowed, allowed))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to answer
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _address_space() -> int:
    """Bytes of address space in use."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:  # no such file elsewhere than on Linux
        return 256 * MEBIBYTE
    return pages * resource.getpagesize()
