"""Compares reports by their stored logits. Blocking, and loads torch.

Shape suffixes: N images, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from api.comparisons.schemas import (
    ComparedDataset,
    ComparedModel,
    Comparison,
    DifferenceView,
    Figures,
    LeftOut,
    ModelFigures,
)
from api.reports.outputs import Measured, Outputs, calibrated, outputs, ranked_by
from api.reports.schemas import ConfidenceName
from api.reports.state import ReportsState
from api.web.problems import Problem

if TYPE_CHECKING:
    from torch import Tensor

    from carot.calibration.metrics.comparing import Contributions, Tested

LEVEL = 0.05
Identity = tuple[str, str, str | None, int | None]


class NotPaired(Exception):
    """A data set on which the models cannot be compared. Its text is the reason."""

    def __init__(self, reason: str, *, classes: bool = False) -> None:
        super().__init__(reason)
        self.classes = classes


@dataclass(frozen=True)
class _Row:
    """A data set: what each report says of it, and what was found."""

    said: Sequence[Mapping[str, Any]]
    tested: list[list[Tested]]


def compare_reports(
    state: ReportsState, reports: Sequence[Measured], confidence: ConfidenceName
) -> Comparison:
    """Every report beside the first, on the data sets that they share.

    Raises:
        Problem: 422, there is no data set on which they can be compared.
    """
    rows: list[_Row] = []
    left_out: list[LeftOut] = []
    faults: list[NotPaired] = []
    for name, places in _shared(reports):
        try:
            if places is None:
                raise NotPaired("not every one of the reports has it")
            rows.append(_compared(state, reports, places, confidence))
        except NotPaired as fault:
            faults.append(fault)
            left_out.append(LeftOut(name=name, reason=str(fault)))
    if not rows:
        raise _nothing_shared(left_out, faults)
    return _view(reports, rows, left_out, confidence)


def _shared(reports: Sequence[Measured]) -> Iterator[tuple[str, list[int] | None]]:
    """Each data set that a report has: its name, and its place in each where all have it."""
    places = [{_identity(row): i for i, row in enumerate(report.rows)} for report in reports]
    names = {
        identity: str(report.rows[i]["name"])
        for report, known in zip(reversed(reports), reversed(places), strict=True)
        for identity, i in known.items()
    }
    order = dict.fromkeys(identity for known in places for identity in known)
    for identity in order:
        everywhere = all(identity in known for known in places)
        yield names[identity], [known[identity] for known in places] if everywhere else None


def _identity(row: Mapping[str, Any]) -> Identity:
    return row["dataset"], row["split"], row.get("shift"), row.get("severity")


def _compared(
    state: ReportsState,
    reports: Sequence[Measured],
    places: Sequence[int],
    confidence: ConfidenceName,
) -> _Row:
    from torch import from_numpy

    from carot.calibration.metrics.comparing import compare, contributions

    first: Outputs | None = None
    added: list[Contributions] = []
    for report, place in zip(reports, places, strict=True):
        kept = outputs(state, report, place)
        first = first or kept
        order_N = _order(first, kept)
        log_NK, ranking_NK = _log(report, kept, confidence)
        labels_N = from_numpy(kept.labels_N)[order_N]
        raw_NK = None if ranking_NK is None else ranking_NK[order_N]
        # One model's logits at a time: of ImageNet's size, those of ten are gigabytes.
        added.append(contributions(log_NK[order_N], labels_N, ranked_by=raw_NK))
    said = [report.rows[place] for report, place in zip(reports, places, strict=True)]
    return _Row(said, compare(added))


def _order(first: Outputs, other: Outputs) -> NDArray[np.int64]:
    """Where the other has each of the first one's images."""
    if first.classes != other.classes:
        raise NotPaired("its classes differ between the reports", classes=True)
    where = {key: i for i, key in enumerate(other.keys)}
    missing = sum(key not in where for key in first.keys)
    if missing or len(first.keys) != len(other.keys):
        raise NotPaired(
            f"measured on other images: of {len(first.keys)} in one report, {missing} are not "
            f"among the {len(other.keys)} of another"
        )
    order_N = np.array([where[key] for key in first.keys], dtype=np.int64)
    if not np.array_equal(first.labels_N, other.labels_N[order_N]):
        raise NotPaired("the same images have other labels")
    return order_N


def _log(
    report: Measured, kept: Outputs, confidence: ConfidenceName
) -> tuple[Tensor, Tensor | None]:
    """Logits or calibrated log-probabilities, and the logits that say which class is on top."""
    from torch import from_numpy

    if confidence == "raw" or report.calibrator is None:
        return from_numpy(kept.logits_NK), None
    log_NK = calibrated(report, kept)
    if log_NK is None:
        raise NotPaired(
            f"{report.report_id} kept no calibrated confidences of it; compare the raw ones"
        )
    return log_NK, ranked_by(report, kept)


def _nothing_shared(left_out: Sequence[LeftOut], faults: Sequence[NotPaired]) -> Problem:
    code = "invalid_data"
    if faults and all(fault.classes for fault in faults):
        code = "class_mismatch"
    detail = "there is no data set on which all of them can be compared"
    if left_out:
        detail += f": {left_out[0].name}: {left_out[0].reason}"
    errors = [("checkpoint", f"{each.name}: {each.reason}") for each in left_out]
    return Problem(422, code, detail, errors=errors[:100])


def _view(
    reports: Sequence[Measured],
    rows: Sequence[_Row],
    left_out: Sequence[LeftOut],
    confidence: ConfidenceName,
) -> Comparison:
    from carot.calibration.metrics.comparing import holm

    tests = [each for row in rows for model in row.tested for each in model]
    adjusted = iter(holm([each.p_value for each in tests]))
    datasets = []
    for row in rows:
        found = [
            _difference(report.report_id, each, next(adjusted))
            for report, model in zip(reports[1:], row.tested, strict=True)
            for each in model
        ]
        datasets.append(_dataset(reports, row.said, found))
    return Comparison(
        models=[_model(report, confidence) for report in reports],
        level=LEVEL,
        tests=len(tests),
        datasets=datasets,
        left_out=list(left_out),
    )


def _model(report: Measured, confidence: ConfidenceName) -> ComparedModel:
    return ComparedModel(
        report_id=report.report_id,
        checkpoint_id=report.checkpoint_id,
        method=report.method,
        confidence="raw" if report.calibrator is None else confidence,
    )


def _dataset(
    reports: Sequence[Measured],
    said: Sequence[Mapping[str, Any]],
    differences: list[DifferenceView],
) -> ComparedDataset:
    first = said[0]
    figures = []
    for report, row in zip(reports, said, strict=True):
        raw = Figures.of(row["raw"])
        assert raw is not None, "every row has raw figures"
        figures.append(
            ModelFigures(
                report_id=report.report_id, raw=raw, calibrated=Figures.of(row["calibrated"])
            )
        )
    fields = ("name", "dataset", "split", "shift", "severity", "in_distribution", "images")
    return ComparedDataset(
        **{field: first.get(field) for field in fields}, models=figures, differences=differences
    )


def _difference(report_id: str, tested: Tested, adjusted: float) -> DifferenceView:
    value, (low, high) = tested.difference.value, tested.difference.interval
    real = adjusted <= LEVEL and not low <= 0.0 <= high
    larger_is_better = tested.metric == "accuracy"
    return DifferenceView(
        report_id=report_id,
        metric=tested.metric,
        value=value,
        interval=(low, high),
        p_value=tested.p_value,
        adjusted_p_value=adjusted,
        real=real,
        better=(value > 0) == larger_is_better if real else None,
    )
