"""What no request can bring, written past the API: a model of ours, images that it would refuse."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from carot.specs import FinetuneSpec
from store.artifacts import ArtifactStore
from store.artifacts.bundles import pack
from store.artifacts.rows import commit, store_pending
from store.database import Database
from store.datasets.datasets import create_dataset
from store.jobs.claims import claim, succeed
from store.jobs.jobs import create_job
from store.models.checkpoints import create_checkpoint
from store.tables import DEFAULT_PROJECT


def store_dataset(
    database: Database,
    artifacts: ArtifactStore,
    folder: Path,
    classes: tuple[str, ...],
    splits: Mapping[str, int],
) -> str:
    """A folder `split/class/…` with so many images of each class as a data set; its id."""
    stored = store_pending(database, artifacts, pack(folder), "dataset")
    with database.session() as session:
        return create_dataset(
            session,
            DEFAULT_PROJECT,
            name=folder.name,
            source={"source": "upload"},
            classes=sorted(classes),
            splits={split: dict.fromkeys(classes, each) for split, each in splits.items()},
            images=len(classes) * sum(splits.values()),
            bytes=stored.blob.size,
            artifact=commit(session, artifacts, stored),
        ).id


def store_model(
    database: Database, artifacts: ArtifactStore, folder: Path, classes: tuple[str, ...]
) -> str:
    """The folder of a model as the checkpoint of a job that succeeded; its id."""
    stored = store_pending(database, artifacts, pack(folder), "checkpoint")
    given = {"model": {"architecture": "carot-mini"}, "dataset": "builtin:digits"}
    spec = FinetuneSpec.model_validate(given)
    with database.session() as session:
        job = create_job(session, spec, project=DEFAULT_PROJECT, name="the model")
        held = claim(session, job.id, "material", 60)
        assert held is not None
        commit(session, artifacts, stored)
        model = create_checkpoint(
            session, held, artifact_id=stored.artifact_id, architecture="tiny", method="none",
            classes=list(classes), templates=["{}"], calibrator=None, metrics={},
        ).id  # fmt: skip
        succeed(session, held, checkpoint_id=model)
        return model


def store_tiny(database: Database, artifacts: ArtifactStore, folder: Path) -> dict[str, Any]:
    """A tiny model, and 24 tiny images to train it on; the two fields of a spec that name them."""
    from tests.carot.tiny import save_tiny, write_images

    classes, splits = ("bright", "dark"), {"train": 12, "calibration": 6, "test": 6}
    for split, each in splits.items():
        write_images(folder / "images" / split, classes, each)
    model = store_model(database, artifacts, save_tiny(folder / "model"), classes)
    dataset = store_dataset(database, artifacts, folder / "images", classes, splits)
    return {"model": {"checkpoint": model}, "dataset": dataset}
