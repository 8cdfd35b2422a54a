"""The real application in this process, on SQLite in a folder of its own."""

from __future__ import annotations

import io
import random
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from api.app import create_app
from api.context import Context
from api.settings import ApiSettings
from store.database import Database

FILE = "carot.db"
Start = Callable[..., TestClient]


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


def context_of(client: TestClient) -> Context:
    """The parts of the application behind a client."""
    context = client.app.state.context  # type: ignore[attr-defined]
    assert isinstance(context, Context)
    return context


def picture(seed: int) -> bytes:
    """A small PNG of noise."""
    file = io.BytesIO()
    Image.frombytes("RGB", (8, 8), random.Random(seed).randbytes(192)).save(file, "PNG")
    return file.getvalue()


def archive(images_per_class: int = 20, classes: tuple[str, ...] = ("cat", "dog")) -> bytes:
    """A zip of class folders."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        for c, name in enumerate(classes):
            for i in range(images_per_class):
                zipped.writestr(f"{name}/{i}.png", picture(1000 * c + i))
    return file.getvalue()
