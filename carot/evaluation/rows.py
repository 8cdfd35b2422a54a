"""The rows of a report: which data sets are measured, and each of them opened."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from carot.data.label_space import LabelSpace, label_space
from carot.data.resolve import DIGITS, open_dataset, open_shifted
from carot.data.source import ImageSource
from carot.data.unseen import without_unseen
from carot.errors import DataError, SpecError
from carot.evaluation.suites import suite_rows
from carot.specs import CalibrationSpec, EvaluationDataset, EvaluationSpec, SplitName


@dataclass(frozen=True)
class Opened:
    """A row of a report, ready to be measured: its images, and among which classes."""

    source: ImageSource
    label_space: LabelSpace


def evaluation_rows(spec: EvaluationSpec, dataset: str) -> tuple[EvaluationDataset, ...]:
    """The rows of the report: as the spec or its suite says, or the default ones for `dataset`.

    Those of unseen classes are no such rows: `carot.evaluation.unseen_rows` has them.

    The default is the suite `digits` for the bundled digits, else the test split in distribution
    (validation where there is no test split).
    """

    def measured() -> SplitName:
        return "test" if len(open_dataset(dataset, "test")) > 0 else "validation"

    if spec.datasets is not None:
        return tuple(row for row in spec.datasets if not row.unseen)
    suite = spec.suite or ("digits" if dataset == DIGITS else None)
    if suite is not None:
        return suite_rows(suite, spec, dataset=dataset, split=measured)
    split = measured()
    return (EvaluationDataset(name=split, dataset=dataset, split=split, in_distribution=True),)


def open_evaluation(
    row: EvaluationDataset,
    classes: tuple[str, ...],
    field: str | None = None,
    unseen: Collection[str] = (),
) -> Opened:
    """The images of one row of a report, shifted as the row says, and their label space.

    Args:
        classes: the classifier's.
        field: where the row stands in the spec; None for `evaluation.datasets`.
        unseen: classes whose images are left out.

    Raises:
        SpecError: not a reference that can be opened here.
        DataError: the split is empty, or the shift does not go with the data set.
        ClassMismatch: its classes are not exactly `classes`, and the row does not say `restrict`;
            or they are not even among them.
    """
    field = field or f"evaluation.datasets[{row.name}]"
    source = without_unseen(open_row(row, field), unseen)
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


def open_domains(
    spec: CalibrationSpec, classes: tuple[str, ...], unseen: Collection[str] = ()
) -> list[tuple[str, Opened]]:
    """The domains' images by name, without those of unseen classes.

    Raises:
        SpecError, DataError, ClassMismatch: one cannot be used; `field` says which.
    """
    opened = []
    for domain in spec.domains:
        row = EvaluationDataset.model_validate(domain.model_dump())
        where = f"calibration.domains[{domain.name}]"
        opened.append((domain.name, open_evaluation(row, classes, where, unseen)))
    return opened


def open_row(row: EvaluationDataset, field: str) -> ImageSource:
    """The images of a row as its shift shows them, of all of its data set's classes.

    Raises:
        SpecError, DataError: see `open_evaluation`.
    """
    try:
        return open_shifted(row.dataset, row.split, row.shift, row.severity, f"{field}.shift")
    except (DataError, SpecError) as error:
        if error.field == "dataset":
            error.field = f"{field}.dataset"
        raise
