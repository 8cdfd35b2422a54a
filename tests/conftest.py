"""Fixtures of all tests: databases of both kinds and a broker, started when a test needs them."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.programs import VARIABLES, Unavailable
from tests.services import FOLDER, PROCESS, ensure, stop_all

if TYPE_CHECKING:
    from tests.databases import PostgresServer

BOTH = ("sqlite", pytest.param("postgres", marks=pytest.mark.services))

# Settings of the person who runs the tests are no part of them.
for name in [n for n in os.environ if n.startswith("CAROT_") and not n.startswith("CAROT_TEST_")]:
    del os.environ[name]
# Nothing may wait for a model hub, and parallel test processes must not fight for cores.
os.environ["HF_HUB_OFFLINE"] = "1"
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
# How long an example takes says how busy the machine is.
settings.register_profile(
    "carot", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("carot")


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder that all processes of this session share."""
    if not hasattr(config, "workerinput"):
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="carot-tests-")
        os.environ[PROCESS] = str(os.getpid())


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the servers, if any were started."""
    if not hasattr(config, "workerinput"):
        folder = Path(os.environ.pop(FOLDER))
        url = os.environ.get(VARIABLES["postgres"])
        if url and (folder / "template.made").exists():
            from tests.databases import PostgresServer

            PostgresServer(url, folder).forget()
        stop_all(folder)
        shutil.rmtree(folder, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests first: a process that came to one last would keep the others waiting."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session", autouse=True)
def _plain_logs() -> None:
    """Without this an error is drawn with the values of all variables, which takes seconds."""
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()]
    )


class Lines:
    """What was logged, as a process of the service would write it."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def all(self, **wanted: object) -> list[dict[str, Any]]:
        """Lines with these values."""
        found = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [line for line in found if wanted.items() <= line.items()]

    def one(self, **wanted: object) -> dict[str, Any]:
        """The only such line."""
        [line] = self.all(**wanted)
        return line


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Logging as in the service, into memory."""
    from store import logs

    root, names = logging.getLogger(), list(logs.QUIET)
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in names}
    before = structlog.get_config()
    lines = Lines()
    logs.configure("test", "DEBUG", stream=lines.stream)
    structlog.configure(cache_logger_on_first_use=False)
    yield lines
    logging.captureWarnings(False)
    structlog.configure(**before)
    root.handlers = handlers
    root.setLevel(level)
    for name in names:
        logging.getLogger(name).setLevel(levels[name])


def server_url(kind: str) -> str:
    """The address of the server to test with: the one that was named, else a private one."""
    named = os.environ.get(VARIABLES[kind])
    if named:
        return named
    try:
        return ensure(kind, Path(os.environ[FOLDER]), int(os.environ[PROCESS]))
    except Unavailable as missing:
        pytest.fail(str(missing), pytrace=False)


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from store.database import Database

    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    database = Database(f"sqlite:///{path}")
    database.upgrade()
    database.close()
    return path


@pytest.fixture(params=BOTH)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh database at the newest revision: once SQLite, once Postgres."""
    if request.param == "postgres":
        yield request.getfixturevalue("postgres_url")
    else:
        path = tmp_path / "database" / "carot.db"
        path.parent.mkdir()
        shutil.copy(request.getfixturevalue("_sqlite_template"), path)
        yield f"sqlite:///{path}"


@pytest.fixture(params=BOTH)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh database without tables: once SQLite, once Postgres."""
    if request.param == "postgres":
        with request.getfixturevalue("postgres_server").fresh(migrated=False) as url:
            yield url
    else:
        yield f"sqlite:///{tmp_path / 'empty.db'}"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The server that gives fresh databases. Mark the test `services`."""
    from tests.databases import PostgresServer

    server = PostgresServer(server_url("postgres"), Path(os.environ[FOLDER]))
    yield server
    server.close()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a fresh Postgres database at the newest revision. Mark the test `services`."""
    with postgres_server.fresh() as url:
        yield url


@pytest.fixture
def redis_url() -> str:
    """The URL of an empty Redis database of this test process. Mark the test `services`."""
    import redis

    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    base, _, first = server_url("redis").rpartition("/")
    url = f"{base}/{int(first or 0) + number}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url
