"""Explains why a trainer ended without finishing and without an error of its own."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from store.jobs.exits import Exit, ExitReason
from worker.child import INTERRUPTED

CGROUP = Path("/sys/fs/cgroup")
MEMORY = re.compile(
    r"OutOfMemoryError|CUDA out of memory|\bMemoryError\b|can't allocate memory|"
    r"Cannot allocate memory|std::bad_alloc"
)
CUDA = re.compile(r"CUDA error|CUBLAS_STATUS|CUDNN_STATUS|cuDNN error|NCCL error|AcceleratorError")
MAX_WORDS = 4000


def oom_kills() -> int | None:
    """How often the kernel has killed for memory in this process's control group (v2), if known."""
    try:
        line = next(
            each for each in Path("/proc/self/cgroup").read_text().splitlines() if each[:3] == "0::"
        )
        events = (CGROUP / line[3:].lstrip("/") / "memory.events").read_text()
        return int(dict(each.split() for each in events.splitlines())["oom_kill"])
    except (OSError, StopIteration, KeyError, ValueError):
        return None


def how_it_ended(code: int, last_words: str, killed_for_memory: bool) -> Exit:
    """What a trainer's exit status and the end of its standard error mean.

    Args:
        code: negative for a signal.
        killed_for_memory: whether the kernel killed something for memory meanwhile.
    """
    words = last_words[-MAX_WORDS:]
    last_line = words.rstrip().rpartition("\n")[2].strip()
    if code < 0:
        return _by_signal(-code, words, killed_for_memory)
    if MEMORY.search(words):
        message = f"the trainer ran out of memory: {last_line}"
        return Exit(ExitReason.OUT_OF_MEMORY, message, status=code, last_words=words)
    if CUDA.search(words):
        message = f"the GPU or its driver failed: {last_line}"
        return Exit(ExitReason.CUDA_ERROR, message, status=code, last_words=words)
    if code == INTERRUPTED:
        message = "somebody told the trainer to stop"
        return Exit(ExitReason.STATUS, message, status=code, last_words=words)
    if code == 1 and last_line:
        message = f"an error that the trainer did not expect: {last_line}"
        return Exit(ExitReason.EXCEPTION, message, status=code, last_words=words)
    message = f"the trainer ended with status {code}"
    return Exit(ExitReason.STATUS, message, status=code, last_words=words)


def _by_signal(number: int, words: str, killed_for_memory: bool) -> Exit:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "unknown"
    message = f"the trainer was ended by signal {number} ({name})"
    if number == signal.SIGABRT and CUDA.search(words):
        message = f"the GPU or its driver failed: signal {number} ({name})"
        return Exit(ExitReason.CUDA_ERROR, message, signal=number, last_words=words)
    if number == signal.SIGKILL:
        if killed_for_memory:
            message = f"the kernel killed the trainer because memory ran out (signal {number})"
            return Exit(ExitReason.OUT_OF_MEMORY, message, signal=number, last_words=words)
        message += "; somebody killed it, or memory ran out"
    return Exit(ExitReason.SIGNAL, message, signal=number, last_words=words)
