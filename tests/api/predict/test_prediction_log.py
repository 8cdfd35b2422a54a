"""The recorder: nobody waits for it, nothing is written twice, and what is lost is counted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import select, text

from api.models.targets import ModelTarget
from api.predict import prediction_log as module
from api.predict.prediction_log import PredictionLog, Said
from store.artifacts import ArtifactStore
from store.artifacts.folder import FolderBlobs
from store.artifacts.rows import get_artifact
from store.database import Database
from store.predictions.log import MAX_LOGITS
from store.tables import DEFAULT_PROJECT, Prediction
from tests.store.predictions.predicted import a_model

SAID = Said(1, 0.8, 0.9, 40.0, np.array([0.5, 2.0, -1.0], dtype=np.float32), b"image")
Make = Callable[..., PredictionLog]


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    database.upgrade()
    yield database
    database.close()


@pytest.fixture
def blobs(tmp_path: Path) -> ArtifactStore:
    return FolderBlobs(tmp_path / "blobs")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def make(database: Database, blobs: ArtifactStore, registry: CollectorRegistry) -> Iterator[Make]:
    made: list[PredictionLog] = []

    def make(**changes: int) -> PredictionLog:
        made.append(PredictionLog(database, blobs, registry, **changes))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def checkpoint(database: Database) -> str:
    return a_model(database)


def target(checkpoint: str, rate: float = 1.0, *, images: bool = False) -> ModelTarget:
    return ModelTarget(DEFAULT_PROJECT, "pets", checkpoint, None, rate, images)


def stored(database: Database) -> list[str]:
    with database.reading() as session:
        return list(session.scalars(select(Prediction.id).order_by(Prediction.id)))


def lost(registry: CollectorRegistry, reason: str) -> float | None:
    return registry.get_sample_value("carot_predictions_not_logged_total", {"reason": reason})


def test_what_was_said_is_found_after_a_flush(
    make: Make, database: Database, checkpoint: str, registry: CollectorRegistry
) -> None:
    prediction_log = make()
    ids = prediction_log.record(target(checkpoint), [SAID, SAID._replace(shift=None)])
    assert prediction_log.flush(30)
    assert stored(database) == sorted(id for id in ids if id is not None)
    with database.reading() as session:
        first, second = (session.get_one(Prediction, id) for id in ids)
        assert (first.class_index, first.confidence, first.raw_confidence) == (1, 0.8, 0.9)
        assert (first.shift, second.shift) == (40.0, None)
        assert (first.alias, first.checkpoint_id, first.log_rate) == ("pets", checkpoint, 1.0)
        assert np.array_equal(np.frombuffer(first.logits or b"", "<f4"), SAID.logits_C)
        assert first.image_artifact_id is None
    assert registry.get_sample_value("carot_predictions_logged_total") == 2


def test_images_only_where_they_are_asked_for(
    make: Make, database: Database, blobs: ArtifactStore, checkpoint: str
) -> None:
    prediction_log = make()
    [id] = prediction_log.record(target(checkpoint, images=True), [SAID])
    assert prediction_log.flush(30)
    with database.reading() as session:
        image = session.get_one(Prediction, id).image_artifact_id
        assert image is not None
        assert b"".join(blobs.open(get_artifact(session, image).ref)) == b"image"


def test_logits_of_too_many_classes_are_not_kept(
    make: Make, database: Database, checkpoint: str
) -> None:
    prediction_log = make()
    many = [SAID._replace(logits_C=np.zeros(n, np.float32)) for n in (MAX_LOGITS, MAX_LOGITS + 1)]
    ids = prediction_log.record(target(checkpoint), many)
    assert prediction_log.flush(30)
    with database.reading() as session:
        kept = [session.get_one(Prediction, id).logits for id in ids]
    assert [None if each is None else len(each) for each in kept] == [4 * MAX_LOGITS, None]


def test_a_share_of_them_is_logged(make: Make, checkpoint: str) -> None:
    prediction_log = make(seed=0, capacity=5000)

    def count(rate: float) -> int:
        ids = prediction_log.record(target(checkpoint, rate), [SAID] * 2000)
        return sum(id is not None for id in ids)

    counts = {rate: count(rate) for rate in (0.0, 0.25, 1.0)}
    assert counts[0.0] == 0
    assert counts[1.0] == 2000
    assert abs(counts[0.25] - 500) < 4 * (2000 * 0.25 * 0.75) ** 0.5


def test_nobody_waits_for_a_database_that_is_busy(
    make: Make, database: Database, checkpoint: str, registry: CollectorRegistry
) -> None:
    prediction_log = make(capacity=10)
    with database.session() as session:
        # Whoever writes now waits until this transaction ends.
        lock = "SELECT 1" if database.is_sqlite else "LOCK TABLE predictions IN EXCLUSIVE MODE"
        session.execute(text(lock))
        first = prediction_log.record(target(checkpoint), [SAID] * 4)
        assert not prediction_log.flush(0.2)
        rest = [prediction_log.record(target(checkpoint), [SAID] * 4) for _ in range(4)]
    kept = [ids for ids in (first, *rest) if ids != [None] * 4]
    assert len(kept) < 5
    assert lost(registry, "full") == 4 * (5 - len(kept))
    assert prediction_log.flush(30)
    assert stored(database) == sorted(id for ids in kept for id in ids if id is not None)


def test_a_database_that_is_away_costs_what_waits_for_it(
    make: Make,
    database: Database,
    checkpoint: str,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "ATTEMPTS", 2)
    monkeypatch.setattr(module, "AWAY_SECONDS", 0.01)
    prediction_log = make()
    with database.session() as session:
        session.execute(text("ALTER TABLE predictions RENAME TO elsewhere"))
    prediction_log.record(target(checkpoint), [SAID] * 3)
    assert prediction_log.flush(30)
    assert lost(registry, "database") == 3
    with database.session() as session:
        session.execute(text("ALTER TABLE elsewhere RENAME TO predictions"))
    ids = prediction_log.record(target(checkpoint), [SAID])
    assert prediction_log.flush(30)
    assert stored(database) == ids


def test_a_database_that_comes_back_gets_what_waited(
    make: Make, database: Database, checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AWAY_SECONDS", 0.05)
    monkeypatch.setattr(module, "ATTEMPTS", 10_000)
    prediction_log = make()
    with database.session() as session:
        session.execute(text("ALTER TABLE predictions RENAME TO elsewhere"))
    ids = prediction_log.record(target(checkpoint), [SAID] * 2)
    assert not prediction_log.flush(0.3)
    with database.session() as session:
        session.execute(text("ALTER TABLE elsewhere RENAME TO predictions"))
    assert prediction_log.flush(30)
    assert stored(database) == sorted(id for id in ids if id is not None)


def test_what_refers_to_nothing_is_lost_alone(
    make: Make, database: Database, checkpoint: str, registry: CollectorRegistry
) -> None:
    prediction_log = make()
    prediction_log.record(target("ckpt_" + 26 * "0"), [SAID])
    assert prediction_log.flush(30)
    ids = prediction_log.record(target(checkpoint), [SAID])
    assert prediction_log.flush(30)
    assert stored(database) == ids
    assert lost(registry, "database") == 1


def test_closing_writes_what_waits(make: Make, database: Database, checkpoint: str) -> None:
    prediction_log = make()
    ids = prediction_log.record(target(checkpoint), [SAID] * 5)
    prediction_log.close()
    assert stored(database) == sorted(id for id in ids if id is not None)
    assert prediction_log.record(target(checkpoint), [SAID]) == [None]
    assert prediction_log.flush(1)


def test_many_threads_lose_nothing(make: Make, database: Database, checkpoint: str) -> None:
    prediction_log = make()
    ids: list[str | None] = []

    def work() -> None:
        for _ in range(25):
            ids.extend(prediction_log.record(target(checkpoint), [SAID] * 3))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert prediction_log.flush(30)
    assert stored(database) == sorted(id for id in ids if id is not None)
    assert len(ids) == 300
