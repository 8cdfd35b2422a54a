"""A service that has been used: rows in every table, artifacts and jobs of every kind."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select

from store.access.idempotency import keep, take
from store.artifacts import ArtifactStore
from store.artifacts.rows import commit, store_pending
from store.database import Database, database_now
from store.datasets.datasets import create_dataset
from store.jobs.claims import record_event, record_metrics, succeed
from store.jobs.jobs import cancel_job, pause_job
from store.models.aliases import set_alias
from store.models.calibrators import add_version
from store.models.checkpoints import create_checkpoint
from store.predictions.labels import Given, give_labels
from store.predictions.log import insert_predictions
from store.reports.reports import create_report
from store.retention.deletion import delete, finish
from store.tables import (
    DEFAULT_PROJECT,
    ApiKey,
    Artifact,
    BrowserSession,
    CalibrationAlert,
    Checkpoint,
    Webhook,
    WebhookDelivery,
)
from tests.store.conftest import claimed, new_job
from tests.store.stored import put, snapshot

BIG = random.Random(0).randbytes(4_500_001)


@dataclass(frozen=True)
class Used:
    """Ids of what there is."""

    running: str
    pausing: str
    cancelling: str
    checkpoint: str
    deleted: str
    snapshot: bytes


def use(database: Database, blobs: ArtifactStore) -> Used:
    """Fill a database and its artifact store."""
    _door(database)
    _dataset(database, blobs)
    running, pausing, cancelling = (new_job(database, name="läuft ✓") for _ in range(3))
    new_job(database, priority=7)
    for job_id in (running, pausing, cancelling):
        held = claimed(database, job_id)
        snapshot(database, blobs, held, f"snapshot of {job_id}".encode())
    with database.session() as session:
        pause_job(session, DEFAULT_PROJECT, pausing)
        cancel_job(session, DEFAULT_PROJECT, cancelling)
    put(database, blobs, b"still on its way", held=held)
    kept, deleted = (_succeeded(database, blobs, weights) for weights in (BIG, b"weights"))
    with database.session() as session:
        set_alias(session, DEFAULT_PROJECT, "production", kept)
    _watched(database, blobs, kept)
    with database.session() as session:
        artifact = delete(session, session.get_one(Checkpoint, deleted))
    finish(database, blobs, artifact)
    return Used(running, pausing, cancelling, kept, deleted, f"snapshot of {running}".encode())


def contents(database: Database, blobs: ArtifactStore) -> dict[str, bytes]:
    """Bytes of every committed artifact by id."""
    with database.reading() as session:
        query = select(Artifact.id, Artifact.blob_key).where(Artifact.state == "committed")
        keys = {row.id: str(row.blob_key) for row in session.execute(query)}
    return {id: b"".join(blobs.open(key)) for id, key in keys.items()}


def _door(database: Database) -> None:
    with database.session() as session:
        session.add(
            ApiKey(
                id="key_1",
                project_id=DEFAULT_PROJECT,
                secret_sha256="0" * 64,
                scopes=["admin"],
                expires_at=database_now(3600),
            )
        )
        session.flush()
        session.add(
            BrowserSession(
                token_sha256="1" * 64,
                key_id="key_1",
                csrf_sha256="2" * 64,
                expires_at=database_now(60),
            )
        )
        session.add(
            Webhook(
                id="wh_1",
                project_id=DEFAULT_PROJECT,
                url="https://example.org",
                secret="s",
                states=["succeeded"],
            )
        )
        take(session, DEFAULT_PROJECT, "key", "POST /jobs", "print")
        keep(session, DEFAULT_PROJECT, "key", "POST /jobs", {"status": 201, "body": None})


def _watched(database: Database, blobs: ArtifactStore, checkpoint: str) -> None:
    """Predictions with a label and an image, a second calibrator, and an alert."""
    image = store_pending(database, blobs, [b"an image"], "image")
    with database.session() as session:
        version = add_version(
            session,
            DEFAULT_PROJECT,
            checkpoint,
            {"kind": "temperature", "temperature": 1.5, "n": 9},
            nll_before=0.5,
            nll_after=0.25,
            held_out={"n": 3},
        ).id
        set_alias(session, DEFAULT_PROJECT, "production", checkpoint, version, log_images=True)
        row = {
            "project_id": DEFAULT_PROJECT,
            "alias": "production",
            "checkpoint_id": checkpoint,
            "calibrator_id": version,
            "class_index": 1,
            "confidence": 0.1 + 0.2,
            "raw_confidence": 1.0,
            "shift": None,
            "logits": b"\0\1\2\3",
            "log_rate": 0.5,
            "image_artifact_id": commit(session, blobs, image).id,
            "created_at": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        }
        ids = [f"pred_{26 * digit}" for digit in "12"]
        insert_predictions(session, [row | {"id": id} for id in ids])
    with database.session() as session:
        give_labels(session, DEFAULT_PROJECT, [Given(ids[0], "a")], key_id="key_1")
        session.add(
            CalibrationAlert(
                id="alert_1",
                project_id=DEFAULT_PROJECT,
                alias="production",
                checkpoint_id=checkpoint,
                calibrator_id=version,
                evidence=1e300,
                alpha=0.05,
                labels=12,
                finding="overconfident",
                resolved_at=database_now(),
            )
        )


def _dataset(database: Database, blobs: ArtifactStore) -> None:
    stored = store_pending(database, blobs, [b"images"], "dataset", name="images.tar")
    with database.session() as session:
        create_dataset(
            session,
            DEFAULT_PROJECT,
            name="pets",
            source={"source": "upload"},
            classes=["cat", "dog"],
            splits={"train": {"cat": 1, "dog": 2}},
            images=3,
            bytes=6,
            artifact=commit(session, blobs, stored),
        )


def _succeeded(database: Database, blobs: ArtifactStore, weights: bytes) -> str:
    held = claimed(database, new_job(database, key_id="key_1"))
    model = put(database, blobs, weights, held=held)
    logits = put(database, blobs, b"the same logits", "logits", held=held)
    with database.session() as session:
        record_event(session, held, "warning", "nul\0 and \ud800", data={"x": 1.5})
        record_metrics(session, held, [(1, "loss", 0.1 + 0.2), (2, "loss", float("nan"))])
        commit(session, blobs, model, held)
        commit(session, blobs, logits, held)
        row = create_checkpoint(
            session,
            held,
            artifact_id=model.artifact_id,
            architecture="carot-mini",
            method="carot",
            classes=["a", "b"],
            templates=["{}"],
            calibrator=None,
            metrics={"in_distribution": {"accuracy": 0.5}},
        )
        report = create_report(
            session,
            held,
            checkpoint_id=row.id,
            document={"ece": 1e-300, "none": None},
            logits_artifact_id=logits.artifact_id,
        )
        succeed(session, held, checkpoint_id=row.id, report_id=report.id)
        session.add(
            WebhookDelivery(
                id=f"whd_{row.id[-20:]}",
                webhook_id="wh_1",
                job_id=held.job_id,
                seq=99,
                payload={"state": "succeeded"},
                next_attempt_at=database_now(5),
            )
        )
        return row.id
