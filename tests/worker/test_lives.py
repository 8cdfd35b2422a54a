"""Jobs that are set aside, run out of time, are tried again, or wait behind others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from store.jobs.jobs import Wishes, cancel_job, pause_job, resume_job, retry_job
from store.jobs.states import JobState
from store.tables import DEFAULT_PROJECT, Job
from tests.worker.conftest import Workshop

pytestmark = pytest.mark.slow

GENTLE = """
def stop(*_):
    snapshot(7)
    sys.exit(3)
signal.signal(signal.SIGTERM, stop)
step(1)
while True: time.sleep(1)
"""
DEAF = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
step(1)
while True: time.sleep(1)
"""
PATIENT = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
step(1)
while not (Path(__file__).parent / "go").exists(): time.sleep(0.05)
sys.exit(3)
"""
GO_ON = """
assert json.loads((folder / "snapshot/snapshot.json").read_text()) == {"step": 7}
results()
"""


def ask(workshop: Workshop, what: Callable[[Session, str, str], Job], job_id: str) -> Job:
    with workshop.database.session() as session:
        return what(session, DEFAULT_PROJECT, job_id)


def transitions(workshop: Workshop, job_id: str) -> list[str]:
    return [
        row.data["transition"]
        for row in workshop.events(job_id)
        if row.type == "state" and "transition" in row.data
    ]


def test_a_pause_keeps_the_snapshot_and_costs_no_attempt(workshop: Workshop) -> None:
    job_id = workshop.job()
    thread = workshop.start(job_id, GENTLE)
    workshop.until_step(job_id, 1)
    assert ask(workshop, pause_job, job_id).state == JobState.PAUSING
    thread.join(60)
    job = workshop.look(job_id)
    assert (job.state, job.attempts, job.snapshot_step) == (JobState.PAUSED, 0, 7)
    assert job.seconds_spent > 0
    assert workshop.run(job_id, GO_ON).state == JobState.PAUSED, "nobody takes it"
    assert ask(workshop, resume_job, job_id).state == JobState.QUEUED
    job = workshop.run(job_id, GO_ON)
    assert (job.state, job.attempts) == (JobState.SUCCEEDED, 1)
    steps = ["claim", "ask_to_pause", "confirm_pause", "resume", "claim", "succeed"]
    assert transitions(workshop, job_id) == steps


def test_a_trainer_that_crashes_while_it_is_to_pause_is_paused(workshop: Workshop) -> None:
    job_id = workshop.job(wishes=Wishes(max_attempts=1))
    crash = GENTLE.replace("sys.exit(3)", "os.abort()")
    thread = workshop.start(job_id, crash)
    workshop.until_step(job_id, 1)
    ask(workshop, pause_job, job_id)
    thread.join(60)
    assert workshop.look(job_id).state == JobState.PAUSED


def test_a_cancel_while_it_is_to_pause_wins(workshop: Workshop) -> None:
    job_id = workshop.job()
    thread = workshop.start(job_id, PATIENT)
    workshop.until_step(job_id, 1)
    ask(workshop, pause_job, job_id)
    assert ask(workshop, cancel_job, job_id).state == JobState.CANCELLING
    (workshop.scripts / "go").touch()
    thread.join(60)
    assert workshop.look(job_id).state == JobState.CANCELLED


def test_a_job_may_run_only_so_long_and_a_retry_goes_on(workshop: Workshop) -> None:
    job_id = workshop.job(wishes=Wishes(max_seconds=5.0))
    job = workshop.run(job_id, GENTLE)
    assert (job.state, job.attempts, job.snapshot_step) == (JobState.FAILED, 1, 7)
    assert job.error is not None
    assert job.error["code"] == "time_limit"
    assert "5 s" in job.error["message"]
    assert job.last_exit is not None
    assert job.last_exit["reason"] == "time_limit"
    again = ask(workshop, retry_job, job_id)
    assert (again.state, again.retries, again.attempts) == (JobState.QUEUED, 1, 0)
    assert (again.error, again.finished_at, again.seconds_spent) == (None, None, 0.0)
    job = workshop.run(job_id, GO_ON)
    assert (job.state, job.retries, job.last_exit) == (JobState.SUCCEEDED, 1, None)


def test_the_limit_counts_earlier_attempts(workshop: Workshop) -> None:
    job_id = workshop.job(wishes=Wishes(max_seconds=3600.0, max_attempts=5))
    job = workshop.run(job_id, "step(1)\nos.abort()")
    assert job.state == JobState.QUEUED
    assert 0 < job.seconds_spent < 3590
    with workshop.database.session() as session:
        session.execute(update(Job).where(Job.id == job_id).values(seconds_spent=3599.0))
    job = workshop.run(job_id, DEAF, cancel_grace_seconds=0.2)
    assert job.state == JobState.FAILED
    assert job.error is not None
    assert job.error["code"] == "time_limit"
    assert job.seconds_spent >= 3600


def test_a_worker_goes_on_while_jobs_wait_the_urgent_first(workshop: Workshop) -> None:
    first = workshop.job()
    urgent = workshop.job(wishes=Wishes(priority=1))
    elsewhere = workshop.job(wishes=Wishes(queue="gpu"))
    workshop.supervisor("results()", queues=("cpu",)).run()
    done = [workshop.look(job_id) for job_id in (urgent, first)]
    assert [job.state for job in done] == [JobState.SUCCEEDED] * 2
    assert done[0].started_at is not None
    assert done[1].started_at is not None
    assert done[0].started_at < done[1].started_at
    assert workshop.look(elsewhere).state == JobState.QUEUED


def test_a_retry_of_a_cancelled_job_goes_on_from_its_snapshot(workshop: Workshop) -> None:
    job_id = workshop.job()
    early = "snapshot(7)\n" + DEAF
    thread = workshop.start(job_id, early, cancel_grace_seconds=0.2)
    workshop.until(lambda: workshop.look(job_id).snapshot_step == 7)
    ask(workshop, cancel_job, job_id)
    thread.join(60)
    assert workshop.look(job_id).state == JobState.CANCELLED
    ask(workshop, retry_job, job_id)
    assert workshop.run(job_id, GO_ON).state == JobState.SUCCEEDED
