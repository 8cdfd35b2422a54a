"""The file of a backup: one tar.

manifest.json            format, revision of the schema, and what follows, with sums
artifacts/SHA256         the bytes of committed artifacts, equal ones once
rows/TABLE.jsonl         tables, each behind those that it refers to, see `store.backup.dumps`
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import IO

from pydantic import BaseModel, ConfigDict, Field

from store.errors import BackupDamaged

FORMAT = 1
MANIFEST = "manifest.json"
ARTIFACTS = "artifacts/"
ROWS = "rows/"
NOT_KEPT = ("alembic_version", "blob_chunks", "blob_holds", "workers")
"""Tables that a backup leaves out: chunks are in it as artifacts, workers come by themselves."""
PIECE = 1 << 20
Progress = Callable[[int, int], object]
"""Told how many bytes are done, and of how many."""
MAX_MANIFEST_BYTES = 1 << 20


class Content(BaseModel):
    """One table in a backup."""

    model_config = ConfigDict(frozen=True)

    rows: int = Field(ge=0)
    bytes: int = Field(ge=0)
    sha256: str


class Artifacts(BaseModel):
    """The artifacts of a backup, equal ones counted once."""

    model_config = ConfigDict(frozen=True)

    count: int = Field(ge=0)
    bytes: int = Field(ge=0)


class Manifest(BaseModel):
    """What a backup says of itself."""

    model_config = ConfigDict(frozen=True)

    format: int
    version: str = Field(description="The release that wrote it.")
    revision: str = Field(description="Revision of the schema.")
    created_at: datetime = Field(description="The moment whose rows it holds.")
    artifacts: Artifacts
    tables: dict[str, Content]

    @property
    def total(self) -> int:
        """Bytes of all members but the manifest."""
        return self.artifacts.bytes + sum(table.bytes for table in self.tables.values())


def member(name: str, size: int, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """One member of a tar, without time or owner."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    yield info.tobuf(tarfile.PAX_FORMAT)
    written = 0
    for piece in pieces:
        written += len(piece)
        yield piece
    assert written == size, f"{name}: {written} bytes instead of {size}"
    yield bytes(-size % tarfile.BLOCKSIZE)


class Archive:
    """A backup as it is read. `place` is the member that was begun last."""

    def __init__(self, file: IO[bytes], progress: Progress | None) -> None:
        self.place = "its beginning"
        self.size = 0
        self._progress = progress
        self._done = self._total = 0
        try:
            self._tar = tarfile.open(fileobj=file, mode="r|")  # noqa: SIM115 - read to its end
        except (tarfile.TarError, EOFError) as error:
            raise BackupDamaged(f"this is no backup: {error}") from error
        self._next: tarfile.TarInfo | None = None
        self._advance()

    def manifest(self) -> Manifest:
        """What it says of itself."""
        info = self._next
        if info is None or info.name != MANIFEST or info.size > MAX_MANIFEST_BYTES:
            raise BackupDamaged(f"this is no backup: it does not begin with {MANIFEST}")
        raw = b"".join(self._pieces())
        try:
            manifest = _parse(raw)
        except ValueError as error:
            raise BackupDamaged(f"{MANIFEST} cannot be read: {error}") from error
        self._done, self._total = 0, manifest.total
        self._advance()
        return manifest

    def artifacts(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Sums of artifacts and their bytes, which must be read before the next one."""
        while self._next is not None and self._next.name.startswith(ARTIFACTS):
            yield self._next.name.removeprefix(ARTIFACTS), self._pieces()
            self._advance()

    def rows(self, table: str) -> Iterator[bytes]:
        """The lines of the table that comes next, in pieces.

        Raises:
            BackupDamaged: another comes next, or the file ends.
        """
        name = f"{ROWS}{table}.jsonl"
        if self._next is None or self._next.name != name:
            raise BackupDamaged(f"{name} is missing: the file ends, or is damaged before it")
        yield from self._pieces()
        self._advance()

    def _pieces(self) -> Iterator[bytes]:
        assert self._next is not None
        source = self._tar.extractfile(self._next)
        if source is None:
            raise BackupDamaged(f"{self.place} is not a file")
        try:
            while piece := source.read(PIECE):
                yield piece
                self._done += len(piece)
                if self._progress is not None and self._total:
                    self._progress(self._done, self._total)
        except (tarfile.TarError, EOFError) as error:
            raise BackupDamaged(f"{self.place} is cut short: {error}") from error

    def _advance(self) -> None:
        try:
            self._next = self._tar.next()
        except (tarfile.TarError, EOFError) as error:
            raise BackupDamaged(f"damaged behind {self.place}: {error}") from error
        # Else it would hold every member in memory, and there may be many.
        self._tar.members = []  # type: ignore[attr-defined]
        if self._next is not None:
            self.place, self.size = self._next.name[:200], self._next.size


def _parse(raw: bytes) -> Manifest:
    """What a backup says of itself.

    Raises:
        ValueError: it is none of ours.
    """
    document = json.loads(raw)
    if isinstance(document, dict) and document.get("format") not in (None, FORMAT):
        raise ValueError(f"format {document['format']!r} is not {FORMAT}; use the release it names")
    return Manifest.model_validate(document)
