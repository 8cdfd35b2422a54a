"""Some images of a data set, to look at. Blocking."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from api.datasets.image_list import shown
from api.datasets.listings import Place, listing, place_of
from api.datasets.pictures import picture_of_dataset
from api.datasets.schemas import SampleView
from api.datasets.state import DatasetsState
from api.web.problems import invalid
from api.web.schemas import Page
from carot.data.splits import SPLITS
from store.datasets.datasets import get_dataset
from store.pages import encode_cursor, offset_of


@dataclass(frozen=True)
class Wanted:
    """Which images; None stands for all."""

    split: str | None
    class_name: str | None


def list_samples(
    state: DatasetsState,
    project: str,
    dataset_id: str,
    wanted: Wanted,
    cursor: str | None,
    limit: int,
) -> Page[SampleView]:
    """A page of samples: split by split, and within each in an order that mixes the classes.

    Raises:
        NotFound: the project has no such data set.
        Gone: it was deleted.
        BadCursor: not a cursor of ours.
        Problem: 422, it has no such class.
    """
    with state.database.reading() as session:
        row = get_dataset(session, project, dataset_id)
        classes, counts = list(row.classes), dict(row.splits)
    if wanted.class_name is not None and wanted.class_name not in classes:
        raise invalid("class", f"the data set has no class {wanted.class_name[:100]!r}")
    start = offset_of(cursor)
    place = place_of(state, project, dataset_id)
    # Splits that are known to be empty need not be opened.
    splits = [s for s in SPLITS if wanted.split in (None, s) and counts.get(s)]
    found = _samples(state, place, dataset_id, splits, wanted.class_name)
    data = list(islice(found, start, start + limit + 1))
    more = len(data) > limit
    return Page(data=data[:limit], next_cursor=encode_cursor(str(start + limit)) if more else None)


def _samples(
    state: DatasetsState, place: Place, dataset_id: str, splits: list[str], class_name: str | None
) -> Iterator[SampleView]:
    for split in splits:
        with listing(state, place, split, None) as images:
            source = images.source
        for i in images.order:
            label = source.classes[source.labels[i]]
            if class_name in (None, label):
                key = source.keys[i]
                yield SampleView(
                    key=shown(key),
                    class_=label,
                    split=split,
                    picture=picture_of_dataset(dataset_id, split, key),
                )
