"""Bundles of the artifact store as folders on this machine, as many as there is room for."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from store.artifacts import ArtifactStore
from store.artifacts.bundles import unpack
from store.errors import NoSpace
from store.tables import Artifact

FOLDER = re.compile(r"([0-9a-f]{64})-(\d+)")
TEMPORARY = ".unpacking-"
GONE = ".removing-"
LEFT_SECONDS = 86_400.0
"""Temporary folders older than this were left by a process that was killed."""


@dataclass(frozen=True)
class Bundle:
    """An artifact that is a bundle: what there is to know once its row is out of reach.

    Attributes:
        ref: the key under which the artifact store has it.
        size: its bytes, nearly those of its files.
    """

    ref: str
    sha256: str
    size: int

    @classmethod
    def of(cls, artifact: Artifact) -> Bundle:
        """What a row says.

        Raises:
            Gone: its bytes were deleted.
        """
        return cls(artifact.ref, str(artifact.sha256), artifact.size or 0)

    @property
    def folder(self) -> str:
        """Name of the folder; its size is in it, so that nobody need count."""
        return f"{self.sha256}-{self.size}"


class Unpacked:
    """Folders named by the hash of what is in them; those not used for longest are removed.

    Several processes may share `root`: a folder is whole or not there.

    Args:
        max_bytes: room for all of them together. A folder in use stays.
    """

    def __init__(self, root: Path, artifacts: ArtifactStore, max_bytes: int) -> None:
        self._root = root
        self._artifacts = artifacts
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._used: Counter[str] = Counter()
        self._making: dict[str, threading.Lock] = {}

    @contextmanager
    def using(self, bundle: Bundle) -> Iterator[Path]:
        """A folder with the bundle's files, which stays until the block ends.

        Raises:
            NoSpace: it is larger than all that may be kept, or the disk is full.
            ArtifactError: its bytes are missing or damaged.
        """
        if bundle.size > self._max_bytes:
            raise NoSpace(
                f"it has {bundle.size} bytes, and CAROT_UNPACKED_BYTES has room for "
                f"{self._max_bytes}"
            )
        with self._lock:
            self._used[bundle.folder] += 1
            making = self._making.setdefault(bundle.folder, threading.Lock())
        try:
            with making:  # whoever else wants the same waits for it instead of unpacking it again
                folder = self._there(bundle)
            yield folder
        finally:
            with self._lock:
                self._used[bundle.folder] -= 1
                if not self._used[bundle.folder]:
                    del self._used[bundle.folder], self._making[bundle.folder]

    def forget(self, bundle: Bundle) -> None:
        """Remove a folder that is not in use: its bytes were deleted."""
        with self._lock:
            if not self._used[bundle.folder]:
                self._remove(self._root / bundle.folder)

    def _there(self, bundle: Bundle) -> Path:
        target = self._root / bundle.folder
        with suppress(FileNotFoundError):
            os.utime(target)
            return target
        self._make_room(bundle.size)
        self._root.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=self._root, prefix=TEMPORARY))
        try:
            unpack(self._artifacts.open(bundle.ref), temporary)
            try:
                temporary.rename(target)
            except OSError:
                if not target.is_dir():  # else another process was faster, with the same files
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return target

    def _make_room(self, size: int) -> None:
        """Remove the folders that were not used for longest until `size` bytes more fit in."""
        with self._lock:
            found: list[tuple[float, int, Path]] = []
            with suppress(FileNotFoundError):
                for path in self._root.iterdir():
                    with suppress(FileNotFoundError):
                        self._note(path, path.stat().st_mtime, found)
            total = sum(kept for _, kept, _ in found)
            for _, kept, path in sorted(found):
                if total + size <= self._max_bytes:
                    break
                if not self._used[path.name]:
                    self._remove(path)
                    total -= kept

    def _note(self, path: Path, used: float, found: list[tuple[float, int, Path]]) -> None:
        match = FOLDER.fullmatch(path.name)
        if match is not None:
            found.append((used, int(match[2]), path))
        elif path.name.startswith((TEMPORARY, GONE)) and used < time.time() - LEFT_SECONDS:
            shutil.rmtree(path, ignore_errors=True)

    def _remove(self, path: Path) -> None:
        """Rename first, so that no reader finds a part of it."""
        temporary = path.with_name(f"{GONE}{path.name}-{os.getpid()}")
        with suppress(OSError):
            path.rename(temporary)
            shutil.rmtree(temporary, ignore_errors=True)
