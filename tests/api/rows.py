"""Rows that only a worker writes, written for tests of what the API shows of them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry

from api.context import Context
from api.models.targets import ModelTarget
from api.predict.prediction_log import PredictionLog, Said
from carot.specs import AnySpec, FinetuneSpec
from store.ids import new_id
from store.jobs.jobs import create_job
from store.jobs.workers import Presence
from store.predictions.files import PREDICTIONS
from store.tables import DEFAULT_PROJECT, Artifact, Checkpoint, Report

SPEC = FinetuneSpec.model_validate(
    {"model": {"architecture": "carot-mini"}, "dataset": "builtin:digits"}
)


def add_checkpoint(
    context: Context,
    content: bytes,
    classes: tuple[str, ...] = ("a", "b"),
    *,
    spec: AnySpec = SPEC,
    architecture: str = "carot-mini",
    project: str = DEFAULT_PROJECT,
) -> str:
    """A checkpoint whose download is `content`, made by a job of this spec; its id."""
    blob = context.artifacts.put(io.BytesIO(content))
    with context.database.session() as session:
        job = create_job(session, spec, project=project)
        artifact = Artifact(
            id=new_id("art"),
            kind="checkpoint",
            state="committed",
            name="checkpoint.tar",
            media_type="application/x-tar",
            blob_key=blob.key,
            sha256=blob.sha256,
            size=blob.size,
            job_id=job.id,
        )
        session.add(artifact)
        session.flush()
        checkpoint = Checkpoint(
            id=new_id("ckpt"),
            project_id=project,
            job_id=job.id,
            artifact_id=artifact.id,
            name="test",
            architecture=architecture,
            method="carot",
            classes=list(classes),
            templates=["{}"],
            calibrator={"temperature": 2.0},
            metrics={"id_accuracy": 0.9},
        )
        session.add(checkpoint)
        session.flush()
        return checkpoint.id


def add_predictions(context: Context, job_id: str, content: bytes) -> None:
    """What a job predicted, of this content."""
    blob = context.artifacts.put(io.BytesIO(content))
    with context.database.session() as session:
        row = Artifact(
            id=new_id("art"),
            kind=PREDICTIONS,
            state="committed",
            name="predictions.parquet",
            media_type="application/vnd.apache.parquet",
            blob_key=blob.key,
            sha256=blob.sha256,
            size=blob.size,
            job_id=job_id,
        )
        session.add(row)


def add_prediction(
    context: Context,
    checkpoint_id: str,
    *,
    alias: str,
    project: str = DEFAULT_PROJECT,
    image: bytes | None = None,
) -> str:
    """A prediction that was logged; its id."""
    said = Said(0, 0.75, 0.875, 50.0, np.zeros(2, dtype=np.float32), image)
    target = ModelTarget(project, alias, checkpoint_id, None, 1.0, image is not None)
    log = PredictionLog(context.database, context.artifacts, CollectorRegistry())
    [id] = log.record(target, [said])
    assert id is not None
    log.close()
    return id


def add_report(context: Context, checkpoint_id: str, document: dict[str, Any]) -> str:
    """A report of a checkpoint's job; its id."""
    with context.database.session() as session:
        checkpoint = session.get_one(Checkpoint, checkpoint_id)
        report = Report(
            id=new_id("rep"),
            project_id=checkpoint.project_id,
            job_id=checkpoint.job_id,
            checkpoint_id=checkpoint_id,
            document=document,
        )
        session.add(report)
        session.flush()
        return report.id


def add_worker(context: Context, name: str) -> Presence:
    """A worker that has just said that it is there."""
    presence = Presence(
        name=name,
        host="gpu-3",
        pid=7,
        queues=("gpu", "cpu"),
        devices=[{"name": "Test GPU", "memory_bytes": 80 << 30}],
        version="1.2",
        silent_after_seconds=60.0,
    )
    presence.beat(context.database)
    return presence
