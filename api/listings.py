"""The images of a data set by name: what there is to look at, and the bytes of one. No torch.

A data set that was uploaded is a bundle, unpacked where pictures are asked for; files beneath the
server's root are read where they lie. A name from a request is only ever looked up among those of
the listing: it never becomes a path.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from api.checks import DIGITS
from api.context import Context
from api.unpacked import Bundle
from carot.data.folder import FileSource, open_csv, open_folder
from carot.data.source import ImageSource
from carot.errors import CarotError
from store.datasets import get_dataset
from store.deletion import check_there
from store.errors import NotBeneathRoot, NotFound
from store.roots import beneath

READ_IN_PLACE = {"folder": open_folder, "csv": open_csv}
PRINTED = "printed"


@dataclass(frozen=True)
class Place:
    """Where the images of a data set are.

    Attributes:
        reference: the data set, as jobs name it.
        bundle: of one that was uploaded.
    """

    reference: str
    bundle: Bundle | None = None


class Listing:
    """The images of one split.

    Attributes:
        source: opened as evaluation opens it, without shift.
        root: what files must lie beneath; None where there are none.
    """

    def __init__(self, source: ImageSource, root: Path | None) -> None:
        self.source = source
        self._root = root

    @cached_property
    def order(self) -> list[int]:
        """All of them, in an order that is always the same and mixes the classes."""
        keys = self.source.keys
        return sorted(
            range(len(keys)), key=lambda i: hashlib.sha256(shown(keys[i]).encode()).digest()
        )

    def index(self, name: str) -> int:
        """Which image has this name.

        Raises:
            NotFound: none.
        """
        found = self._places.get(name)
        if found is None:
            raise NotFound("image", name[:200])
        return found

    def content(self, index: int) -> bytes:
        """The encoded image.

        Raises:
            NotFound: its file is gone, or leads elsewhere.
        """
        if not isinstance(self.source, FileSource):
            file = io.BytesIO()
            self.source.image(index).save(file, "PNG", compress_level=1)
            return file.getvalue()
        path = self.source.items[index].path
        try:
            real = path.resolve(strict=True)
            if self._root is not None and real.is_relative_to(self._root.resolve()):
                return real.read_bytes()
        except (OSError, RuntimeError):
            pass
        raise NotFound("image", shown(self.source.keys[index])[:200])

    @cached_property
    def _places(self) -> dict[str, int]:
        return {shown(key): i for i, key in enumerate(self.source.keys)}


def shown(key: str) -> str:
    """The name of an image in answers: file names can hold bytes that are no text."""
    return key.encode("utf-8", "backslashreplace").decode("utf-8")


def place_of(context: Context, project: str, reference: str) -> Place:
    """Where the images of a data set are that a job or a report of the project names.

    Raises:
        NotFound: the project has no such data set.
        Gone: it was deleted.
    """
    if not reference.startswith("ds_"):
        return Place(reference)
    with context.database.reading() as session:
        row = get_dataset(session, project, reference)
        check_there(row)
        if row.artifact is None:
            return Place(str(row.source.get("source", "")))
        return Place(reference, Bundle.of(row.artifact))


def can_show(context: Context, reference: str) -> bool:
    """Whether there may be pictures of a data set, without looking."""
    if reference == DIGITS or reference.startswith("ds_"):
        return True
    return (
        reference.partition(":")[0] in READ_IN_PLACE and context.settings.dataset_root is not None
    )


@contextmanager
def listing(context: Context, place: Place, split: str, shift: str | None) -> Iterator[Listing]:
    """The images of a split, whose bytes can be read until the block ends.

    Args:
        shift: `printed` digits are other images than those without.

    Raises:
        NotFound: images of this data set cannot be shown here.
        ArtifactError: its bytes are missing or damaged, or there is no room to unpack them.
    """
    if place.bundle is not None:
        with context.bundles.using(place.bundle) as folder:
            key = ("listing", place.bundle.sha256, split)
            yield context.listings.get_or_make(
                key, lambda: Listing(open_folder(folder, split), folder)
            )
    elif place.reference == DIGITS:
        printed = shift == PRINTED
        key = ("listing", DIGITS, f"{split} {printed}")
        yield context.listings.get_or_make(key, lambda: Listing(_digits(split, printed), None))
    else:
        yield _in_place(context, place.reference, split)


def _digits(split: str, printed: bool) -> ImageSource:
    from carot.data.digits import handwritten_digits, printed_digits  # scikit-learn takes its time

    return printed_digits(split) if printed else handwritten_digits(split)


def _in_place(context: Context, reference: str, split: str) -> Listing:
    scheme, _, relative = reference.partition(":")
    root = context.settings.dataset_root
    if scheme not in READ_IN_PLACE or root is None:
        raise NotFound("images of", reference[:200])
    try:
        path = beneath(root, relative)
        key = ("listing", reference, split, path.stat().st_mtime_ns)
        return context.listings.get_or_make(
            key, lambda: Listing(READ_IN_PLACE[scheme](path, split), root)
        )
    except (NotBeneathRoot, OSError, CarotError) as error:
        raise NotFound("images of", reference[:200]) from error
