"""Why a trainer ended, in plain words."""

from __future__ import annotations

import signal

import pytest

from store.jobs.exits import ExitReason
from worker.child import INTERRUPTED
from worker.exits import how_it_ended, oom_kills

TRACE = 'Traceback (most recent call last):\n  File "x.py", line 1\n'
GPU_MEMORY = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."


@pytest.mark.parametrize(
    ("code", "words", "for_memory", "reason", "said"),
    [
        (-9, "", False, ExitReason.SIGNAL, "signal 9 (SIGKILL); somebody killed it, or memory"),
        (-9, "", True, ExitReason.OUT_OF_MEMORY, "the kernel killed the trainer because memory"),
        (-11, "", True, ExitReason.SIGNAL, "signal 11 (SIGSEGV)"),
        (-6, "CUDA error: device-side assert", False, ExitReason.CUDA_ERROR, "GPU or its driver"),
        (-6, "terminate called", False, ExitReason.SIGNAL, "signal 6 (SIGABRT)"),
        (-64, "", False, ExitReason.SIGNAL, "signal 64"),
        (1, TRACE + GPU_MEMORY, False, ExitReason.OUT_OF_MEMORY, "CUDA out of memory"),
        (1, TRACE + "MemoryError", False, ExitReason.OUT_OF_MEMORY, "memory: MemoryError"),
        (1, TRACE + "RuntimeError: CUDA error: ECC", False, ExitReason.CUDA_ERROR, "ECC"),
        (1, TRACE + "KeyError: 'x'", False, ExitReason.EXCEPTION, "expect: KeyError: 'x'"),
        (1, "", False, ExitReason.STATUS, "ended with status 1"),
        (INTERRUPTED, "", False, ExitReason.STATUS, "somebody told the trainer to stop"),
        (77, "bye", False, ExitReason.STATUS, "ended with status 77"),
    ],
)
def test_how_it_ended(
    code: int, words: str, for_memory: bool, reason: ExitReason, said: str
) -> None:
    exit = how_it_ended(code, words, for_memory)
    assert exit.reason == reason
    assert said in exit.message
    assert (exit.signal, exit.status) == ((-code, None) if code < 0 else (None, code))
    assert exit.last_words == words


def test_a_number_of_kills_or_none() -> None:
    kills = oom_kills()
    assert kills is None or kills >= 0


def test_words_are_bounded() -> None:
    exit = how_it_ended(-signal.SIGTERM, "x" * 100_000, False)
    assert len(exit.last_words) == 4000
