"""The rows of things that are none of the classes: which there are, and their images."""

from __future__ import annotations

from carot.data.source import ImageSource
from carot.data.unseen import FIELD, unseen_only
from carot.errors import DataError
from carot.evaluation.rows import open_row
from carot.specs import EvaluationDataset, MeasuringSpec
from carot.specs.runs import UNSEEN


def unseen_rows(spec: MeasuringSpec) -> tuple[EvaluationDataset, ...]:
    """The test images of the classes that are to stay unseen, and the data sets that are marked."""
    own = EvaluationDataset(name=UNSEEN, dataset=spec.dataset, unseen=True)
    named = tuple(row for row in spec.evaluation.datasets or () if row.unseen)
    return (own, *named) if spec.unseen else named


def open_unseen(
    spec: MeasuringSpec, known: tuple[str, ...]
) -> list[tuple[EvaluationDataset, ImageSource]]:
    """Every such row with its images, without those of the classifier's classes.

    Args:
        known: the classifier's classes.

    Raises:
        SpecError: not a reference that can be opened here.
        DataError: no image of an unseen class; `field` is `unseen` or the row.
    """
    opened: list[tuple[EvaluationDataset, ImageSource]] = []
    for row in unseen_rows(spec):
        own = row.name == UNSEEN and bool(spec.unseen)
        field = FIELD if own else f"evaluation.datasets[{row.name}]"
        source = unseen_only(open_row(row, field), known)
        found = {source.classes[label] for label in set(source.labels.tolist())}
        absent = [name for name in spec.unseen if name not in found] if own else []
        if absent:
            raise DataError(f"{row.dataset}: no test image of {', '.join(absent)}", field=field)
        if len(source) == 0:
            why = "no image of another class than the classifier's"
            raise DataError(f"{row.name}: the split {row.split!r} has {why}", field=field)
        opened.append((row, source))
    return opened
