"""The states of a job and every way from one to another."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class JobState(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
HELD = frozenset({JobState.RUNNING, JobState.CANCELLING})
"""States in which a worker holds the job."""


@dataclass(frozen=True)
class Change:
    """From any of `sources` to `target`."""

    sources: frozenset[JobState]
    target: JobState


class Transition(StrEnum):
    """What can happen to a job's state."""

    CLAIM = "claim"
    TAKE_OVER = "take_over"
    RELEASE = "release"
    REQUEUE = "requeue"
    SUCCEED = "succeed"
    FAIL = "fail"
    CANCEL_QUEUED = "cancel_queued"
    ASK_TO_CANCEL = "ask_to_cancel"
    CONFIRM_CANCEL = "confirm_cancel"

    @property
    def change(self) -> Change:
        """Which states it leads from and to."""
        return _TABLE[self]


def _change(source: JobState, target: JobState) -> Change:
    return Change(frozenset({source}), target)


_TABLE = {
    # A worker takes a waiting job, or one whose worker fell silent.
    Transition.CLAIM: _change(JobState.QUEUED, JobState.RUNNING),
    Transition.TAKE_OVER: _change(JobState.RUNNING, JobState.RUNNING),
    # A worker that shuts down gives it back; a crash or a lost lease costs an attempt.
    Transition.RELEASE: _change(JobState.RUNNING, JobState.QUEUED),
    Transition.REQUEUE: _change(JobState.RUNNING, JobState.QUEUED),
    Transition.SUCCEED: _change(JobState.RUNNING, JobState.SUCCEEDED),
    Transition.FAIL: _change(JobState.RUNNING, JobState.FAILED),
    Transition.CANCEL_QUEUED: _change(JobState.QUEUED, JobState.CANCELLED),
    Transition.ASK_TO_CANCEL: _change(JobState.RUNNING, JobState.CANCELLING),
    Transition.CONFIRM_CANCEL: _change(JobState.CANCELLING, JobState.CANCELLED),
}
