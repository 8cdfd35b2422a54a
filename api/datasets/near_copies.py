"""Images of a data set that look like an image of an earlier split, as its upload was checked."""

from __future__ import annotations

from typing import Any

from api.datasets.image_list import shown
from api.datasets.pictures import picture_of_dataset
from api.datasets.schemas import NearCopyView, PlacedImage
from api.web.schemas import Page
from store.pages import encode_cursor, offset_of
from store.tables import Dataset


def list_near_copies(row: Dataset, cursor: str | None, limit: int) -> Page[NearCopyView]:
    """A page of them, the most alike first.

    Raises:
        BadCursor: not a cursor of ours.
    """
    found = row.source.get("near_copies", [])
    start = offset_of(cursor)
    data = [_view(row.id, each) for each in found[start : start + limit]]
    more = start + limit < len(found)
    return Page(data=data, next_cursor=encode_cursor(str(start + limit)) if more else None)


def _view(dataset_id: str, copy: dict[str, Any]) -> NearCopyView:
    return NearCopyView(
        image=_placed(dataset_id, copy["split"], copy["key"]),
        other=_placed(dataset_id, copy["other_split"], copy["other_key"]),
        likeness=copy["likeness"],
    )


def _placed(dataset_id: str, split: str, key: str) -> PlacedImage:
    return PlacedImage(
        key=shown(key), split=split, picture=picture_of_dataset(dataset_id, split, key)
    )
