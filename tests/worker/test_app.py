"""`python -m worker` as it is started: rung through a broker, shut down, killed."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from carot.specs import FinetuneSpec
from store.database import Database
from store.ids import new_id
from store.jobs.jobs import cancel_job, create_job
from store.jobs.states import JobState
from store.jobs.transitions import find
from store.jobs.workers import Holder, list_workers
from store.settings import Settings
from store.tables import DEFAULT_PROJECT, Job
from tests.environment import service_environment
from tests.worker.conftest import SPEC

PATIENCE_SECONDS = 90.0
LONG = FinetuneSpec.model_validate(
    SPEC | {"training": {"epochs": 10_000, "snapshot_every": 200, "batch_size": 4}}
)


class Service:
    """A database, and worker processes over it."""

    def __init__(self, folder: Path, broker_url: str) -> None:
        self.settings = Settings(data_dir=folder, broker_url=broker_url)
        self.database = Database(self.settings.database_url)
        self.database.upgrade()
        self.folder = folder
        self.environment = service_environment() | {
            "CAROT_DATA_DIR": str(folder),
            "CAROT_BROKER_URL": broker_url,
            "CAROT_SWEEP_SECONDS": "0.5",
            "CAROT_RING_SECONDS": "2",
            "CAROT_LEASE_SECONDS": "6",
            "CAROT_HEARTBEAT_SECONDS": "1",
        }
        self.workers: list[subprocess.Popen[bytes]] = []

    def worker(self) -> subprocess.Popen[bytes]:
        """Start one."""
        log = (self.folder / "log").open("ab")
        with log:
            process = subprocess.Popen(
                [sys.executable, "-m", "worker"],
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.workers.append(process)
        return process

    def job(self) -> str:
        """A queued job that nobody was rung for: the sweeper has to."""
        with self.database.session() as session:
            job = create_job(session, LONG, project=DEFAULT_PROJECT)
            job.notified_at = None
            return job.id

    def look(self, job_id: str) -> Job:
        """The job as it stands."""
        with self.database.reading() as session:
            return find(session, job_id)

    def present(self) -> list[Holder]:
        """The workers that have said that they are there."""
        with self.database.reading() as session:
            return list(list_workers(session, DEFAULT_PROJECT).data)

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """Have the only worker leave in good order."""
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        [left] = self.present()
        assert left.state == "stopped"

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for something to become true."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            log = (self.folder / "log").read_text()
            assert time.monotonic() < deadline, f"it never happened; the log:\n{log[-4000:]}"
            time.sleep(0.1)

    def until_step(self, job_id: str, step: int) -> None:
        """Wait until the trainer has done some steps."""
        self.until(lambda: ((self.look(job_id).progress or {}).get("step") or 0) >= step)

    def close(self) -> None:
        """Kill what is left."""
        for process in self.workers:
            process.kill()
            process.wait()
        self.database.close()


@pytest.fixture(params=["filesystem", pytest.param("redis", marks=pytest.mark.services)])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    redis = request.param == "redis"
    broker = request.getfixturevalue("redis_url") if redis else "filesystem://"
    folder = tmp_path / "service"
    folder.mkdir()
    service = Service(folder, broker)
    yield service
    service.close()


def shut_down(service: Service, job_id: str) -> int:
    """A warm shutdown gives the job back; the step to go on from."""
    worker = service.worker()
    service.until_step(job_id, 1)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(PATIENCE_SECONDS) == 0
    job = service.look(job_id)
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)
    assert job.snapshot_step is not None
    return job.snapshot_step


@pytest.mark.acceptance
@pytest.mark.timeout(400)
def test_shut_down_killed_and_cancelled(service: Service) -> None:
    job_id = service.job()
    step = shut_down(service, job_id)
    if service.settings.embedded_broker:  # killed and cancelled over Redis: test_service.py
        second = service.worker()
        service.until(lambda: service.look(job_id).state == JobState.RUNNING)
        service.until_step(job_id, step + 1)
        second.kill()  # and with it its trainer; the lease runs out

        service.worker()
        service.until(lambda: service.look(job_id).attempts == 2)
    with service.database.session() as session:
        cancel_job(session, DEFAULT_PROJECT, job_id)
    service.until(lambda: service.look(job_id).state == JobState.CANCELLED)


@pytest.mark.slow
def test_the_worker_itself_loads_no_torch() -> None:
    program = "import sys, worker.app; print(sorted({'torch', 'open_clip'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"


@pytest.mark.acceptance
def test_it_says_that_it_is_there_and_that_it_goes(tmp_path: Path) -> None:
    service = Service(tmp_path, "filesystem://")
    try:
        process = service.worker()

        service.until(service.present)
        [found] = service.present()
        assert found.state == "idle"
        assert found.row.pid == process.pid
        assert found.row.name == f"carot-{process.pid}@{found.row.host}"
        service.until(lambda: service.present()[0].row.heartbeat_at > found.row.heartbeat_at)
        service.stop(process)
    finally:
        service.close()


@pytest.mark.slow
def test_it_starts_while_the_database_is_away_and_tidies_up_later(tmp_path: Path) -> None:
    service = Service(tmp_path, "filesystem://")
    left = tmp_path / "scratch" / f"{new_id('job')}-1"  # by a worker that was killed
    left.mkdir(parents=True)

    def rename(before: str, after: str) -> None:
        with service.database.session() as session:
            session.execute(text(f"ALTER TABLE {before} RENAME TO {after}"))

    try:
        rename("jobs", "elsewhere")
        process = service.worker()
        service.until(lambda: "database_away" in (tmp_path / "log").read_text())
        rename("elsewhere", "jobs")
        service.until(lambda: not left.exists())
        service.stop(process)
    finally:
        service.close()


@pytest.mark.slow
def test_told_to_stop_while_it_starts_it_leaves_in_good_order(tmp_path: Path) -> None:
    service = Service(tmp_path, "filesystem://")
    try:
        process = service.worker()
        service.until(service.present)  # Celery, which comes after, takes a moment to listen
        service.stop(process)
    finally:
        service.close()
