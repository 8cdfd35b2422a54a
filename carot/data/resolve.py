"""From a reference in a spec to an opened data set.

`builtin:digits` is bundled; everything else is `SCHEME:PATH`, local files opened as OPENERS says.
The service keeps its own ids (`ds_…`) and turns them into folders before a run starts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

from PIL import Image

from carot.data import digits, imagenet
from carot.data.corruptions import CORRUPTIONS, corrupt_image
from carot.data.folder import open_csv, open_folder
from carot.data.objectnet import open_objectnet
from carot.data.parquet import open_parquet
from carot.data.shards import open_shards
from carot.data.shifts import distort_printed, shift_image
from carot.data.source import ImageSource, ShiftedSource
from carot.data.splits import SPLITS
from carot.data.unlabelled import open_unlabelled
from carot.data.wordnet import are_imagenet, imagenet_templates
from carot.errors import DataError, SpecError
from carot.label_space import LabelSpace, label_space
from carot.prompts import DEFAULT_TEMPLATES
from carot.specs import EvaluationDataset, EvaluationSpec, PredictSpec, ShiftName, SplitName
from carot.specs.base import is_unlabelled
from carot.suites import suite_rows

DIGITS = "builtin:digits"
BUILTIN = (DIGITS,)
OPENERS: dict[str, Callable[[Path, str], ImageSource]] = {
    "folder": open_folder,
    "csv": open_csv,
    "webdataset": open_shards,
    "parquet": open_parquet,
    "objectnet": open_objectnet,
    **imagenet.OPENERS,
}


@dataclass(frozen=True)
class Opened:
    """A row of a report, ready to be measured: its images, and among which classes."""

    source: ImageSource
    label_space: LabelSpace


def open_dataset(reference: str, split: str) -> ImageSource:
    """One split of the data set that `reference` names; it may be empty.

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
    if scheme in OPENERS and rest:
        return OPENERS[scheme](Path(rest), split)
    raise SpecError(
        f"{reference!r} is no data set: use {', '.join(BUILTIN)} or SCHEME:PATH, "
        f"where SCHEME is one of {', '.join(OPENERS)}",
        field="dataset",
    )


def open_evaluation(
    row: EvaluationDataset, classes: tuple[str, ...], field: str | None = None
) -> Opened:
    """The images of one row of a report, shifted as the row says, and their label space.

    Args:
        classes: the classifier's.
        field: where the row stands in the spec; None for `evaluation.datasets`.

    Raises:
        SpecError: not a reference that can be opened here.
        DataError: the split is empty, or the shift does not go with the data set.
        ClassMismatch: its classes are not exactly `classes`, and the row does not say `restrict`;
            or they are not even among them.
    """
    field = field or f"evaluation.datasets[{row.name}]"
    try:
        source = _open_row(row, field)
    except (DataError, SpecError) as error:
        if error.field == "dataset":
            error.field = f"{field}.dataset"
        raise
    space = label_space(
        source.classes,
        classes,
        members=source.members,
        restrict=row.restrict,
        name=row.name,
        field=field,
    )
    if len(source) == 0:
        raise DataError(f"{row.name}: the split {row.split!r} has no images", field=field)
    return Opened(source, space)


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
    opened = [
        (split, _open_shifted(spec.dataset, split, spec.shift, spec.severity, "shift"))
        for split in wanted
    ]
    found = [(split, source) for split, source in opened if len(source) > 0]
    if not found:
        where = "" if spec.split == "all" else f" in {spec.split!r}"
        raise DataError(f"{spec.dataset} has no images{where}", field="split")
    return found


def evaluation_rows(spec: EvaluationSpec, dataset: str) -> tuple[EvaluationDataset, ...]:
    """The rows of the report: as the spec or its suite says, or the default ones for `dataset`.

    The default is the suite `digits` for the bundled digits, else the test split in distribution
    (validation where there is no test split).
    """

    def measured() -> SplitName:
        return "test" if len(open_dataset(dataset, "test")) > 0 else "validation"

    if spec.datasets is not None:
        return spec.datasets
    suite = spec.suite or ("digits" if dataset == DIGITS else None)
    if suite is not None:
        return suite_rows(suite, spec, dataset=dataset, split=measured)
    split = measured()
    return (EvaluationDataset(name=split, dataset=dataset, split=split, in_distribution=True),)


def default_templates(dataset: str, classes: Sequence[str]) -> tuple[str, ...]:
    """The caption templates that go with a data set and its classes when a spec names none."""
    if dataset == DIGITS:
        return digits.TEMPLATES
    return imagenet_templates() if are_imagenet(classes) else DEFAULT_TEMPLATES


def _open_row(row: EvaluationDataset, field: str) -> ImageSource:
    return _open_shifted(row.dataset, row.split, row.shift, row.severity, f"{field}.shift")


def _open_shifted(
    reference: str, split: SplitName, shift: ShiftName | None, severity: int, field: str
) -> ImageSource:
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
