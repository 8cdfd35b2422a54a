"""Data sets that jobs can name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.errors import NotFound
from store.ids import new_id
from store.pages import Page, fetch_page
from store.tables import DEFAULT_PROJECT, Artifact, Dataset


def create_dataset(
    session: Session,
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
        project_id=DEFAULT_PROJECT,
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


def get_dataset(session: Session, dataset_id: str) -> Dataset:
    """The data set with this id.

    Raises:
        NotFound: there is none.
    """
    dataset = session.get(Dataset, dataset_id)
    if dataset is None:
        raise NotFound("dataset", dataset_id)
    return dataset


def list_datasets(session: Session, *, cursor: str | None = None, limit: int = 50) -> Page[Dataset]:
    """Data sets that can be used, newest first."""
    query = select(Dataset).where(Dataset.deleted_at.is_(None))
    return fetch_page(session, query, Dataset.id, cursor=cursor, limit=limit)
