"""The real application in this process, on SQLite in a folder of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.settings import ApiSettings
from store.database import Database
from tests.api.helpers import Start

FILE = "carot.db"


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database at head, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / FILE
    database = Database(f"sqlite:///{path}")
    database.upgrade()
    database.close()
    return path


@pytest.fixture
def start(tmp_path: Path, migrated: Path) -> Iterator[Start]:
    """Starts the application with the settings given."""
    running: list[TestClient] = []

    def start(**changes: object) -> TestClient:
        data_dir = tmp_path / "data"
        data_dir.mkdir(exist_ok=True)
        if not (data_dir / FILE).exists():
            shutil.copy(migrated, data_dir / FILE)
        settings = ApiSettings(
            data_dir=data_dir,
            database_url=f"sqlite:///{data_dir / FILE}",
            **changes,  # type: ignore[arg-type]
        )
        client = TestClient(
            create_app(settings), base_url="http://127.0.0.1", raise_server_exceptions=False
        )
        client.__enter__()
        running.append(client)
        return client

    yield start
    for client in running:
        client.__exit__(None, None, None)


@pytest.fixture
def client(start: Start) -> TestClient:
    return start()
