"""Aliases: names that point to checkpoints and their calibrators, and their earlier targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from store.database import database_now
from store.errors import NotFound
from store.ids import new_id
from store.models.evidence import begin_again
from store.pages import Page, fetch_page
from store.tables import AliasChange, Checkpoint, ModelAlias


class StoredTarget(NamedTuple):
    """The target of an alias, and which of its answers are logged.

    Attributes:
        deleted: whether the checkpoint was.
    """

    checkpoint_id: str
    calibrator_id: str | None
    log_rate: float
    log_images: bool
    deleted: bool


POINTED = (
    select(
        ModelAlias.project_id,
        ModelAlias.name,
        ModelAlias.checkpoint_id,
        ModelAlias.calibrator_id,
        ModelAlias.log_rate,
        ModelAlias.log_images,
        Checkpoint.deleted_at,
    )
    .join(Checkpoint, Checkpoint.id == ModelAlias.checkpoint_id)
    .where(tuple_(ModelAlias.project_id, ModelAlias.name).in_(bindparam("names", expanding=True)))
)
"""Asked with nearly every prediction, so it is made once."""


def set_alias(
    session: Session,
    project: str,
    name: str,
    checkpoint_id: str,
    calibrator_id: str | None = None,
    *,
    log_rate: float | None = None,
    log_images: bool | None = None,
) -> ModelAlias:
    """Point `name` at a checkpoint of the same project, whether it pointed at one before or not.

    That resolves an alert about the earlier target, and the test starts again without evidence.

    Args:
        calibrator_id: a version of the checkpoint's calibrator; None is its own.
        log_rate, log_images: which predictions are logged; None leaves it as it is.
    """
    mine = ModelAlias.project_id == project, ModelAlias.name == name
    places = ModelAlias.checkpoint_id, ModelAlias.calibrator_id
    before = session.execute(select(*places).where(*mine).with_for_update()).one_or_none()
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    values = {
        "checkpoint_id": checkpoint_id,
        "calibrator_id": calibrator_id,
        "updated_at": database_now(),
    } | _logging(log_rate, log_images)
    session.execute(
        dialect.insert(ModelAlias)
        .values(project_id=project, name=name, **values)
        .on_conflict_do_update(index_elements=["project_id", "name"], set_=values)
    )
    if before is None or tuple(before) != (checkpoint_id, calibrator_id):
        begin_again(session, project, name)
    session.add(_change(project, name, checkpoint_id, calibrator_id))
    session.flush()
    return session.get_one(ModelAlias, (project, name), populate_existing=True)


def set_logging(
    session: Session,
    project: str,
    name: str,
    *,
    log_rate: float | None = None,
    log_images: bool | None = None,
) -> ModelAlias:
    """Choose which of an alias's predictions are logged from now on; None leaves it as it is.

    Raises:
        NotFound: the project has none of this name.
    """
    alias = get_alias(session, project, name)
    values = _logging(log_rate, log_images)
    if values:
        mine = ModelAlias.project_id == project, ModelAlias.name == name
        session.execute(update(ModelAlias).where(*mine).values(values))
        session.refresh(alias)
    return alias


def get_alias(session: Session, project: str, name: str, *, lock: bool = False) -> ModelAlias:
    """The alias of this name; with `lock`, it stays as it is until this transaction ends.

    Raises:
        NotFound: the project has none.
    """
    alias = session.get(ModelAlias, (project, name), with_for_update=lock or None)
    if alias is None:
        raise NotFound("model", name)
    return alias


def find_targets(
    connection: Connection, names: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], StoredTarget]:
    """By project and name where aliases point; nothing of one that a project lacks."""
    rows = connection.execute(POINTED, {"names": list(names)})
    return {(row[0], row[1]): StoredTarget(*row[2:-1], deleted=row[-1] is not None) for row in rows}


def list_aliases(
    session: Session, project: str, *, cursor: str | None = None, limit: int = 50
) -> Page[ModelAlias]:
    """Aliases of a project by name."""
    query = select(ModelAlias).where(ModelAlias.project_id == project)
    return fetch_page(
        session, query, ModelAlias.name, cursor=cursor, limit=limit, newest_first=False
    )


def delete_alias(session: Session, project: str, name: str) -> None:
    """Delete an alias; its checkpoint stays, and so do its logged predictions.

    Raises:
        NotFound: the project has none of this name.
    """
    mine = ModelAlias.project_id == project, ModelAlias.name == name
    gone = delete(ModelAlias).where(*mine).returning(ModelAlias.name)
    if session.scalar(gone) is None:
        raise NotFound("model", name)
    begin_again(session, project, name)
    session.add(_change(project, name, None, None))
    session.flush()


def page_of_history(
    session: Session, project: str, name: str, *, cursor: str | None = None, limit: int = 50
) -> Page[AliasChange]:
    """A page of the changes of an alias, newest first."""
    mine = AliasChange.project_id == project, AliasChange.name == name
    query = select(AliasChange).where(*mine)
    return fetch_page(session, query, AliasChange.id, cursor=cursor, limit=limit)


def alias_history(session: Session, project: str, name: str) -> list[AliasChange]:
    """Every change of an alias, newest first."""
    mine = AliasChange.project_id == project, AliasChange.name == name
    return list(session.scalars(select(AliasChange).where(*mine).order_by(AliasChange.id.desc())))


def _logging(rate: float | None, images: bool | None) -> dict[str, Any]:
    given = {"log_rate": rate, "log_images": images}
    return {name: value for name, value in given.items() if value is not None}


def _change(
    project: str, name: str, checkpoint_id: str | None, calibrator_id: str | None
) -> AliasChange:
    return AliasChange(
        id=new_id("ac"),
        project_id=project,
        name=name,
        checkpoint_id=checkpoint_id,
        calibrator_id=calibrator_id,
    )
