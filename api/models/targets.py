"""Targets of predictions: the alias or checkpoint that a request names, looked up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from api.web.lookups import Lookups
from store.database import Database
from store.errors import Gone, NotFound
from store.models.aliases import StoredTarget, find_targets
from store.models.checkpoints import find_deleted

Name = tuple[str, str]
"""A project, and what something is called in it."""


class ModelTarget(NamedTuple):
    """An alias as it was when a request looked it up."""

    project: str
    alias: str
    checkpoint_id: str
    calibrator_id: str | None
    log_rate: float
    log_images: bool


Found = tuple[ModelTarget, bool]
"""And whether its checkpoint was deleted."""


class ModelTargets:
    """Targets of aliases, looked up for each request, so that a change applies to all at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        version = database.version if database.is_sqlite else None
        self._aliases: Lookups[Name, Found] = Lookups(self._of_aliases, "aliases", version)
        self._checkpoints: Lookups[Name, bool] = Lookups(self._deleted, "checkpoints", version)

    async def of_alias(self, project: str, alias: str) -> ModelTarget:
        """The target of an alias, and which of its answers are logged.

        Raises:
            NotFound: no such alias.
            Gone: its checkpoint was deleted.
        """
        found = await self._aliases.get((project, alias))
        if found is None:
            raise NotFound("model", alias)
        target, deleted = found
        if deleted:
            raise Gone("checkpoint", target.checkpoint_id)
        return target

    async def of_checkpoint(self, project: str, checkpoint_id: str) -> ModelTarget:
        """A checkpoint that is named itself; its answers are not logged.

        Raises:
            NotFound: no such checkpoint.
            Gone: it was deleted.
        """
        deleted = await self._checkpoints.get((project, checkpoint_id))
        if deleted is None:
            raise NotFound("checkpoint", checkpoint_id)
        if deleted:
            raise Gone("checkpoint", checkpoint_id)
        return ModelTarget(project, "", checkpoint_id, None, 0.0, False)

    def close(self) -> None:
        """End the threads that look things up."""
        self._aliases.close()
        self._checkpoints.close()

    def _of_aliases(self, names: Sequence[Name]) -> dict[Name, Found]:
        with self._database.asking() as connection:
            rows = find_targets(connection, names)
        return {name: (_target(name, row), row.deleted) for name, row in rows.items()}

    def _deleted(self, names: Sequence[Name]) -> dict[Name, bool]:
        with self._database.asking() as connection:
            return find_deleted(connection, names)


def _target(name: Name, row: StoredTarget) -> ModelTarget:
    logged = row.log_rate, row.log_images
    return ModelTarget(*name, row.checkpoint_id, row.calibrator_id, *logged)
