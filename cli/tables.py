"""Reports as tables."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from cli.calibration_tables import calibration_tables
from cli.output import figure, percent, table

Report = dict[str, Any]
Row = dict[str, Any]


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
            f"{each['calibration_error']:.4f}",  # a squared one
            figure(each["sigma_min"]),
            "-" if each["score"] is None else f"{each['score']:.4f}",
        )
        mark = "→" if each["chosen"] else ""
        rows.append((mark, each["name"], *selection, *(_of_candidate(each) if measured else ())))
    columns = ["", "candidate", ">accuracy", ">NLL", ">calibration", ">σ min", ">score"]
    if measured:
        columns += [">ID accuracy", ">ECE", ">OOD accuracy", ">ECE"]
    rule = report["rule"]
    title = f"{len(candidates)} candidates" + (f", the lowest score by {rule} kept" if rule else "")
    return table(title, columns, rows)


def _of_candidate(candidate: dict[str, Any]) -> tuple[str, str, str, str]:
    rows = candidate["datasets"]
    own: dict[str, Any] = next((row["raw"] for row in rows if row["in_distribution"]), {})
    shifted: dict[str, Any] = candidate["ood_mean"] or {}
    return (
        percent(own.get("accuracy")),
        figure(own.get("ece")),
        percent(shifted.get("accuracy")),
        figure(shifted.get("ece")),
    )


def _measured(report: Report) -> Table:
    rows = []
    for each in report["datasets"]:
        raw, calibrated = each["raw"], each["calibrated"] or {}
        rows.append(
            (
                each["name"] + (" (ID)" if each["in_distribution"] else ""),
                each["images"],
                percent(raw["accuracy"]),
                figure(raw["ece"]),
                figure(calibrated.get("ece")),
                figure(raw["ece_null_mean"]),
                figure(each["sigma_min"]),
            )
        )
    mean = report["ood_mean"]
    if mean is not None:
        cells = (percent(mean["accuracy"]), figure(mean["ece"]), figure(mean["calibrated_ece"]))
        rows.append(("mean of the others", "", *cells, "", figure(mean["sigma_min"])))
    columns = ("data set", ">images", ">accuracy", ">ECE", ">calibrated", ">null", ">σ min")
    title = f"{report['method']} · {report['architecture']} · {report['dataset']}"
    return table(title, columns, rows)


def compare(before: Report, after: Report) -> list[Row]:
    """A line for each data set that both reports measured, and one for the mean of the shifts."""
    measured = {each["name"]: each for each in before["datasets"]}
    rows = [
        {
            "name": each["name"],
            "in_distribution": each["in_distribution"],
            "before": _figures(measured[each["name"]]),
            "after": _figures(each),
            "ece_null": each["raw"]["ece_null_mean"],
        }
        for each in after["datasets"]
        if each["name"] in measured
    ]
    if before["ood_mean"] and after["ood_mean"]:
        rows.append(
            {
                "name": "OOD mean",
                "in_distribution": False,
                "before": _mean_figures(before["ood_mean"]),
                "after": _mean_figures(after["ood_mean"]),
                "ece_null": None,
            }
        )
    return rows


def comparison_table(rows: list[Row]) -> Table:
    """The start against the fine-tuned model."""
    columns = (
        "data set",
        ">zero-shot",
        ">ECE",
        ">CaRot",
        ">ECE",
        ">calibrated",
        ">null",
    )
    lines = [
        (
            row["name"] + (" (ID)" if row["in_distribution"] else ""),
            percent(row["before"]["accuracy"]),
            figure(row["before"]["ece"]),
            percent(row["after"]["accuracy"]),
            figure(row["after"]["ece"]),
            figure(row["after"]["calibrated_ece"]),
            figure(row["ece_null"]),
        )
        for row in rows
    ]
    result = table(
        "Accuracy and calibration error (ECE), in distribution and under shift", columns, lines
    )
    result.caption = (
        "calibrated: ECE after the calibrator; null: what a perfectly calibrated model scores"
    )
    result.caption_justify = "left"
    return result


def _figures(each: dict[str, Any]) -> dict[str, float | None]:
    calibrated = each["calibrated"] or {}
    return {
        "accuracy": each["raw"]["accuracy"],
        "ece": each["raw"]["ece"],
        "calibrated_ece": calibrated.get("ece"),
    }


def _mean_figures(mean: dict[str, Any]) -> dict[str, float | None]:
    return {name: mean[name] for name in ("accuracy", "ece", "calibrated_ece")}
