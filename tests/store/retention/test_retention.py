"""What goes on its own and what stays: uploads, snapshots, checkpoints, keys of requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from store.access.idempotency import take
from store.artifacts import ArtifactStore
from store.artifacts.database import DatabaseBlobs
from store.artifacts.holds import holding
from store.artifacts.rows import DELETED, get_artifact
from store.database import Database, database_now
from store.errors import Conflict, Gone
from store.jobs.claims import Claim, fail, release, succeed
from store.jobs.jobs import create_job, retry_job
from store.jobs.transitions import find
from store.models.aliases import set_alias
from store.models.checkpoints import create_checkpoint, list_checkpoints
from store.retention.retention import collect_garbage, drop_checkpoints, surplus, tidy
from store.settings import Settings
from store.tables import (
    DEFAULT_PROJECT,
    Artifact,
    BlobChunk,
    BlobHold,
    Checkpoint,
    IdempotencyRecord,
    Job,
)
from tests.store.conftest import SPEC, claimed, new_job
from tests.store.stored import age, committed, put, snapshot, whole

ERROR = {"code": "x", "message": "x"}


def ids(database: Database) -> set[str]:
    with database.reading() as session:
        return set(session.scalars(select(Artifact.id)))


def test_garbage_is_what_is_old_and_pending(database: Database, blobs: ArtifactStore) -> None:
    kept = committed(database, blobs, b"kept")
    lost = put(database, blobs, b"lost")
    for artifact_id in (kept, lost.artifact_id):
        age(database, artifact_id)
    young = put(database, blobs, b"young")
    collect_garbage(database, blobs)
    assert ids(database) == {kept, young.artifact_id}
    assert not blobs.exists(lost.blob.key)
    with database.reading() as session:
        assert whole(blobs, get_artifact(session, kept).ref) == b"kept"


def test_what_an_attempt_leaves_goes_as_soon_as_it_is_over(
    database: Database, blobs: ArtifactStore
) -> None:
    """A worker that was replaced, and one that gave its job back, commit nothing any more."""
    running, given_back, replaced = (claimed(database, new_job(database)) for _ in range(3))
    stored = [put(database, blobs, b"%d" % i, held=held) for i, held in
              enumerate((running, given_back, replaced))]  # fmt: skip
    with database.session() as session:
        release(session, given_back)
        session.execute(
            update(Job).where(Job.id == replaced.job_id).values(lease_expires_at=database_now(-1))
        )
    claimed(database, replaced.job_id, "w2")
    collect_garbage(database, blobs)
    assert ids(database) == {stored[0].artifact_id}
    assert [blobs.exists(each.blob.key) for each in stored] == [True, False, False]


def test_a_part_of_what_an_attempt_was_storing_goes_too(database: Database) -> None:
    """Killed in the middle of a blob: its pending row knows where the chunks are."""
    blobs = DatabaseBlobs(database)
    held = claimed(database, new_job(database))

    stored = put(database, blobs, b"bytes", held=held)
    name = stored.blob.key.partition(".")[0]
    with database.session() as session:
        assert session.get_one(Artifact, stored.artifact_id).blob_key == name, "before the end"
        release(session, held)
    collect_garbage(database, blobs)
    with database.reading() as session:
        assert session.scalars(select(BlobChunk.seq)).all() == []


def test_chunks_that_came_after_the_deletion_are_found(database: Database) -> None:
    """A writer that woke up once more leaves later chunks without a first one."""
    blobs = DatabaseBlobs(database)
    name = blobs.put([b"bytes"]).key.partition(".")[0]
    with database.session() as session:
        session.execute(update(BlobChunk).values(seq=1))
    assert blobs.abandoned(-5) == [name]


def test_bytes_without_a_row_are_garbage_too(database: Database, blobs: ArtifactStore) -> None:
    kept = committed(database, blobs, b"kept")
    orphan = blobs.put([b"nobody knows of these"])
    collect_garbage(database, blobs)
    assert blobs.exists(orphan.key)  # its row may be about to be made
    collect_garbage(database, blobs, older_than_seconds=-5)
    assert not blobs.exists(orphan.key)
    with database.reading() as session:
        assert whole(blobs, get_artifact(session, kept).ref) == b"kept"


def test_the_snapshot_of_a_job_that_succeeded_goes_at_once(
    database: Database, blobs: ArtifactStore
) -> None:
    held = claimed(database, new_job(database))
    stored = snapshot(database, blobs, held, b"snapshot")
    collect_garbage(database, blobs)
    assert blobs.exists(stored.blob.key)
    with database.session() as session:
        succeed(session, held)
    collect_garbage(database, blobs)
    assert not blobs.exists(stored.blob.key)
    assert ids(database) == set()


def test_a_failed_job_can_go_on_from_its_snapshot_for_some_days(
    database: Database, blobs: ArtifactStore
) -> None:
    held = claimed(database, new_job(database))
    stored = snapshot(database, blobs, held, b"snapshot")
    with database.session() as session:
        fail(session, held, ERROR)
    collect_garbage(database, blobs, snapshot_days=7)
    assert blobs.exists(stored.blob.key)
    with database.session() as session:
        session.execute(update(Job).values(finished_at=database_now(-6.9 * 86400)))
    collect_garbage(database, blobs, snapshot_days=7)
    assert blobs.exists(stored.blob.key)
    with database.session() as session:
        retry_job(session, DEFAULT_PROJECT, held.job_id)
    collect_garbage(database, blobs, snapshot_days=0)
    assert blobs.exists(stored.blob.key), "it runs again"
    again = claimed(database, held.job_id)
    assert again.snapshot_artifact_id == stored.artifact_id
    with database.session() as session:
        fail(session, again, ERROR)
        session.execute(update(Job).values(finished_at=database_now(-7.1 * 86400)))
    collect_garbage(database, blobs, snapshot_days=7)
    assert not blobs.exists(stored.blob.key)
    with database.reading() as session:
        assert find(session, held.job_id).snapshot_artifact_id is None


def test_keys_of_requests_are_forgotten_after_a_day(
    database: Database, blobs: ArtifactStore, settings: Settings
) -> None:
    with database.session() as session:
        for key in ("old", "young"):
            take(session, DEFAULT_PROJECT, key, "POST /jobs", "f")
        old = IdempotencyRecord.key == "old"
        session.execute(
            update(IdempotencyRecord).where(old).values(created_at=database_now(-86401))
        )
    tidy(database, blobs, settings)
    with database.reading() as session:
        assert session.scalars(select(IdempotencyRecord.key)).all() == ["young"]


def figures(accuracy: float | None, ece: float | None, raw: float = 1.0) -> dict[str, Any]:
    return {"in_distribution": {"accuracy": accuracy, "calibrated_ece": ece, "ece": raw}}


def test_the_newest_and_the_best_of_each_kind_stay() -> None:
    group = {
        "ckpt_1": figures(0.99, 0.30),
        "ckpt_2": figures(0.80, 0.01),
        "ckpt_3": figures(0.70, None, raw=0.02),  # served as it is, since nothing was fitted
        "ckpt_4": figures(0.98, 0.29),
        "ckpt_5": {"in_distribution": None},
        "ckpt_6": figures(0.10, 0.40),
    }
    assert surplus(group, 1) == {"ckpt_3", "ckpt_4", "ckpt_5"}
    assert surplus(group, 2) == set()
    assert surplus({"ckpt_1": {}, "ckpt_2": {}}, 1) == {"ckpt_1"}


def a_checkpoint(
    database: Database, blobs: ArtifactStore, accuracy: float, held: Claim | None = None
) -> str:
    held = held or claimed(database, new_job(database))
    artifact_id = committed(database, blobs, b"weights %f" % accuracy)
    with database.session() as session:
        row = create_checkpoint(
            session,
            held,
            artifact_id=artifact_id,
            architecture="carot-mini",
            method="carot",
            classes=["a", "b"],
            templates=["{}"],
            calibrator=None,
            metrics=figures(accuracy, 1 - accuracy),
        )
        if held.alias is None:
            succeed(session, held, checkpoint_id=row.id)
        return row.id


def weights(database: Database, checkpoint_id: str) -> str:
    with database.reading() as session:
        return session.get_one(Checkpoint, checkpoint_id).artifact.ref


def test_checkpoints_that_are_best_at_nothing_go(database: Database, blobs: ArtifactStore) -> None:
    best, aliased, named, poor, newest = (
        a_checkpoint(database, blobs, accuracy) for accuracy in (0.9, 0.5, 0.4, 0.3, 0.6)
    )
    keys = {id: weights(database, id) for id in (best, aliased, named, poor, newest)}
    with database.session() as session:
        set_alias(session, DEFAULT_PROJECT, "production", aliased)
        spec = SPEC.model_copy(
            update={"model": SPEC.model.model_copy(update={"checkpoint": named})}
        )
        create_job(session, spec, project=DEFAULT_PROJECT)
    assert drop_checkpoints(database, blobs, 1) == [poor]
    assert drop_checkpoints(database, blobs, 1) == []
    assert {id for id, key in keys.items() if blobs.exists(key)} == set(keys) - {poor}
    with database.reading() as session:
        shown = {row.id for row in list_checkpoints(session, DEFAULT_PROJECT).data}
        row = session.get_one(Checkpoint, poor)
        assert shown == set(keys) - {poor}
        assert (row.artifact.state, row.artifact.blob_key) == (DELETED, None)
        assert row.artifact.sha256 is not None, "what it was is still known"
        assert row.deleted_at is not None
        with pytest.raises(Gone, match="deleted"):
            _ = row.artifact.ref


def test_bytes_stay_while_somebody_copies_them(database: Database, blobs: ArtifactStore) -> None:
    good, poor = (a_checkpoint(database, blobs, accuracy) for accuracy in (0.9, 0.3))
    key = weights(database, poor)
    newest = a_checkpoint(database, blobs, 0.8)
    held = claimed(database, new_job(database))
    first = snapshot(database, blobs, held, b"first")
    with holding(database) as hold:
        assert drop_checkpoints(database, blobs, 1) == [poor]
        snapshot(database, blobs, held, b"second")
        collect_garbage(database, blobs, older_than_seconds=-5)
        hold.extend(now=True)
        assert whole(blobs, key) == b"weights %f" % 0.3
        assert whole(blobs, first.blob.key) == b"first"
    collect_garbage(database, blobs)
    assert not blobs.exists(key)
    assert not blobs.exists(first.blob.key)
    for id in (good, newest):
        assert blobs.exists(weights(database, id))


def test_a_hold_of_a_copy_that_was_killed_expires(
    database: Database, blobs: ArtifactStore, settings: Settings
) -> None:
    with holding(database) as hold:
        with database.session() as session:
            session.execute(update(BlobHold).values(expires_at=database_now(-1)))
        tidy(database, blobs, settings)
        with database.reading() as session:
            assert session.scalars(select(BlobHold.id)).all() == []
        with pytest.raises(Conflict, match="begin again"):
            hold.extend(now=True)


def test_retention_is_off_unless_told(
    database: Database, blobs: ArtifactStore, settings: Settings, tmp_path: Path
) -> None:
    made = [a_checkpoint(database, blobs, accuracy) for accuracy in (0.9, 0.3, 0.8)]
    tidy(database, blobs, settings)
    with database.reading() as session:
        assert len(list_checkpoints(session, DEFAULT_PROJECT).data) == 3
    tidy(database, blobs, settings.model_copy(update={"keep_checkpoints": 1}))
    with database.reading() as session:
        shown = {row.id for row in list_checkpoints(session, DEFAULT_PROJECT).data}
    assert shown == {made[0], made[2]}
