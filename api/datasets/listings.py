"""The images of a data set, opened to be looked at. No torch.

A data set that was uploaded is a bundle, unpacked where pictures are asked for; files beneath the
server's root are read where they lie.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cachetools import cached

from api.datasets.bundled import DIGITS
from api.datasets.image_list import ImageList
from api.datasets.state import DatasetsState
from api.datasets.unpacked import Bundle
from carot.data.decoding.depth import UNKNOWN, Depth
from carot.data.fashion import fashion
from carot.data.formats.csv_table import open_csv
from carot.data.formats.folder import open_folder
from carot.data.source import ImageSource
from carot.errors import CarotError
from carot.specs.base import FASHION
from store.datasets.datasets import get_dataset
from store.datasets.roots import beneath
from store.errors import NotBeneathRoot, NotFound
from store.retention.deletion import check_there

READ_IN_PLACE = {"folder": open_folder, "csv": open_csv}
PRINTED = "printed"


@dataclass(frozen=True)
class Place:
    """Where the images of a data set are.

    Attributes:
        reference: the data set, as jobs name it.
        bundle: of one that was uploaded.
        depth: how its deep images are read.
    """

    reference: str
    bundle: Bundle | None = None
    depth: Depth = UNKNOWN


def place_of(state: DatasetsState, project: str, reference: str) -> Place:
    """Where the images of a data set are that a job or a report of the project names.

    Raises:
        NotFound: the project has no such data set.
        Gone: it was deleted.
    """
    if not reference.startswith("ds_"):
        return Place(reference)
    with state.database.reading() as session:
        row = get_dataset(session, project, reference)
        check_there(row)
        if row.artifact is None:
            return Place(str(row.source.get("source", "")))
        depth = Depth.of(row.source.get("depth", {}))
        return Place(reference, Bundle.of(row.artifact), depth)


def can_show(state: DatasetsState, reference: str) -> bool:
    """Whether there may be pictures of a data set, without looking."""
    if reference in (DIGITS, FASHION) or reference.startswith("ds_"):
        return True
    return reference.partition(":")[0] in READ_IN_PLACE and state.settings.dataset_root is not None


@contextmanager
def listing(
    state: DatasetsState, place: Place, split: str, shift: str | None
) -> Iterator[ImageList]:
    """The images of a split, whose bytes can be read until the block ends.

    Args:
        shift: `printed` digits are other images than those without.

    Raises:
        NotFound: images of this data set cannot be shown here.
        ArtifactError: its bytes are missing or damaged, or there is no room to unpack them.
    """
    if place.bundle is not None:
        with state.bundles.using(place.bundle) as folder:
            key = ("uploaded", place.bundle.sha256, split)
            yield _known(state, key, lambda: ImageList(open_folder(folder, split), folder))
    elif place.reference == DIGITS:
        printed = shift == PRINTED
        key = ("bundled", split, str(printed))
        yield _known(state, key, lambda: ImageList(_digits(split, printed), None))
    elif place.reference == FASHION:
        key = ("fashion", split, "")
        yield _known(state, key, lambda: ImageList(fashion(None, split), None))
    else:
        yield _in_place(state, place.reference, split)


def _known(state: DatasetsState, key: Hashable, make: Callable[[], ImageList]) -> ImageList:
    """The list of this key; made, perhaps by several threads at once, where it is not known."""
    return cached(state.lists, key=lambda: key, lock=state.lock)(make)()


def _digits(split: str, printed: bool) -> ImageSource:
    from carot.data.digits import handwritten_digits, printed_digits  # scikit-learn takes its time

    return printed_digits(split) if printed else handwritten_digits(split)


def _in_place(state: DatasetsState, reference: str, split: str) -> ImageList:
    scheme, _, relative = reference.partition(":")
    root = state.settings.dataset_root
    if scheme not in READ_IN_PLACE or root is None:
        raise NotFound("images of", reference[:200])
    try:
        path = beneath(root, relative)
        key = (reference, split, path.stat().st_mtime_ns)
        return _known(state, key, lambda: ImageList(READ_IN_PLACE[scheme](path, split), root))
    except (NotBeneathRoot, OSError, CarotError) as error:
        raise NotFound("images of", reference[:200]) from error
