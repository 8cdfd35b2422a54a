"""Artifacts and their bytes."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Integer, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from store.database import database_now
from store.errors import Gone
from store.tables.base import Base, Id


class Artifact(Base):
    """Some bytes and what is known of them; `pending` until they are whole and belong somewhere.

    `deleted` once they were given up: the row tells what they were, and keeps `blob_key` only until
    the bytes are gone.
    """

    __tablename__ = "artifacts"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(40))
    state: Mapped[str] = mapped_column(String(20))
    name: Mapped[str | None] = mapped_column(String(300))
    media_type: Mapped[str] = mapped_column(String(100))
    blob_key: Mapped[str | None] = mapped_column(String(300), index=True)
    sha256: Mapped[str | None] = mapped_column(String(64))
    size: Mapped[int | None]
    job_id: Mapped[str | None] = mapped_column(Id, index=True)
    fence: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(default=database_now())

    @property
    def ref(self) -> str:
        """The key under which the artifact store has the bytes.

        Raises:
            Gone: they were deleted.
        """
        if self.state == "deleted":
            raise Gone("artifact", self.id)
        if self.blob_key is None:
            raise ValueError(f"artifact {self.id} has no bytes yet")
        return self.blob_key


class BlobChunk(Base):
    """A piece of an artifact, where the database is the artifact store."""

    __tablename__ = "blob_chunks"

    blob_key: Mapped[str] = mapped_column(String(300), primary_key=True)
    seq: Mapped[int] = mapped_column(Integer, primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class BlobHold(Base):
    """A hold while artifacts are copied: until it expires, no bytes of listed rows are deleted."""

    __tablename__ = "blob_holds"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    expires_at: Mapped[datetime]
