"""From a reference in a spec to an opened data set.

`builtin:digits` is bundled; everything else is `SCHEME:PATH`, local files opened as OPENERS says.
The service keeps its own ids (`ds_…`) and turns them into folders before a run starts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from PIL import Image

from carot.data import digits
from carot.data.folder import open_csv, open_folder
from carot.data.parquet import open_parquet
from carot.data.shards import open_shards
from carot.data.shifts import distort_printed, shift_image
from carot.data.source import ImageSource, ShiftedSource
from carot.data.splits import SPLITS
from carot.errors import ClassMismatch, DataError, SpecError
from carot.prompts import DEFAULT_TEMPLATES
from carot.specs import SHIFT_NAMES, EvaluationDataset, EvaluationSpec, SplitName

DIGITS = "builtin:digits"
BUILTIN = (DIGITS,)
OPENERS: dict[str, Callable[[Path, str], ImageSource]] = {
    "folder": open_folder,
    "csv": open_csv,
    "webdataset": open_shards,
    "parquet": open_parquet,
}


def open_dataset(reference: str, split: str) -> ImageSource:
    """One split of the data set that `reference` names; it may be empty.

    Raises:
        SpecError: not a reference that can be opened here.
        DataError: what it names cannot be used.
    """
    if split not in SPLITS:
        raise SpecError(f"split {split!r} is none of {', '.join(SPLITS)}", field="split")
    scheme, _, rest = reference.partition(":")
    if reference == DIGITS:
        return digits.handwritten_digits(split)
    if scheme in OPENERS and rest:
        return OPENERS[scheme](Path(rest), split)
    raise SpecError(
        f"{reference!r} is no data set: use {', '.join(BUILTIN)} or SCHEME:PATH, "
        f"where SCHEME is one of {', '.join(OPENERS)}",
        field="dataset",
    )


def open_evaluation(row: EvaluationDataset, classes: tuple[str, ...]) -> ImageSource:
    """The images of one row of a report, shifted as the row says.

    Raises:
        DataError: the split is empty, or the shift does not go with the data set.
        ClassMismatch: its classes are not exactly `classes`.
    """
    field = f"evaluation.datasets[{row.name}]"
    if row.shift == "printed":
        if row.dataset != DIGITS:
            raise DataError(f"the shift `printed` goes with {DIGITS} only", field=f"{field}.shift")
        source: ImageSource = ShiftedSource(
            digits.printed_digits(row.split), partial(_printed, severity=row.severity)
        )
    else:
        source = open_dataset(row.dataset, row.split)
        if row.shift is not None:
            change = partial(_shifted, shift=row.shift, severity=row.severity)
            source = ShiftedSource(source, change)
    if source.classes != classes:
        raise ClassMismatch(_difference(source.classes, classes, row.name), field=field)
    if len(source) == 0:
        raise DataError(f"{row.name}: the split {row.split!r} has no images", field=field)
    return source


def evaluation_rows(spec: EvaluationSpec, dataset: str) -> tuple[EvaluationDataset, ...]:
    """The rows of the report: as the spec says, or the default ones for `dataset`.

    The default is the test split in distribution (validation where there is no test split); for
    the bundled digits also every shift at each of `spec.severities`.
    """
    if spec.datasets is not None:
        return spec.datasets
    split: SplitName = "test" if len(open_dataset(dataset, "test")) > 0 else "validation"
    rows = [EvaluationDataset(name=split, dataset=dataset, split=split, in_distribution=True)]
    if dataset == DIGITS:
        rows += [
            EvaluationDataset(
                name=f"{shift}-{severity}", dataset=DIGITS, shift=shift, severity=severity
            )
            for shift in (*SHIFT_NAMES, "printed")
            for severity in spec.severities
        ]
    return tuple(rows)


def default_templates(dataset: str) -> tuple[str, ...]:
    """The caption templates that go with a data set when a spec names none."""
    return digits.TEMPLATES if dataset == DIGITS else DEFAULT_TEMPLATES


def _shifted(image: Image.Image, key: str, *, shift: str, severity: int) -> Image.Image:
    return shift_image(image, shift, severity, key)


def _printed(image: Image.Image, key: str, *, severity: int) -> Image.Image:
    return distort_printed(image, severity, key)


def _difference(found: tuple[str, ...], wanted: tuple[str, ...], name: str) -> str:
    missing = sorted(set(wanted) - set(found))
    extra = sorted(set(found) - set(wanted))
    parts = []
    if missing:
        parts.append(f"lacks {', '.join(missing[:10])}")
    if extra:
        parts.append(f"has {', '.join(extra[:10])} besides")
    return f"{name}: its classes differ from those of training: it " + (
        " and ".join(parts) or "lists them in another order"
    )
