"""Rows of predictions, for tests of what becomes of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
from ulid import ULID

from store.database import Database
from store.models.aliases import set_alias
from store.models.checkpoints import create_checkpoint
from store.predictions.log import insert_predictions
from store.tables import DEFAULT_PROJECT, Artifact
from tests.store.conftest import claimed, new_job

CLASSES = ("cat", "dog", "hen")
TEMPERATURE = {"kind": "temperature", "temperature": 2.0, "n": 100, "split": "calibration",
               "logit_scale": 100.0, "label_set_hash": "x", "nll_before": 1.0, "nll_after": 0.5,
               "converged": True, "at_bound": False}  # fmt: skip


def a_checkpoint(database: Database, calibrator: dict[str, Any] | None = TEMPERATURE) -> str:
    """A checkpoint of three classes."""
    held = claimed(database, new_job(database))
    with database.session() as session:
        artifact = Artifact(
            id=f"art_{held.job_id[-26:]}",
            kind="checkpoint",
            state="committed",
            media_type="application/x-tar",
        )
        session.add(artifact)
        session.flush()
        return create_checkpoint(
            session,
            held,
            artifact_id=artifact.id,
            architecture="carot-mini",
            method="carot",
            classes=CLASSES,
            templates=["{}"],
            calibrator=calibrator,
            metrics={},
        ).id


def a_model(database: Database, alias: str = "pets") -> str:
    """An alias and the checkpoint that it points to."""
    checkpoint = a_checkpoint(database)
    with database.session() as session:
        set_alias(session, DEFAULT_PROJECT, alias, checkpoint)
    return checkpoint


def predict(
    database: Database,
    checkpoint_id: str,
    *,
    count: int = 1,
    at: datetime | None = None,
    **changes: Any,
) -> list[str]:
    """Predictions of `pets` that all say `dog`, with 0.8; their ids, in the order of time."""
    moment = at or datetime.now(UTC)
    stamp = ULID.from_datetime(moment).timestamp
    ids = [f"pred_{str(ULID.from_timestamp(stamp + i / 1000)).lower()}" for i in range(count)]
    row = {
        "project_id": DEFAULT_PROJECT,
        "alias": "pets",
        "checkpoint_id": checkpoint_id,
        "calibrator_id": None,
        "class_index": 1,
        "confidence": 0.8,
        "raw_confidence": 0.9,
        "shift": 40.0,
        "logits": np.array([0.0, 2.0, 0.5], dtype="<f4").tobytes(),
        "log_rate": 1.0,
        "image_artifact_id": None,
        "created_at": moment,
    }
    with database.session() as session:
        insert_predictions(session, [row | {"id": id} | changes for id in ids])
    return ids
