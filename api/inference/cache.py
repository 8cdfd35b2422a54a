"""Checkpoints from the store to folders on this machine, and from there into memory."""

from __future__ import annotations

import atexit
import gc
import shutil
import tempfile
from functools import cache
from pathlib import Path

from api.inference.engine import Predictor
from api.settings import ApiSettings
from store.artifacts import ArtifactStore
from store.artifacts.bundles import unpack
from store.database import Database
from store.models.checkpoints import find_checkpoint


class CheckpointCache:
    """Unpacked checkpoints, each in a folder named by the hash of its content."""

    def __init__(self, settings: ApiSettings, database: Database, artifacts: ArtifactStore) -> None:
        self._root = settings.data_dir / "cache"
        self._device = settings.device
        self._database = database
        self._artifacts = artifacts

    def load(self, checkpoint_id: str) -> Predictor:
        """A checkpoint in memory. Imports torch.

        Raises:
            NotFound: no such checkpoint.
            ArtifactError, CheckpointError: its files are missing or damaged.
        """
        folder = self.folder(checkpoint_id)
        from api.inference.predictor import TorchPredictor

        _stay()
        return TorchPredictor(folder, self._device)

    def folder(self, checkpoint_id: str) -> Path:
        """A folder with the checkpoint's files; an atomic write, so it is whole or absent."""
        with self._database.reading() as session:
            artifact = find_checkpoint(session, checkpoint_id).artifact
            reference = artifact.ref
            target = self._root / str(artifact.sha256)
        if target.is_dir():
            return target
        self._root.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=self._root, prefix=".unpacking-"))
        try:
            unpack(self._artifacts.open(reference), temporary)
            try:
                temporary.rename(target)
            except OSError:
                if not target.is_dir():  # else another process was faster, with the same files
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return target


@cache
def _stay() -> None:
    """Spare the garbage collector what was imported, torch above all.

    A full collection would look through it each time, with everybody waiting for 0.2 s and more.
    """
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # else libraries report all that is theirs as leaks
