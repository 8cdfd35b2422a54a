"""Data sets that jobs can name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.errors import NotFound
from store.ids import new_id
from store.pages import Page, fetch_page, has_in
from store.tables import Artifact, Dataset


def create_dataset(
    session: Session,
    project: str,
    *,
    name: str,
    source: Mapping[str, Any],
    classes: Sequence[str],
    splits: Mapping[str, Mapping[str, int]],
    images: int,
    bytes: int,
    artifact: Artifact | None,
) -> Dataset:
    """A new data set; `artifact` is its bundle, just committed, or None for a bundled one."""
    dataset = Dataset(
        id=new_id("ds"),
        project_id=project,
        name=name,
        source=dict(source),
        classes=list(classes),
        splits={split: dict(counts) for split, counts in splits.items()},
        images=images,
        bytes=bytes,
        artifact=artifact,
    )
    session.add(dataset)
    session.flush()
    session.refresh(dataset)
    return dataset


def get_dataset(session: Session, project: str, dataset_id: str) -> Dataset:
    """The data set with this id.

    Raises:
        NotFound: the project has none.
    """
    query = select(Dataset).where(Dataset.id == dataset_id, Dataset.project_id == project)
    dataset = session.scalar(query)
    if dataset is None:
        raise NotFound("dataset", dataset_id)
    return dataset


def list_datasets(
    session: Session,
    project: str,
    *,
    search: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[Dataset]:
    """Data sets of a project that can be used, newest first.

    Args:
        search: somewhere in name or id, in whatever case.
    """
    query = select(Dataset).where(Dataset.project_id == project, Dataset.deleted_at.is_(None))
    if search:
        query = query.where(has_in(search, Dataset.name, Dataset.id))
    return fetch_page(session, query, Dataset.id, cursor=cursor, limit=limit)
