"""Reports as tables."""

from __future__ import annotations

import math
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from cli.calibration_tables import calibration_tables
from cli.output import captioned, error, figure, percent, table

Report = dict[str, Any]
Row = dict[str, Any]

CHANCE_LEVEL = (
    "chance level: 95th percentile of the ECE of a perfectly calibrated model with the served "
    "confidences; if their ECE is below it, there is no evidence of miscalibration"
)
OOD_MEAN = "OOD mean: unweighted mean over the shifted data sets"


def report_table(report: Report) -> RenderableType:
    """One report: a line for each data set, and one for each candidate where there were several."""
    tables = [candidates_table(report)] if report.get("candidates") else []
    tables += [_measured(report), *calibration_tables(report)]
    return Group(*(part for each in tables for part in (each, "")))


def candidates_table(report: Report) -> Table:
    """The models that a run chose among: what the choice went by, and what was measured of each."""
    candidates = report["candidates"]
    measured = any(each["datasets"] for each in candidates)
    rows = []
    for each in candidates:
        selection = (
            percent(each["accuracy"]),
            figure(each["nll"]),
            error(math.sqrt(max(0.0, each["calibration_error"]))),  # it is a squared one
            figure(each["sigma_min"]),
            "-" if each["score"] is None else f"{each['score']:.4f}",
        )
        mark = "→" if each["chosen"] else ""
        rows.append((mark, each["name"], *selection, *(_of_candidate(each) if measured else ())))
    columns = ["", "candidate", ">accuracy", ">NLL", ">cal.\nerror", ">σ min", ">score"]
    if measured:
        columns += [">ID\nacc.", ">ID\nECE", ">OOD mean\nacc.", ">OOD mean\nECE"]
    rule = report["rule"]
    title = f"{len(candidates)} candidates" + (f", the lowest score by {rule} kept" if rule else "")
    return table(title, columns, rows)


def _of_candidate(candidate: dict[str, Any]) -> tuple[str, str, str, str]:
    rows = candidate["datasets"]
    own: dict[str, Any] = next((row["raw"] for row in rows if row["in_distribution"]), {})
    shifted: dict[str, Any] = candidate["ood_mean"] or {}
    return (
        percent(own.get("accuracy")),
        error(own.get("ece")),
        percent(shifted.get("accuracy")),
        error(shifted.get("ece")),
    )


def _measured(report: Report) -> Table:
    rows = []
    before = {each["name"]: each["raw"]["accuracy"] for each in report.get("before", ())}
    for each in report["datasets"]:
        raw, calibrated = each["raw"], each["calibrated"] or {}
        start = [percent(before.get(each["name"]))] if before else []
        rows.append(
            (
                each["name"] + (" (ID)" if each["in_distribution"] else ""),
                each["images"],
                *start,
                percent(raw["accuracy"]),
                error(raw["ece"]),
                error(calibrated.get("ece")),
                error(_chance_level(each)),
                figure(each["sigma_min"]),
            )
        )
    mean = report["ood_mean"]
    if mean is not None:
        cells = (percent(mean["accuracy"]), error(mean["ece"]), error(mean["calibrated_ece"]))
        start = [percent(report["before_ood_mean"]["accuracy"])] if before else []
        rows.append(("OOD mean", "", *start, *cells, "", figure(mean["sigma_min"])))
    columns = (
        "data set",
        ">images",
        *([">start\naccuracy"] if before else []),
        ">accuracy",
        ">ECE",
        ">calibrated\nECE",
        ">chance\nlevel",
        ">σ min",
    )
    adapters = report.get("adapters")
    lora = f" with LoRA of rank {adapters['rank']}" if adapters else ""
    title = f"{report['method']}{lora} · {report['architecture']} · {report['dataset']}"
    caption = [CHANCE_LEVEL] + ([OOD_MEAN] if mean is not None else [])
    return captioned(table(title, columns, rows), "\n".join(caption))


def with_start(report: Report) -> list[Row]:
    """A line for each data set with the start's figures, and one for the mean of the shifts."""
    before = {each["name"]: each for each in report["before"]}
    rows = [
        {
            "name": each["name"],
            "in_distribution": each["in_distribution"],
            "before": _figures(before[each["name"]]),
            "after": _figures(each),
            "ece_null": each["raw"]["ece_null_mean"],
            "ece_null_p95": _chance_level(each),
        }
        for each in report["datasets"]
        if each["name"] in before
    ]
    if report["before_ood_mean"] and report["ood_mean"]:
        rows.append(
            {
                "name": "OOD mean",
                "in_distribution": False,
                "before": _mean_figures(report["before_ood_mean"]),
                "after": _mean_figures(report["ood_mean"]),
                "ece_null": None,
                "ece_null_p95": None,
            }
        )
    return rows


def comparison_table(rows: list[Row]) -> Table:
    """The start against the fine-tuned model."""
    columns = (
        "data set",
        ">zero-shot\naccuracy",
        ">zero-shot\nECE",
        ">CaRot\naccuracy",
        ">CaRot\nECE",
        ">calibrated\nECE",
        ">chance\nlevel",
    )
    lines = [
        (
            row["name"] + (" (ID)" if row["in_distribution"] else ""),
            percent(row["before"]["accuracy"]),
            error(row["before"]["ece"]),
            percent(row["after"]["accuracy"]),
            error(row["after"]["ece"]),
            error(row["after"]["calibrated_ece"]),
            error(row["ece_null_p95"]),
        )
        for row in rows
    ]
    title = "Accuracy and calibration error (ECE), in distribution and under shift"
    caption = f"calibrated ECE: of CaRot after the calibrator\n{CHANCE_LEVEL}\n{OOD_MEAN}"
    return captioned(table(title, columns, lines), caption)


def _chance_level(each: dict[str, Any]) -> float | None:
    """That of the confidences that are served, as on the dashboard."""
    level: float | None = (each["calibrated"] or each["raw"]).get("ece_null_p95")
    return level


def _figures(each: dict[str, Any]) -> dict[str, float | None]:
    calibrated = each["calibrated"] or {}
    return {
        "accuracy": each["raw"]["accuracy"],
        "ece": each["raw"]["ece"],
        "calibrated_ece": calibrated.get("ece"),
    }


def _mean_figures(mean: dict[str, Any]) -> dict[str, float | None]:
    return {name: mean[name] for name in ("accuracy", "ece", "calibrated_ece")}
