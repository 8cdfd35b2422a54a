"""Calibrators and calibration splits in memory: neither ever changes, so each is read once."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import structlog
from pydantic import ValidationError

from api.inference.cache import CheckpointCache
from carot.calibration.calibrator import AnyCalibrator, from_json
from carot.calibration.evidence import EvidenceTable
from store.database import Database
from store.errors import NotFound, StoreError
from store.tables import Calibrator

KEPT = 64
GROUNDS = "grounds.json"
T = TypeVar("T")
log = structlog.get_logger("api.versions")


class Kept(Generic[T]):
    """The last few of what `read` gave, by key. Any thread may ask."""

    def __init__(self, read: Callable[[str], T], size: int = KEPT) -> None:
        self._read = read
        self._size = size
        self._known: OrderedDict[str, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> T:
        """What `read` gives for the key; whatever it raises is not kept."""
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        value = self._read(key)
        with self._lock:
            self._known[key] = value
            while len(self._known) > self._size:
                self._known.popitem(last=False)
        return value


class Versions:
    """What answers are made and judged with, beside the model.

    Attributes:
        calibrators: by id. Raises `NotFound` where there is none.
        references: what the calibration images showed, by checkpoint; None where it is not kept or
            cannot be read.
    """

    def __init__(self, database: Database, cache: CheckpointCache) -> None:
        self._database = database
        self._cache = cache
        self.calibrators: Kept[AnyCalibrator] = Kept(self._calibrator)
        self.references: Kept[EvidenceTable | None] = Kept(self._reference)

    def _calibrator(self, calibrator_id: str) -> AnyCalibrator:
        with self._database.reading() as session:
            row = session.get(Calibrator, calibrator_id)
            if row is None:
                raise NotFound("calibrator", calibrator_id)
            return from_json(row.document)

    def _reference(self, checkpoint_id: str) -> EvidenceTable | None:
        try:
            return _evidence(self._cache.folder(checkpoint_id))
        except (StoreError, OSError, ValueError, KeyError, ValidationError) as error:
            log.warning("no_reference", checkpoint=checkpoint_id, error=str(error)[:300])
            return None


def _evidence(folder: Path) -> EvidenceTable | None:
    """Without torch, which the rest of the grounds would load."""
    path = folder / GROUNDS
    if not path.exists():
        return None  # of a checkpoint from before there were any
    return EvidenceTable.model_validate(json.loads(path.read_text("utf-8"))["evidence"])
