"""The last transaction of an attempt that is no longer wanted."""

from pathlib import Path

import pytest
from sqlalchemy import select, update

from store.database import database_now
from store.errors import IllegalTransition, StaleFence
from store.jobs.claims import claim
from store.jobs.jobs import cancel_job
from store.jobs.states import JobState
from store.jobs.transitions import find
from store.tables import DEFAULT_PROJECT, Artifact, Checkpoint, Job, ModelAlias, Report
from tests.worker.conftest import Workshop
from worker.materialise import Materials
from worker.results import Results

pytestmark = pytest.mark.slow


def test_the_last_transaction_of_a_replaced_worker_lists_nothing(
    workshop: Workshop, results: Path
) -> None:
    """Without a heartbeat to notice first: the fence alone must hold."""
    job_id = workshop.job(alias="mine")
    with workshop.database.session() as session:
        held = claim(session, job_id, "first", 60)
        assert held is not None
        session.execute(update(Job).values(lease_expires_at=database_now(-1)))
        assert claim(session, job_id, "second", 60) is not None
    late = Results(workshop.database, workshop.artifacts, held, results, check=lambda: None)
    with pytest.raises(StaleFence):
        late.keep(Materials())
    with workshop.database.reading() as session:
        for table in (Checkpoint, Report, Artifact, ModelAlias):
            assert session.scalars(select(table)).all() == []
        assert find(session, job_id).state == JobState.RUNNING
    assert [
        path for path in (workshop.settings.data_dir / "artifacts").rglob("*/*") if path.is_file()
    ] == []


def test_a_cancel_at_the_last_moment_lists_nothing(workshop: Workshop, results: Path) -> None:
    job_id = workshop.job()
    with workshop.database.session() as session:
        held = claim(session, job_id, "first", 60)
        assert held is not None
        cancel_job(session, DEFAULT_PROJECT, job_id)
    late = Results(workshop.database, workshop.artifacts, held, results, check=lambda: None)
    with pytest.raises(IllegalTransition):
        late.keep(Materials())
    with workshop.database.reading() as session:
        assert session.scalars(select(Checkpoint)).all() == []
        assert session.scalars(select(Artifact)).all() == []
