"""Calibrators and calibration evidence in memory: neither ever changes, so each is read once."""

from __future__ import annotations

import json
import threading
from operator import attrgetter
from pathlib import Path

import structlog
from cachetools import LRUCache, cachedmethod
from pydantic import ValidationError

from api.inference.cache import CheckpointCache
from carot.calibration.calibrators.calibrator import AnyCalibrator, from_json
from carot.calibration.sets.evidence import EvidenceTable
from store.database import Database
from store.errors import NotFound, StoreError
from store.tables import Calibrator

MOST = 64
"""Of each that are kept in memory."""
EVIDENCE_FILE = "grounds.json"
log = structlog.get_logger("api.models.calibrators")


class CalibratorCache:
    """What answers are made and judged with, beside the model. Any thread may ask."""

    def __init__(self, database: Database, checkpoints: CheckpointCache) -> None:
        self._database = database
        self._checkpoints = checkpoints
        self._calibrators: LRUCache[str, AnyCalibrator] = LRUCache(MOST)
        self._evidence: LRUCache[str, EvidenceTable | None] = LRUCache(MOST)
        self._lock = threading.Lock()

    @cachedmethod(attrgetter("_calibrators"), lock=attrgetter("_lock"))
    def calibrator(self, calibrator_id: str) -> AnyCalibrator:
        """One version of a calibrator.

        Raises:
            NotFound: there is none.
        """
        with self._database.reading() as session:
            row = session.get(Calibrator, calibrator_id)
            if row is None:
                raise NotFound("calibrator", calibrator_id)
            return from_json(row.document)

    @cachedmethod(attrgetter("_evidence"), lock=attrgetter("_lock"))
    def evidence(self, checkpoint_id: str) -> EvidenceTable | None:
        """What a checkpoint's calibration images showed; None where that cannot be read."""
        try:
            return _evidence(self._checkpoints.folder(checkpoint_id))
        except (StoreError, OSError, ValueError, KeyError, ValidationError) as error:
            log.warning("no_evidence", checkpoint=checkpoint_id, error=str(error)[:300])
            return None


def _evidence(folder: Path) -> EvidenceTable | None:
    """Without torch, which the rest of the file's readers would load."""
    path = folder / EVIDENCE_FILE
    if not path.exists():
        return None  # of a checkpoint from before there were any
    return EvidenceTable.model_validate(json.loads(path.read_text("utf-8"))["evidence"])
