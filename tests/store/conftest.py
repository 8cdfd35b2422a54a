from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from carot.specs import FinetuneSpec
from store.artifacts import ArtifactStore
from store.artifacts.database import DatabaseBlobs
from store.artifacts.folder import FolderBlobs
from store.database import Database
from store.jobs.claims import Claim, claim
from store.jobs.exits import Exit, ExitReason
from store.jobs.jobs import Wishes, create_job
from store.settings import Settings
from store.tables import DEFAULT_PROJECT

SPEC = FinetuneSpec.model_validate(
    {"model": {"architecture": "carot-mini"}, "dataset": "builtin:digits"}
)
HOUR = 3600.0
KILLED = Exit(ExitReason.SIGNAL, "signal 9", signal=9)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture(params=["database", "folder"])
def blobs(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> ArtifactStore:
    """One back end that shares equal bytes between rows, and one that does not."""
    if request.param == "database":
        return DatabaseBlobs(database)
    return FolderBlobs(tmp_path / "blobs")


def new_job(database: Database, **changes: object) -> str:
    """A queued job; what is neither its name nor its alias nor its key is a wish."""
    own: dict[str, Any] = {k: changes.pop(k, None) for k in ("name", "alias", "key_id")}
    wishes = Wishes(**changes)  # type: ignore[arg-type]
    with database.session() as session:
        job = create_job(session, SPEC, project=DEFAULT_PROJECT, wishes=wishes, **own)
        return job.id


def claimed(database: Database, job_id: str, worker: str = "w1", lease: float = HOUR) -> Claim:
    with database.session() as session:
        held = claim(session, job_id, worker, lease)
    assert held is not None
    return held


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    """Settings of a process over `database`; nobody rings again within an hour."""
    url = database.url.render_as_string(hide_password=False)
    return Settings(data_dir=tmp_path, database_url=url, ring_seconds=HOUR)
