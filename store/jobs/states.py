"""The states of a job and every transition between them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class JobState(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
"""States in which nothing happens any more, unless somebody asks for another try."""
HELD = frozenset({JobState.RUNNING, JobState.PAUSING, JobState.CANCELLING})
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
    PAUSE_WAITING = "pause_waiting"
    ASK_TO_PAUSE = "ask_to_pause"
    CONFIRM_PAUSE = "confirm_pause"
    RESUME = "resume"
    CANCEL_WAITING = "cancel_waiting"
    ASK_TO_CANCEL = "ask_to_cancel"
    CONFIRM_CANCEL = "confirm_cancel"
    RETRY = "retry"

    @property
    def change(self) -> Change:
        """Which states it leads from and to."""
        return _TABLE[self]


def _change(target: JobState, *sources: JobState) -> Change:
    return Change(frozenset(sources), target)


_TABLE = {
    # A worker takes a waiting job, or one whose worker fell silent.
    Transition.CLAIM: _change(JobState.RUNNING, JobState.QUEUED),
    Transition.TAKE_OVER: _change(JobState.RUNNING, JobState.RUNNING),
    # A worker that shuts down gives it back; a crash or a lost lease costs an attempt.
    Transition.RELEASE: _change(JobState.QUEUED, JobState.RUNNING),
    Transition.REQUEUE: _change(JobState.QUEUED, JobState.RUNNING),
    # A run may come to its end before it hears that it is to pause; a cancelled one may not.
    Transition.SUCCEED: _change(JobState.SUCCEEDED, JobState.RUNNING, JobState.PAUSING),
    Transition.FAIL: _change(JobState.FAILED, JobState.RUNNING, JobState.PAUSING),
    Transition.PAUSE_WAITING: _change(JobState.PAUSED, JobState.QUEUED),
    Transition.ASK_TO_PAUSE: _change(JobState.PAUSING, JobState.RUNNING),
    Transition.CONFIRM_PAUSE: _change(JobState.PAUSED, JobState.PAUSING),
    Transition.RESUME: _change(JobState.QUEUED, JobState.PAUSED),
    Transition.CANCEL_WAITING: _change(JobState.CANCELLED, JobState.QUEUED, JobState.PAUSED),
    Transition.ASK_TO_CANCEL: _change(JobState.CANCELLING, JobState.RUNNING, JobState.PAUSING),
    Transition.CONFIRM_CANCEL: _change(JobState.CANCELLED, JobState.CANCELLING),
    # The one way back from an end, and only people take it.
    Transition.RETRY: _change(JobState.QUEUED, JobState.FAILED, JobState.CANCELLED),
}
