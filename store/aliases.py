"""Aliases: names that point to checkpoints, with where they pointed before."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from store.database import database_now
from store.errors import NotFound
from store.ids import new_id
from store.pages import Page, fetch_page
from store.tables import DEFAULT_PROJECT, AliasChange, ModelAlias


def set_alias(session: Session, name: str, checkpoint_id: str) -> ModelAlias:
    """Point `name` at a checkpoint, whether it pointed at one before or not."""
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    values = {"checkpoint_id": checkpoint_id, "updated_at": database_now()}
    session.execute(
        dialect.insert(ModelAlias)
        .values(project_id=DEFAULT_PROJECT, name=name, **values)
        .on_conflict_do_update(index_elements=["project_id", "name"], set_=values)
    )
    session.add(_change(name, checkpoint_id))
    session.flush()
    return session.get_one(ModelAlias, (DEFAULT_PROJECT, name), populate_existing=True)


def get_alias(session: Session, name: str) -> ModelAlias:
    """The alias of this name.

    Raises:
        NotFound: there is none.
    """
    alias = session.get(ModelAlias, (DEFAULT_PROJECT, name))
    if alias is None:
        raise NotFound("model", name)
    return alias


def list_aliases(
    session: Session, *, cursor: str | None = None, limit: int = 50
) -> Page[ModelAlias]:
    """Aliases by name."""
    query = select(ModelAlias)
    return fetch_page(
        session, query, ModelAlias.name, cursor=cursor, limit=limit, newest_first=False
    )


def delete_alias(session: Session, name: str) -> None:
    """Forget an alias; its checkpoint stays.

    Raises:
        NotFound: there is none of this name.
    """
    gone = delete(ModelAlias).where(ModelAlias.name == name).returning(ModelAlias.name)
    if session.scalar(gone) is None:
        raise NotFound("model", name)
    session.add(_change(name, None))
    session.flush()


def alias_history(session: Session, name: str) -> list[AliasChange]:
    """Every change of an alias, newest first."""
    query = select(AliasChange).where(AliasChange.name == name).order_by(AliasChange.id.desc())
    return list(session.scalars(query))


def _change(name: str, checkpoint_id: str | None) -> AliasChange:
    return AliasChange(
        id=new_id("ac"), project_id=DEFAULT_PROJECT, name=name, checkpoint_id=checkpoint_id
    )
