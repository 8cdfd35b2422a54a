"""Everything `store` raises on purpose.

StoreError
├── NotFound                  no row of this kind with this id
│   └── Gone                  it was deleted; only what is known of it is left
├── BadCursor                 a cursor that this service did not hand out
├── Conflict                  the row is not in a state that allows this
│   ├── IllegalTransition     a state change that the state machine does not know
│   └── StaleFence            the writer was replaced; it must stop and write nothing more
├── WrongSchema               the database is of another release
├── UnknownClass              a label that names no class of the checkpoint
├── IdempotencyConflict       the key belongs to another request
├── NotBeneathRoot            a file that the data set root does not hold
├── BackupError
│   ├── BackupDamaged         a backup that is not what was written
│   └── CannotRestore         a database that a backup cannot be read into
└── ArtifactError
    ├── ArtifactMissing       its bytes are not where they should be
    ├── ArtifactCorrupt       its bytes are not those that were written
    └── NoSpace               the disk is full; nothing was stored
"""

from __future__ import annotations


class StoreError(Exception):
    """Root of the tree."""


class NotFound(StoreError):
    """No row of this kind with this id."""

    def __init__(self, kind: str, id: str) -> None:
        super().__init__(f"no {kind} {id!r}")
        self.kind = kind
        self.id = id


class Gone(NotFound):
    """It was deleted; only what is known of it is left."""

    def __init__(self, kind: str, id: str) -> None:
        super().__init__(kind, id)
        self.args = (f"{kind} {id!r} has been deleted",)


class BadCursor(StoreError):
    """A cursor that this service did not hand out."""


class WrongSchema(StoreError):
    """The database is of another release; the message says what to do."""


class Conflict(StoreError):
    """The row is not in a state that allows this."""


class IllegalTransition(Conflict):
    """A state change that the state machine does not know."""


class StaleFence(Conflict):
    """The writer was replaced; it must stop and write nothing more."""


class UnknownClass(StoreError):
    """A label that names no class of the checkpoint."""

    field = "label"


class IdempotencyConflict(StoreError):
    """The key belongs to another request."""


class NotBeneathRoot(StoreError):
    """A file that the data set root does not hold, or there is no root."""


class BackupError(StoreError):
    """A backup that cannot be written or read."""


class BackupDamaged(BackupError):
    """A backup that is not what was written."""


class CannotRestore(BackupError):
    """A database that a backup cannot be read into."""


class ArtifactError(StoreError):
    """An artifact that cannot be written or read."""


class ArtifactMissing(ArtifactError):
    """Its bytes are not where they should be."""


class ArtifactCorrupt(ArtifactError):
    """Its bytes are not those that were written."""


class NoSpace(ArtifactError):
    """The disk is full; nothing was stored."""
