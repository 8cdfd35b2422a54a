"""What a worker says, in which form, and of which job; and how one sees that it lives."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from store.database import Database
from store.settings import Settings
from tests.conftest import Lines
from tests.worker.conftest import Workshop
from worker.alive import MAX_AGE_SECONDS, alive_file

PATIENCE_SECONDS = 60.0


def test_every_line_says_which_job_it_is_about(workshop: Workshop, lines: Lines) -> None:
    job_id = workshop.job()
    program = """
        print("a complaint", file=sys.stderr, flush=True)
        print("no event", flush=True)
        step(1)
        while not (folder / "go").exists():
            time.sleep(0.02)
        sys.exit(7)
    """
    thread = workshop.start(job_id, program)
    workshop.until_step(job_id, 1)
    # The heartbeat has a thread of its own, and so have both readers.
    with workshop.database.session() as session:
        session.execute(text("ALTER TABLE jobs RENAME TO elsewhere"))
    workshop.until(lambda: lines.all(event="no_heartbeat"))
    with workshop.database.session() as session:
        session.execute(text("ALTER TABLE elsewhere RENAME TO jobs"))
    [folder] = (workshop.settings.data_dir / "scratch").iterdir()
    (folder / "go").touch()
    thread.join(PATIENCE_SECONDS)
    mine = {"job_id": job_id, "fence": 1, "attempt": 1, "worker": "tester"}
    for event in ("job_claimed", "trainer", "no_event", "no_heartbeat", "attempt_over"):
        for line in lines.all(event=event):
            assert mine.items() <= line.items()
    assert lines.one(event="trainer")["line"] == "a complaint"
    assert lines.one(event="no_event")["line"] == "no event\n"
    assert lines.all(event="job_claimed")


def test_errors_of_the_worker_say_so_too(
    workshop: Workshop, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = workshop.job()
    monkeypatch.setattr("worker.launch.__file__", None)
    workshop.run(job_id, "")
    assert lines.one(event="worker_failed")["job_id"] == job_id


def check(environment: dict[str, str]) -> tuple[int, str]:
    command = [sys.executable, "-m", "worker", "--check"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.slow
def test_the_process_speaks_one_form_and_shows_that_it_lives(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    database = Database(settings.database_url)
    database.upgrade()
    database.close()
    environment = {**os.environ, "CAROT_DATA_DIR": str(tmp_path), "CAROT_SWEEP_SECONDS": "0.1"}
    assert check(environment)[0] == 1
    path = alive_file(tmp_path)
    assert path.name == f"worker-{socket.gethostname()}.alive"
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen([sys.executable, "-m", "worker"], env=environment, stderr=log)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while "celery" not in (tmp_path / "log").read_text() or not path.exists():
            assert worker.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert check(environment) == (0, "")
        os.utime(path, (0, 0))
        while path.stat().st_mtime == 0:  # the next sweep says so again
            assert time.monotonic() < deadline
            time.sleep(0.05)
        worker.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, worker.pid, os.WSTOPPED | os.WNOWAIT)  # all its threads
        old = time.time() - MAX_AGE_SECONDS - 1
        os.utime(path, (old, old))
        status, reason = check(environment)
        assert (status, "seconds ago" in reason) == (1, True)
    finally:
        worker.send_signal(signal.SIGCONT)
        worker.terminate()
        assert worker.wait(PATIENCE_SECONDS) == 0
    assert not path.exists()
    found = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert {line["service"] for line in found} == {"worker"}
    assert any(line["logger"].startswith("celery") for line in found)
