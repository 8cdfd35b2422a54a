"""Readiness: what is looked at, what takes a process out of rotation and what does not."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from api.operations.readiness import OK, Probe
from tests.api.helpers import Start, context_of


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port that refuses connections, and that no one else can get meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_all_is_well(client: TestClient) -> None:
    ready = client.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json() == {
        "status": "ready",
        "checks": {"database": "ok", "disk": "ok", "broker": "ok"},
        "degraded": [],
        "models": {"loaded": 0, "loading": 0},
    }


def test_without_tables(start: Start) -> None:
    client = start()
    with context_of(client).database.session() as session:
        session.execute(text("DROP TABLE job_events"))
        session.execute(text("ALTER TABLE jobs RENAME TO elsewhere"))
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["errors"] == [
        {"field": "database", "message": "failed (OperationalError)"}
    ]
    assert "retry-after" in answer.headers


@pytest.mark.slow
@pytest.mark.parametrize("port", ["nobody", "silent"])
def test_a_broker_that_is_away_takes_nothing_out_of_rotation(
    start: Start, port: str, request: pytest.FixtureRequest
) -> None:
    client = start(broker_url=f"redis://:hunter2@127.0.0.1:{request.getfixturevalue(port)}/0")
    answer = client.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json()["degraded"] == ["broker"]
    assert answer.json()["checks"]["broker"] != "ok"
    assert "hunter2" not in answer.text
    assert 'carot_check_ok{check="broker"} 0.0' in client.get("/metrics").text


@pytest.mark.services
def test_a_broker_that_is_there(start: Start, redis_url: str) -> None:
    assert start(broker_url=redis_url).get("/health/ready").json()["checks"]["broker"] == "ok"


def test_a_full_disk_is_not_ready(start: Start) -> None:
    answer = start(min_free_bytes=1 << 62).get("/health/ready")
    assert answer.status_code == 503
    [error] = answer.json()["errors"]
    assert error["field"] == "disk"
    assert "bytes free" in error["message"]


def test_a_folder_that_cannot_be_written_to(start: Start) -> None:
    client = start()
    shutil.rmtree(context_of(client).settings.data_dir)
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert "disk" in {error["field"] for error in answer.json()["errors"]}


def test_a_process_that_is_about_to_stop(client: TestClient) -> None:
    context = context_of(client)
    context.draining = lambda: True
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["errors"] == [{"field": "process", "message": "stopping"}]
    # Everything else is answered, on connections that end with the answer.
    other = client.get("/jobs")
    assert other.status_code == 200
    assert other.headers["connection"] == "close"
    context.draining = lambda: False
    assert "connection" not in client.get("/jobs").headers


def test_nothing_is_left_on_the_disk(client: TestClient) -> None:
    folder: Path = context_of(client).settings.data_dir
    client.get("/health/ready")
    before = sorted(folder.iterdir())
    client.get("/health/ready")
    assert sorted(folder.iterdir()) == before


# Probes ---------------------------------------------------------------------------------------


class Look:
    """Counts how often somebody looks; can hang or fail."""

    def __init__(self) -> None:
        self.looks = 0
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None

    def __call__(self) -> None:
        self.looks += 1
        assert self.gate.wait(30)
        if self.error is not None:
            raise self.error


def test_a_probe_that_hangs_is_asked_once_and_heard_when_it_is_done() -> None:
    look = Look()
    look.gate.clear()
    probe = Probe(look, timeout=0.05)
    assert [probe.answer() for _ in range(3)] == ["no answer within 0.05 s"] * 3
    assert look.looks == 1
    look.gate.set()
    patient = Probe(look, timeout=30)
    assert patient.answer() == OK
    while probe.answer() != OK:
        pass


def test_an_answer_is_kept_for_a_while() -> None:
    kept, fresh = Look(), Look()
    probes = Probe(kept, keep=3600, timeout=30), Probe(fresh, timeout=30)
    for _ in range(3):
        assert [probe.answer() for probe in probes] == [OK, OK]
    assert (kept.looks, fresh.looks) == (1, 3)


def test_errors_are_told_by_their_class_alone() -> None:
    look = Look()
    look.error = RuntimeError("redis://:hunter2@redis")
    assert Probe(look, timeout=30).answer() == "failed (RuntimeError)"


def test_many_who_ask_at_once_share_one_look() -> None:
    look = Look()
    look.gate.clear()
    probe = Probe(look, timeout=30)
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda: answers.append(probe.answer()), daemon=True)
        for _ in range(8)
    ]
    probe.begin()
    for thread in threads:
        thread.start()
    look.gate.set()
    for thread in threads:
        thread.join(30)
    assert answers == [OK] * 8


@pytest.mark.parametrize(
    ("revision", "words"),
    [("0005", "run `python -m migrations.upgrade`"), ("9999", "which this release does not know")],
)
def test_a_schema_of_another_release_is_not_ready(start: Start, revision: str, words: str) -> None:
    client = start()
    with context_of(client).database.session() as session:
        session.execute(text("UPDATE alembic_version SET version_num = :is"), {"is": revision})
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    [error] = answer.json()["errors"]
    assert error["field"] == "database"
    assert revision in error["message"]
    assert words in error["message"]
