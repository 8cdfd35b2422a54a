"""The prediction log: a queue, and a thread that writes batches. No request waits for it.

What cannot be written soon is dropped and counted: a prediction that is not logged costs a label,
a late answer costs its user. C classes.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import structlog
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from api.models.targets import ModelTarget
from store.artifacts import ArtifactStore
from store.artifacts.rows import Stored, commit, store_pending
from store.database import Database
from store.errors import ArtifactError
from store.ids import new_id
from store.predictions.log import MAX_LOGITS, insert_predictions

BATCH = 500
LINGER_SECONDS = 0.05
"""How long the first of a batch waits for others: one transaction for many requests."""
AWAY_SECONDS = 0.5
ATTEMPTS = 10
"""A database that is away so many times in a row costs what was waiting for it."""
MAX_IMAGE_BYTES = 64 << 20
"""Images that may wait, together."""
IMAGE = "image"
OCTETS = "application/octet-stream"
log = structlog.get_logger("api.predict.prediction_log")


class Said(NamedTuple):
    """What was answered for one image.

    Attributes:
        class_index: of the top class.
        confidence, raw_confidence: in it, calibrated and not, each 0 to 1.
        shift: the shift score, a percentile from 0 to 1; None where there is none.
        logits_C: as the model made them.
        image: as it was sent, where it may be wanted.
    """

    class_index: int
    confidence: float
    raw_confidence: float
    shift: float | None
    logits_C: NDArray[np.float32]
    image: bytes | None = None


@dataclass(frozen=True)
class _Waiting:
    row: Mapping[str, Any]
    image: bytes | None

    @property
    def size(self) -> int:
        return len(self.image or b"")


class PredictionLog:
    """Logs predictions in a thread of its own.

    Args:
        capacity: predictions that may wait; beyond it they are dropped.
        seed: of the sampling; by default the system's randomness.
    """

    def __init__(
        self,
        database: Database,
        artifacts: ArtifactStore,
        registry: CollectorRegistry,
        *,
        capacity: int = 10_000,
        seed: int | None = None,
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._capacity = capacity
        self._random = random.Random(seed)  # noqa: S311 - sampling, no secret
        self._queue: deque[_Waiting] = deque()
        self._bytes = 0
        self._taken = 0
        self._settled = 0
        self._hurry = False
        self._closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._logged = Counter(
            "carot_predictions_logged", "Predictions logged, to be labelled", registry=registry
        )
        self._lost = Counter(
            "carot_predictions_not_logged",
            "Predictions that should have been logged and were not",
            ["reason"],
            registry=registry,
        )
        for reason in ("full", "database"):
            self._lost.labels(reason)

    def record(self, target: ModelTarget, said: Sequence[Said]) -> list[str | None]:
        """Ids under which predictions will be found; None for those that are not logged.

        Returns at once.
        """
        now = datetime.now(UTC)
        chosen = [self._random.random() < target.log_rate for _ in said]
        ids = [new_id("pred") if yes else None for yes in chosen]
        waiting = [
            _Waiting(_row(id, target, each, now), each.image if target.log_images else None)
            for id, each in zip(ids, said, strict=True)
            if id is not None
        ]
        if not waiting:
            return ids
        size = sum(each.size for each in waiting)
        with self._changed:
            room = len(self._queue) + len(waiting) <= self._capacity
            if self._closed or not room or self._bytes + size > MAX_IMAGE_BYTES:
                self._lost.labels("full").inc(len(waiting))
                return [None] * len(ids)
            # The thread would find out that it has to go on lingering, with every request.
            idle = not self._queue
            self._queue.extend(waiting)
            self._bytes += size
            self._taken += len(waiting)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="prediction-log", daemon=True
                )
                self._thread.start()
            if idle or len(self._queue) >= min(BATCH, self._capacity // 2):
                self._changed.notify_all()
        return ids

    def flush(self, seconds: float = 5.0) -> bool:
        """Wait until all that was recorded is written or lost; False when that takes longer."""
        with self._changed:
            wanted = self._taken
            self._hurry = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._settled >= wanted, seconds)

    def close(self) -> None:
        """Write what is waiting, if the database takes it now, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout=30)

    def _run(self) -> None:
        while batch := self._next():
            try:
                self._write(batch)
            # Whatever the database says, the next batch may fare better.
            except Exception:
                log.exception("predictions_lost", count=len(batch))
                self._lost.labels("database").inc(len(batch))
            with self._changed:
                self._settled += len(batch)
                self._bytes -= sum(each.size for each in batch)
                self._hurry = self._hurry and self._settled < self._taken
                self._changed.notify_all()

    def _next(self) -> list[_Waiting]:
        """The next batch; empty when there will be none."""
        with self._changed:
            while not self._queue:
                if self._closed:
                    return []
                self._changed.wait()
            deadline = time.monotonic() + LINGER_SECONDS
            while len(self._queue) < BATCH and not self._closed and not self._hurry:
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            return [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]

    def _write(self, batch: Sequence[_Waiting]) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._insert(batch)
            except IntegrityError:
                raise  # what it refers to is not there, and will not come
            except SQLAlchemyError:
                if attempt == ATTEMPTS or self._is_full_or_closed(AWAY_SECONDS):
                    raise
            else:
                self._logged.inc(len(batch))
                return

    def _is_full_or_closed(self, seconds: float) -> bool:
        """Wait for a database that is away; no longer once others are refused for it."""
        with self._changed:
            full = self._capacity // 2
            return self._changed.wait_for(lambda: self._closed or len(self._queue) >= full, seconds)

    def _insert(self, batch: Sequence[_Waiting]) -> None:
        # What is stored here and not committed below goes with the garbage.
        images = {i: self._store(each.image) for i, each in enumerate(batch) if each.image}
        rows = [dict(each.row) for each in batch]
        with self._database.session() as session:
            for i, stored in images.items():
                if stored is not None:
                    rows[i]["image_artifact_id"] = commit(session, self._artifacts, stored).id
            insert_predictions(session, rows)

    def _store(self, image: bytes) -> Stored | None:
        """An image's bytes; None when there is no room for them."""
        try:
            return store_pending(self._database, self._artifacts, [image], IMAGE, media_type=OCTETS)
        except ArtifactError:
            log.exception("image_lost")
            return None


def _row(id: str | None, target: ModelTarget, said: Said, now: datetime) -> dict[str, Any]:
    few = len(said.logits_C) <= MAX_LOGITS
    return {
        "id": id,
        "project_id": target.project,
        "alias": target.alias,
        "checkpoint_id": target.checkpoint_id,
        "calibrator_id": target.calibrator_id,
        "class_index": said.class_index,
        "confidence": said.confidence,
        "raw_confidence": said.raw_confidence,
        "shift": said.shift,
        "logits": np.asarray(said.logits_C, dtype="<f4").tobytes() if few else None,
        "log_rate": target.log_rate,
        "image_artifact_id": None,
        "created_at": now,
    }
