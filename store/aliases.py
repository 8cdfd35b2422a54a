"""Aliases: names that point to checkpoints, with where they pointed before."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from store.database import database_now
from store.errors import NotFound
from store.ids import new_id
from store.pages import Page, fetch_page
from store.tables import AliasChange, ModelAlias


def set_alias(session: Session, project: str, name: str, checkpoint_id: str) -> ModelAlias:
    """Point `name` at a checkpoint of the same project, whether it pointed at one before or not."""
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    values = {"checkpoint_id": checkpoint_id, "updated_at": database_now()}
    session.execute(
        dialect.insert(ModelAlias)
        .values(project_id=project, name=name, **values)
        .on_conflict_do_update(index_elements=["project_id", "name"], set_=values)
    )
    session.add(_change(project, name, checkpoint_id))
    session.flush()
    return session.get_one(ModelAlias, (project, name), populate_existing=True)


def get_alias(session: Session, project: str, name: str) -> ModelAlias:
    """The alias of this name.

    Raises:
        NotFound: the project has none.
    """
    alias = session.get(ModelAlias, (project, name))
    if alias is None:
        raise NotFound("model", name)
    return alias


def list_aliases(
    session: Session, project: str, *, cursor: str | None = None, limit: int = 50
) -> Page[ModelAlias]:
    """Aliases of a project by name."""
    query = select(ModelAlias).where(ModelAlias.project_id == project)
    return fetch_page(
        session, query, ModelAlias.name, cursor=cursor, limit=limit, newest_first=False
    )


def delete_alias(session: Session, project: str, name: str) -> None:
    """Forget an alias; its checkpoint stays.

    Raises:
        NotFound: the project has none of this name.
    """
    mine = ModelAlias.project_id == project, ModelAlias.name == name
    gone = delete(ModelAlias).where(*mine).returning(ModelAlias.name)
    if session.scalar(gone) is None:
        raise NotFound("model", name)
    session.add(_change(project, name, None))
    session.flush()


def alias_history(session: Session, project: str, name: str) -> list[AliasChange]:
    """Every change of an alias, newest first."""
    mine = AliasChange.project_id == project, AliasChange.name == name
    return list(session.scalars(select(AliasChange).where(*mine).order_by(AliasChange.id.desc())))


def _change(project: str, name: str, checkpoint_id: str | None) -> AliasChange:
    return AliasChange(id=new_id("ac"), project_id=project, name=name, checkpoint_id=checkpoint_id)
