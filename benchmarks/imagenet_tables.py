"""What `benchmarks/imagenet.py` measured, as data and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.imagenet_estimate import Estimate
from benchmarks.imagenet_plan import TITLES, Run
from carot.calibration.metrics.numbers import Metrics
from carot.evaluation.reports import Report

KEPT = (
    "images",
    "accuracy",
    "accuracy_interval",
    "ece",
    "ece_null_mean",
    "ece_null_p95",
    "debiased_ece",
    "debiased_squared",
    "debiased_squared_interval",
    "smooth_ece",
    "nll",
    "brier",
    "ece_batch_mean_10_of_512",
)
LEGEND = (
    "ECE over the whole set, 15 equal-width bins (its chance level: the 95th percentile of what a "
    "perfectly calibrated model with these confidences would score), then ECE without the bias of "
    "its estimate (root mean square, Kumar et al. 2019); all in percent."
)


def row_of(run: Run, report: Report, hours: float | None) -> dict[str, Any]:
    """One method: raw and calibrated figures of every set."""
    assert report.spec.kind == "finetune"
    return {
        "method": run.name,
        "recipe": run.recipe,
        "training": report.spec.training.model_dump(mode="json"),
        "calibrator": None if report.calibrator is None else report.calibrator.kind,
        "hours": hours,
        "sets": {
            each.name: {
                "classes": each.classes,
                "raw": _kept(each.raw),
                "calibrated": None if each.calibrated is None else _kept(each.calibrated),
            }
            for each in report.datasets
        },
    }


def markdown(rows: Sequence[dict[str, Any]], sets: Sequence[str]) -> str:
    """Three tables: accuracy, and calibration error of raw and of calibrated confidences."""
    parts = []
    for title, kind, cell in (
        ("Accuracy, %", "raw", _accuracy),
        ("Calibration error of raw confidences", "raw", _error),
        ("Calibration error after calibration on ImageNet", "calibrated", _error),
    ):
        lines = [[TITLES[r["method"]], *(cell(r["sets"][s][kind]) for s in sets)] for r in rows]
        parts += [f"## {title}", "", *_table(["", *sets], lines), ""]
    return "\n".join(["# ImageNet and its shifts", "", *parts, LEGEND, ""])


def estimate_table(found: Sequence[Estimate], *, measured: bool) -> str:
    """Hours and bytes of every run, and of all."""
    lines = [
        [
            TITLES[each.name],
            f"{each.images:,}",
            f"{each.looked_at:,}",
            f"{each.training_rate:,.1f}" if each.images else "-",
            f"{each.evaluation_rate:,.1f}",
            f"{each.hours:,.2f}",
            _size(each.checkpoint),
            _size(each.snapshot),
            _size(each.logits),
        ]
        for each in found
    ]
    head = ["", "images trained on", "looked at", "trained/s", "looked at/s", "hours",
            "checkpoint", "snapshot", "logits"]  # fmt: skip
    hours = sum(each.hours for each in found)
    kept = sum(each.checkpoint + each.logits for each in found)
    most = kept + max((each.snapshot for each in found), default=0)
    how = "rates measured on this machine" if measured else "rates as given"
    total = f"{hours:,.2f} hours, {_size(kept)} kept ({kept:,} bytes), {_size(most)} at most; {how}"
    return "\n".join([*_table(head, lines), "", total])


def _kept(metrics: Metrics) -> dict[str, Any]:
    return metrics.model_dump(mode="json", include=set(KEPT))


def _accuracy(figures: dict[str, Any] | None) -> str:
    return "–" if figures is None else f"{100 * figures['accuracy']:.1f}"


def _error(figures: dict[str, Any] | None) -> str:
    if figures is None:
        return "–"
    ece, chance, debiased = (100 * figures[key] for key in ("ece", "ece_null_p95", "debiased_ece"))
    return f"{ece:.2f} ({chance:.2f}), {debiased:.2f}"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---"] * len(head)
    return ["| " + " | ".join(cells) + " |" for cells in (head, rule, *lines)]


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
