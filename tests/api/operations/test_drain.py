"""A real API process under load, told to stop: nobody loses an answer."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from api.context import Context
from api.settings import ApiSettings
from store.artifacts import open_store
from store.artifacts.bundles import pack
from store.database import Database
from store.models.aliases import set_alias
from store.tables import DEFAULT_PROJECT
from tests.acceptance.harness import Process, await_answer, free_port
from tests.api.conftest import FILE
from tests.api.jobs.test_jobs import SPEC
from tests.api.predict.test_predict import png
from tests.api.predict.test_predict_real import CLASSES, folder
from tests.api.rows import add_checkpoint
from tests.environment import plain_environment
from tests.paths import ROOT

__all__ = ["folder"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
PATIENCE_SECONDS = 60.0
BOUNDARY = "edge"
SECRET = "hunter2secret"


class Api:
    """One `python -m api` on a database with one model, `digits`."""

    def __init__(self, data_dir: Path, checkpoint: Path | None, drain_seconds: float) -> None:
        settings = ApiSettings(data_dir=data_dir, database_url=f"sqlite:///{data_dir / FILE}")
        self.settings = settings
        if checkpoint is not None:
            context = context_on(settings)
            identity = add_checkpoint(context, b"".join(pack(checkpoint)), CLASSES)
            with context.database.session() as session:
                set_alias(session, DEFAULT_PROJECT, "digits", identity)
            context.database.close()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        environment = plain_environment() | {
            "PYTHONPATH": str(ROOT),
            "CAROT_DATA_DIR": str(data_dir),
            "CAROT_DATABASE_URL": settings.database_url,
            "CAROT_PORT": str(self.port),
            "CAROT_DRAIN_SECONDS": str(drain_seconds),
            "CAROT_PREDICT_DEADLINE_SECONDS": "120",  # the first one waits for torch as well
            # Nobody is there: the service does its work all the same.
            "CAROT_BROKER_URL": f"redis://:{SECRET}@127.0.0.1:{free_port()}/0",
        }
        command = [sys.executable, "-m", "api"]
        self.process = Process("api", command, environment, data_dir)
        await_answer(f"{self.url}/health/ready")

    def ready(self) -> int:
        """The status of readiness."""
        return httpx.get(f"{self.url}/health/ready", timeout=PATIENCE_SECONDS).status_code

    def signal(self, number: int) -> None:
        subprocess.run(["kill", f"-{number}", str(self.process.pid)], check=True)

    def accepts(self) -> bool:
        """Whether it takes connections."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


Start = Callable[..., Api]


def context_on(settings: ApiSettings) -> Context:
    """What an application on the same data would stand on; its database is to be closed."""
    database = Database(settings.database_url)
    return Context(settings, database, open_store(settings, database))


@pytest.fixture
def start(tmp_path: Path, migrated: Path) -> Iterator[Start]:
    running: list[Api] = []
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    shutil.copy(migrated, data_dir / FILE)

    def start(drain_seconds: float, checkpoint: Path | None = None) -> Api:
        running.append(Api(data_dir, checkpoint, drain_seconds))
        return running[-1]

    yield start
    for api in running:
        with contextlib.suppress(ProcessLookupError):
            api.process.stop()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


class Load:
    """Clients on lasting connections who go elsewhere some requests after readiness said no."""

    AFTERWARDS = 10

    def __init__(self, url: str) -> None:
        self.url = url
        self.statuses: list[int] = []
        self.afterwards: list[int] = []
        self.errors: list[BaseException] = []
        self.flipped = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(i,)) for i in range(4)]
        for thread in self.threads:
            thread.start()

    def _run(self, number: int) -> None:
        left = self.AFTERWARDS
        try:
            with httpx.Client(base_url=self.url, timeout=PATIENCE_SECONDS) as client:
                while left:
                    late = self.flipped.is_set()
                    if number % 2:
                        answer = client.get("/jobs")
                    else:
                        files = {"images": ("0.png", png(number))}
                        answer = client.post("/predict", files=files, data={"model": "digits"})
                    self.statuses.append(answer.status_code)
                    if late:
                        left -= 1
                        self.afterwards.append(answer.status_code)
        except BaseException as error:  # noqa: BLE001 - told by the test
            self.errors.append(error)


class Halfway:
    """A prediction of which half has been sent."""

    def __init__(self, port: int) -> None:
        part = f"--{BOUNDARY}\r\nContent-Disposition: form-data; name="
        body = f'{part}"model"\r\n\r\ndigits\r\n{part}"images"; filename="x"\r\n\r\n'.encode()
        body += png(255) + f"\r\n--{BOUNDARY}--\r\n".encode()
        head = (
            f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
            f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
        )
        self.rest = body[30:]
        self.connection = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
        self.connection.sendall(head.encode() + body[:30])

    def finish(self) -> str:
        """Send the rest; the whole answer, to the end of the connection."""
        self.connection.sendall(self.rest)
        answer = b""
        with self.connection:
            while piece := self.connection.recv(65536):
                answer += piece
        return answer.decode()


def test_nobody_loses_an_answer(start: Callable[..., Api], folder: Path) -> None:
    api = start(PATIENCE_SECONDS, folder)
    with httpx.Client(base_url=api.url, timeout=PATIENCE_SECONDS) as client:
        files = {"images": ("0.png", png(0))}
        assert client.post("/predict", files=files, data={"model": "digits"}).status_code == 200
        job = client.post("/jobs", json=SPEC).json()
        load = Load(api.url)
        until(lambda: len(load.statuses) >= 20)

        with client.stream("GET", f"/jobs/{job['id']}/events/stream") as stream:
            said = stream.iter_lines()
            next(said)  # it has begun
            halfway = Halfway(api.port)
            api.signal(signal.SIGTERM)
            until(lambda: api.ready() == 503)  # while it still answers
            load.flipped.set()
            for thread in load.threads:
                thread.join(PATIENCE_SECONDS)
            assert api.accepts(), "the drain was over before the clients had gone"
            api.signal(signal.SIGTERM)  # nobody comes any more: it need not wait to the end
            until(lambda: not api.accepts())
            answer = halfway.finish()
            list(said)  # ends, and as a stream should: a broken one raises

    assert load.errors == []
    assert len(load.afterwards) == 4 * Load.AFTERWARDS
    assert set(load.statuses) == {200}
    assert answer.startswith("HTTP/1.1 200 "), answer
    assert '"label":' in answer
    assert api.process.finish(PATIENCE_SECONDS) == 0
    log = api.process.log.read_text()
    found = [json.loads(line) for line in log.splitlines()]
    assert {"uvicorn.error", "api.access", "api.jobs.notification"} <= {
        line["logger"] for line in found
    }
    assert SECRET not in log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_skips_the_wait(start: Callable[..., Api], number: int) -> None:
    api = start(3600.0)
    api.signal(signal.SIGTERM)
    until(lambda: api.ready() == 503)
    api.signal(number)
    assert api.process.finish(PATIENCE_SECONDS) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_without_a_drain_one_signal_is_enough(start: Callable[..., Api], number: int) -> None:
    api = start(0.0)
    api.signal(number)
    assert api.process.finish(PATIENCE_SECONDS) == 0


def test_a_drain_ends_by_itself(start: Callable[..., Api]) -> None:
    api = start(0.5)
    api.signal(signal.SIGTERM)
    assert api.process.finish(PATIENCE_SECONDS) == 0
