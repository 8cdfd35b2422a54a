from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from carot.specs import FinetuneSpec
from store.database import Database
from store.jobs import Claim, claim, create_job
from store.settings import Settings

SPEC = FinetuneSpec.model_validate(
    {"model": {"architecture": "carot-mini"}, "dataset": "builtin:digits"}
)
HOUR = 3600.0


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    database.upgrade()
    yield database
    database.close()


def new_job(database: Database, **changes: object) -> str:
    with database.session() as session:
        return create_job(session, SPEC, **changes).id  # type: ignore[arg-type]


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
