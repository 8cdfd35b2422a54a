"""Details of a report, from its stored logits. Blocking; loads torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from api.datasets.image_list import shown
from api.datasets.listings import can_show
from api.reports.outputs import Measured, Outputs, calibrated, outputs, ranked_by
from api.reports.schemas import ClassesView, ClassView, ConfidenceName, MistakesView, MistakeView
from api.reports.state import ReportsState
from carot.calibration.metrics.intervals import wilson_interval

if TYPE_CHECKING:
    from torch import Tensor

    from carot.calibration.metrics.classes_and_mistakes import ClassDetail, Mistake

MOST_MISTAKES = 200


@dataclass(frozen=True)
class _Served:
    """The outputs on one data set and the confidences that go by."""

    kept: Outputs
    confidence: ConfidenceName
    log_NK: Tensor
    raw_NK: Tensor
    labels_N: Tensor
    ranked_by: Tensor | None


def classes_of(state: ReportsState, report: Measured, index: int) -> ClassesView:
    """Every class of one data set.

    Raises:
        Problem: 409, no logits are stored.
    """
    from carot.calibration.metrics.classes_and_mistakes import class_details

    served = _served(state, report, index)
    found = class_details(served.log_NK, served.labels_N, ranked_by=served.ranked_by)
    names = served.kept.classes
    return ClassesView(
        report_id=report.report_id,
        dataset=report.rows[index]["name"],
        confidence=served.confidence,
        data=[_class(names[i], detail, names) for i, detail in enumerate(found)],
    )


def mistakes_of(state: ReportsState, report: Measured, index: int) -> MistakesView:
    """The worst MOST_MISTAKES on one data set.

    Raises:
        Problem: 409, no logits are stored.
    """
    from carot.calibration.metrics.classes_and_mistakes import worst_mistakes

    served = _served(state, report, index)
    count, found = worst_mistakes(
        served.log_NK,
        served.raw_NK,
        served.labels_N,
        MOST_MISTAKES,
        ranked_by=served.ranked_by,
    )
    return MistakesView(
        report_id=report.report_id,
        dataset=report.rows[index]["name"],
        confidence=served.confidence,
        images=len(served.kept.keys),
        mistakes=count,
        data=[_mistake(state, report, index, each, served.kept) for each in found],
    )


def _served(state: ReportsState, report: Measured, index: int) -> _Served:
    from torch import from_numpy

    kept = outputs(state, report, index)
    raw_NK, labels_N = from_numpy(kept.logits_NK), from_numpy(kept.labels_N)
    log_NK = calibrated(report, kept)
    if log_NK is None:
        return _Served(kept, "raw", raw_NK, raw_NK, labels_N, None)
    return _Served(kept, "calibrated", log_NK, raw_NK, labels_N, ranked_by(report, kept))


def _class(name: str, detail: ClassDetail, names: tuple[str, ...]) -> ClassView:
    images, other = detail.images, detail.confused_with
    return ClassView(
        name=name,
        images=images,
        accuracy=detail.right / images if images else None,
        accuracy_interval=wilson_interval(detail.right, images) if images else None,
        mean_confidence=detail.mean_confidence,
        ece=detail.ece,
        confused_with=None if other is None else names[other],
        confused=detail.confused,
    )


def _mistake(
    state: ReportsState, report: Measured, index: int, mistake: Mistake, kept: Outputs
) -> MistakeView:
    key = kept.keys[mistake.index]
    return MistakeView(
        key=shown(key),
        label=kept.classes[mistake.label],
        prediction=kept.classes[mistake.prediction],
        confidence=mistake.confidence,
        raw_confidence=mistake.raw_confidence,
        label_confidence=mistake.label_confidence,
        picture=_picture_of(state, report, index, key),
    )


def _picture_of(state: ReportsState, report: Measured, index: int, key: str) -> str | None:
    """Path of the picture of an image as it was measured; None where there can be none."""
    row = report.rows[index]
    if not can_show(state.datasets, row["dataset"]):
        return None
    query = urlencode({"dataset": row["name"], "key": shown(key)})
    return f"/reports/{report.report_id}/image?{query}"
