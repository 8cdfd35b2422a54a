"""From a reference in a spec to an opened data set.

`builtin:digits` is bundled, `fashion:` on the machine; everything else is
`SCHEME:PATH`, local files opened as OPENERS says. The service keeps its own ids (`ds_…`) and turns
them into folders before a run starts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import get_args

from PIL import Image

from carot.data import digits
from carot.data.copies import Copies, find_copies, without_copies
from carot.data.fashion import fashion
from carot.data.formats import imagenet
from carot.data.formats.csv_table import open_csv
from carot.data.formats.folder import open_folder
from carot.data.formats.objectnet import open_objectnet
from carot.data.formats.parquet import open_parquet
from carot.data.formats.shards import open_shards
from carot.data.formats.unlabelled import open_unlabelled
from carot.data.shifts.corruptions import CORRUPTIONS, corrupt_image
from carot.data.shifts.shifts import distort_printed, shift_image
from carot.data.source import ImageSource, ShiftedSource
from carot.data.splits import SPLITS
from carot.errors import DataError, SpecError
from carot.specs import PredictSpec, ShiftName, SplitName
from carot.specs.base import FASHION, is_unlabelled

DIGITS = "builtin:digits"
BUILTIN = (DIGITS, FASHION)
OPENERS: dict[str, Callable[[Path, str], ImageSource]] = {
    "folder": open_folder,
    "csv": open_csv,
    "webdataset": open_shards,
    "parquet": open_parquet,
    "objectnet": open_objectnet,
    "fashion": fashion,
    **imagenet.OPENERS,
}


def open_dataset(reference: str, split: str, *, with_copies: bool = False) -> ImageSource:
    """One split of the data set that `reference` names; it may be empty.

    Args:
        with_copies: whether to keep images that an earlier split has as well.

    Raises:
        SpecError: not a reference that can be opened here.
        DataError: what it names cannot be used.
    """
    if split not in SPLITS:
        raise SpecError(f"split {split!r} is none of {', '.join(SPLITS)}", field="split")
    scheme, _, rest = reference.partition(":")
    if is_unlabelled(reference):
        message = f"{reference}: images without classes can only be predicted"
        raise SpecError(message, field="dataset")
    if reference == DIGITS:
        return digits.handwritten_digits(split)
    if reference == FASHION:
        return fashion(None, split)
    if scheme in OPENERS and rest:
        if with_copies:
            return OPENERS[scheme](Path(rest), split)
        return without_copies(partial(OPENERS[scheme], Path(rest)), split)
    raise SpecError(
        f"{reference!r} is no data set: use {', '.join(BUILTIN)} or SCHEME:PATH, "
        f"where SCHEME is one of {', '.join(OPENERS)}",
        field="dataset",
    )


def copies_in(reference: str) -> Copies:
    """The images of a data set that are in two of its splits."""
    scheme, _, rest = reference.partition(":")
    if scheme not in OPENERS or not rest:
        return Copies()
    return find_copies(partial(OPENERS[scheme], Path(rest))).copies


def open_prediction(spec: PredictSpec) -> Sequence[tuple[SplitName | None, ImageSource]]:
    """The images that are to be scored, as the spec's shift shows them, by split.

    The split is None where the data set has none. Those without images are left out.

    Raises:
        SpecError: not a reference that can be opened here.
        DataError: what it names cannot be used, there are no images, or the shift does not go
            with the data set.
    """
    if is_unlabelled(spec.dataset):
        source: ImageSource = open_unlabelled(Path(spec.dataset.partition(":")[2]))
        return [(None, _seen_through(source, spec.shift, spec.severity, "shift"))]
    wanted: Sequence[SplitName] = get_args(SplitName) if spec.split == "all" else [spec.split]
    opened = [(split, _opened_as_it_is(spec, split)) for split in wanted]
    found = [(split, source) for split, source in opened if len(source) > 0]
    if not found:
        where = "" if spec.split == "all" else f" in {spec.split!r}"
        raise DataError(f"{spec.dataset} has no images{where}", field="split")
    return found


def _opened_as_it_is(spec: PredictSpec, split: SplitName) -> ImageSource:
    """A split with all of its images: each has a row in the file of predictions."""
    if spec.shift == "printed":
        return open_shifted(spec.dataset, split, spec.shift, spec.severity, "shift")
    source = open_dataset(spec.dataset, split, with_copies=True)
    return _seen_through(source, spec.shift, spec.severity, "shift")


def open_shifted(
    reference: str, split: SplitName, shift: ShiftName | None, severity: int, field: str
) -> ImageSource:
    """A split as a shift shows it.

    Raises:
        SpecError: not a reference that can be opened here.
        DataError: what it names cannot be used, or the shift does not go with it; `field` is then
            the shift's.
    """
    if shift == "printed" and reference == DIGITS:
        printed = digits.printed_digits(split)
        return ShiftedSource(printed, partial(_printed, severity=severity))
    # The data set first: one that is not there is the greater mistake.
    return _seen_through(open_dataset(reference, split), shift, severity, field)


def _seen_through(
    source: ImageSource, shift: ShiftName | None, severity: int, field: str
) -> ImageSource:
    if shift == "printed":
        raise DataError(f"the shift `printed` goes with {DIGITS} only", field=field)
    if shift is None:
        return source
    return ShiftedSource(source, partial(_shifted, shift=shift, severity=severity))


def _shifted(image: Image.Image, key: str, *, shift: str, severity: int) -> Image.Image:
    change = corrupt_image if shift in CORRUPTIONS else shift_image
    return change(image, shift, severity, key)


def _printed(image: Image.Image, key: str, *, severity: int) -> Image.Image:
    return distort_printed(image, severity, key)
