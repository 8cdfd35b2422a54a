"""What a report says of single classes: the worst calibrated ones, and what is taken for what.

Shape suffixes: N images, K classes of the data set.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from carot.calibration.metrics.classes_and_mistakes import (
    ClassDetail,
    answer_counts,
    class_details,
)
from carot.calibration.metrics.intervals import wilson_interval
from carot.evaluation.figures import LISTED_CLASSES, ClassFigures, Confused, WorstClasses


def worst_classes(
    log_NK: Tensor, labels_N: Tensor, names: Sequence[str], *, ranked_by: Tensor | None = None
) -> WorstClasses:
    """The classes whose confidence is farthest from their accuracy, and how answers are confused.

    Args:
        log_NK: logits or log-probabilities as they are served.
        names: of the K classes; none where they are not known, which are numbered then.
        ranked_by: see `carot.calibration.metrics.metrics.compute_metrics`.

    Raises:
        CalibrationError: empty, misshapen or non-finite input, labels out of range.
    """
    names = names or tuple(map(str, range(log_NK.shape[1])))
    details = class_details(log_NK, labels_N, ranked_by=ranked_by)
    figures = [_figures(each, name, names) for each, name in zip(details, names, strict=True)]
    gaps = sorted(
        (each for each in figures if each is not None and _beyond(each) > 0),
        key=_beyond,
        reverse=True,
    )
    counts = answer_counts(log_NK, labels_N, ranked_by=ranked_by)
    wrong = sorted(
        (each for each in counts.items() if each[0][0] != each[0][1]), key=lambda each: -each[1]
    )
    few = len(names) <= LISTED_CLASSES
    return WorstClasses(
        gaps=tuple(gaps[:LISTED_CLASSES]),
        confused=tuple(
            Confused(label=names[label], answer=names[answer], images=images)
            for (label, answer), images in wrong[:LISTED_CLASSES]
        ),
        names=tuple(names) if few else (),
        confusion=_matrix(counts, len(names)) if few else None,
    )


def _figures(detail: ClassDetail, name: str, names: Sequence[str]) -> ClassFigures | None:
    if detail.mean_confidence is None:
        return None
    other = detail.confused_with
    accuracy = detail.right / detail.images
    return ClassFigures(
        name=name,
        images=detail.images,
        accuracy=accuracy,
        accuracy_interval=wilson_interval(detail.right, detail.images),
        mean_confidence=min(1.0, detail.mean_confidence),
        gap=detail.mean_confidence - accuracy,
        confused_with=None if other is None else names[other],
        confused=detail.confused,
    )


def _beyond(figures: ClassFigures) -> float:
    """How far the mean confidence lies outside the interval of the accuracy."""
    low, high = figures.accuracy_interval
    return max(low - figures.mean_confidence, figures.mean_confidence - high)


def _matrix(counts: dict[tuple[int, int], int], classes: int) -> tuple[tuple[int, ...], ...]:
    return tuple(
        tuple(counts.get((label, answer), 0) for answer in range(classes))
        for label in range(classes)
    )
