"""One deployment on real servers, shared by the tests of a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.acceptance.harness import Deployment
from tests.conftest import server_url
from tests.databases import PostgresServer
from tests.services import FOLDER

FIRST_OF_ACCEPTANCE = 8
"""Redis databases below this one belong to tests that empty theirs while others run."""


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """An empty Postgres database without tables."""
    server = PostgresServer(server_url("postgres"), Path(os.environ[FOLDER]))
    with server.fresh(migrated=False) as url:
        yield url


@pytest.fixture(scope="module")
def broker() -> str:
    """An empty Redis database."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    base, _, first = server_url("redis").rpartition("/")
    url = f"{base}/{int(first or 0) + FIRST_OF_ACCEPTANCE + worker}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture(scope="module")
def deployment(
    database: str, broker: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """API and worker on Postgres and Redis, ready."""
    folder = tmp_path_factory.mktemp("deployment")
    deployed = Deployment(folder, {"CAROT_DATABASE_URL": database, "CAROT_BROKER_URL": broker})
    try:
        deployed.migrate()
        deployed.start("api", "api")
        deployed.start("worker", "worker")
        deployed.await_ready()
        yield deployed
    finally:
        deployed.stop()
