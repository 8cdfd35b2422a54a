"""Faults in the life of jobs: states, claims, leases, fences, attempts, the sweeper."""

from __future__ import annotations

from tests.faults.fault import Fault

STATES = ("store/test_states", "store/test_jobs")
CLAIMS = ("store/test_jobs", "store/test_line", "store/test_states")
LINE = ("store/test_line", "store/test_jobs")
SWEEPER = ("store/test_sweeper", "store/test_states", "store/test_line")


def states(name: str, old: str, new: str, tests: tuple[str, ...] = STATES, only: str = "") -> Fault:
    """In the table of states, or in what follows from it."""
    return Fault(name, "states", old, new, tests, only)


def claims(name: str, old: str, new: str, tests: tuple[str, ...] = CLAIMS, only: str = "") -> Fault:
    """In a worker's hold on a job."""
    return Fault(name, "claims", old, new, tests, only, file="claims.py")


def sweeper(name: str, old: str, new: str, tests: tuple[str, ...] = SWEEPER) -> Fault:
    """In what finds jobs that everybody forgot."""
    return Fault(name, "sweeper", old, new, tests)


FAULTS = (
    states(
        "a cancelled run may succeed",
        "_change(JobState.SUCCEEDED, JobState.RUNNING, JobState.PAUSING)",
        "_change(JobState.SUCCEEDED, JobState.RUNNING, JobState.PAUSING, JobState.CANCELLING)",
    ),
    states(
        "a job that is to pause is queued anew",
        "Transition.REQUEUE: _change(JobState.QUEUED, JobState.RUNNING)",
        "Transition.REQUEUE: _change(JobState.QUEUED, JobState.RUNNING, JobState.PAUSING)",
    ),
    states(
        "what succeeded can be tried again",
        "_change(JobState.QUEUED, JobState.FAILED, JobState.CANCELLED)",
        "_change(JobState.QUEUED, JobState.FAILED, JobState.CANCELLED, JobState.SUCCEEDED)",
    ),
    states(
        "a paused job cannot be cancelled",
        "_change(JobState.CANCELLED, JobState.QUEUED, JobState.PAUSED)",
        "_change(JobState.CANCELLED, JobState.QUEUED)",
    ),
    states(
        "a job that is being cancelled is nobody's",
        "HELD = frozenset({JobState.RUNNING, JobState.PAUSING, JobState.CANCELLING})",
        "HELD = frozenset({JobState.RUNNING, JobState.PAUSING})",
    ),
    states(
        "a move asks for the state alone",
        "Job.state.in_(change.sources), *guards)",
        "Job.state.in_(change.sources))",
        ("store/test_jobs", "store/test_states"),
    ),
    states(
        "attempts go on behind a retry",
        '        "attempts": 0,\n        "seconds_spent": 0.0,\n',
        '        "seconds_spent": 0.0,\n',
        ("worker/test_lives",),
        "test_a_job_may_run_only_so_long",
    ),
    claims(
        "the lowest priority goes first",
        ".order_by(Job.priority.desc(), Job.id)\n        .limit(1)",
        ".order_by(Job.priority, Job.id)\n        .limit(1)",
        LINE,
    ),
    claims(
        "workers wait for each other's row",
        ".with_for_update(skip_locked=True)",
        ".with_for_update()",
        ("store/test_line", "store/test_races"),
    ),
    claims(
        "a key gets one job more than it may have",
        "return (session.scalar(running) or 0) < limit",
        "return (session.scalar(running) or 0) <= limit",
        LINE,
    ),
    claims(
        "an expired lease is taken over without an attempt left",
        "expired = (Job.lease_expires_at < database_now(), Job.attempts < Job.max_attempts)",
        "expired = (Job.lease_expires_at < database_now(), Job.attempts <= Job.max_attempts)",
    ),
    claims("the fence stays", '"fence": Job.fence + 1,', '"fence": Job.fence,'),
    claims(
        "a beat asks for no fence",
        "return Job.id == held.job_id, Job.fence == held.fence, Job.state.in_(HELD)",
        "return Job.id == held.job_id, Job.state.in_(HELD)",
    ),
    claims(
        "results are written without a fence",
        "    guard = (Job.fence == held.fence,)\n",
        "    guard = (Job.fence.is_not(None),)\n",
    ),
    claims(
        "seconds of earlier attempts are forgotten",
        '"seconds_spent"] = held.seconds_spent + seconds',
        '"seconds_spent"] = seconds',
        LINE,
    ),
    claims(
        "a worker's shutdown costs an attempt",
        '{"attempts": Job.attempts - 1, "',
        '{"attempts": Job.attempts, "',
    ),
    claims(
        "a pause costs an attempt",
        '{"attempts": Job.attempts - 1, **NO_LEASE}',
        "{**NO_LEASE}",
        ("worker/test_lives",),
        "test_a_pause_keeps_the_snapshot",
    ),
    claims(
        "a crash is tried once too often",
        "job.state == JobState.RUNNING and job.attempts >= job.max_attempts",
        "job.state == JobState.RUNNING and job.attempts > job.max_attempts",
    ),
    claims(
        "the snapshot before is the new one",
        "    previous = job.snapshot_artifact_id\n"
        "    job.snapshot_artifact_id, job.snapshot_step = artifact_id, step\n",
        "    job.snapshot_artifact_id, job.snapshot_step = artifact_id, step\n"
        "    previous = job.snapshot_artifact_id\n",
        ("worker/test_supervisor",),
        "test_snapshots_are_kept_while_it_runs",
    ),
    sweeper(
        "live workers lose their jobs",
        "silent = (Job.lease_expires_at < database_now(),)",
        "silent = (Job.lease_expires_at.is_not(None),)",
    ),
    sweeper(
        "a silent worker's job is queued without an attempt left",
        "    left = Job.attempts < Job.max_attempts\n",
        "    left = Job.attempts <= Job.max_attempts\n",
    ),
    sweeper(
        "a lost job that was to be cancelled stays so",
        "        (Transition.CONFIRM_CANCEL, (), _end()),\n        (Transition.CONFIRM_PAUSE",
        "        (Transition.CONFIRM_PAUSE",
    ),
    sweeper(
        "a late worker is named again and again",
        "        Job.not_responding_since.is_(None),\n        Job.lease_expires_at <",
        "        Job.lease_expires_at <",
        ("store/test_line", "store/test_sweeper"),
    ),
    sweeper(
        "two sweepers ring twice",
        ".where(Job.id == job_id, queued, due)",
        ".where(Job.id == job_id, queued)",
        ("store/test_sweeper",),
    ),
    sweeper(
        "messages pile up while all workers are busy",
        ".order_by(*line).limit(",
        ".order_by(*line).limit(10_000 * ",
        ("store/test_sweeper",),
    ),
)
