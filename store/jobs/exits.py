"""Why an attempt at a job ended before the job did."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class ExitReason(StrEnum):
    """What ended an attempt."""

    SIGNAL = "signal"
    OUT_OF_MEMORY = "out_of_memory"
    CUDA_ERROR = "cuda_error"
    EXCEPTION = "exception"
    STATUS = "status"
    WORKER_ERROR = "worker_error"
    WORKER_LOST = "worker_lost"
    WORKER_STOPPED = "worker_stopped"
    TIME_LIMIT = "time_limit"


@dataclass(frozen=True)
class Exit:
    """The end of one attempt.

    Attributes:
        message: for people.
        signal: that ended the trainer, if one did.
        status: that the trainer ended with, if it did.
        last_words: the end of what it said.
    """

    reason: ExitReason
    message: str
    signal: int | None = None
    status: int | None = None
    last_words: str = ""

    def document(self) -> dict[str, Any]:
        """As it is stored on the job and in its events."""
        return asdict(self)


LOST = Exit(ExitReason.WORKER_LOST, "its worker fell silent")
STOPPED = Exit(ExitReason.WORKER_STOPPED, "its worker was shut down")
