"""Projects: who owns what."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from store.errors import NotFound
from store.ids import new_id
from store.tables import Project


def ensure_project(session: Session, name: str) -> Project:
    """The project of this name, made when there is none."""
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    session.execute(
        dialect.insert(Project)
        .values(id=new_id("proj"), name=name)
        .on_conflict_do_nothing(index_elements=["name"])
    )
    return session.scalars(select(Project).where(Project.name == name)).one()


def get_project(session: Session, project_id: str) -> Project:
    """The project with this id.

    Raises:
        NotFound: there is none.
    """
    project = session.get(Project, project_id)
    if project is None:
        raise NotFound("project", project_id)
    return project


def find_project(session: Session, name: str) -> Project:
    """The project of this name.

    Raises:
        NotFound: there is none.
    """
    project = session.scalar(select(Project).where(Project.name == name))
    if project is None:
        raise NotFound("project", name)
    return project
