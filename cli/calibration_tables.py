"""What a report says of confidences, as tables: calibrators, prediction sets, risks and shift."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.table import Table

from cli.output import captioned, error, figure, percent, table

Report = dict[str, Any]
Row = dict[str, Any]

WORSE = "!"
MOST_CLASSES = 3


def calibration_tables(report: Report) -> list[Table]:
    """Those that there is something to say in; none for reports from before they were there."""
    found = (
        classes_table(report),
        calibrators_table(report),
        sets_table(report),
        guarantees_table(report),
        unseen_table(report),
    )
    return [each for each in found if each is not None]


def classes_table(report: Report) -> Table | None:
    """The classes whose confidence is farthest from their accuracy, three of each data set."""
    lines = [
        (
            _name(row),
            each["name"],
            str(each["images"]),
            percent(each["accuracy"]),
            percent(each["mean_confidence"]),
            each["confused_with"] or "-",
        )
        for row in report["datasets"]
        for each in (row.get("worst_classes") or {}).get("gaps", ())[:MOST_CLASSES]
    ]
    if not lines:
        return None
    columns = ("data set", "class", ">images", ">accuracy", ">mean\nconfidence", "mostly taken for")
    result = table("Worst calibrated classes", columns, lines)
    return captioned(result, "mean confidence outside the 95 % interval of the accuracy")


def calibrators_table(report: Report) -> Table | None:
    """ECE of every data set, raw and after every calibrator, and their NLL over the shifted ones.

    Two calibrators are compared by likelihood, not by ECE: `!` marks where it is lower than
    without any.
    """
    rows: list[Row] = report["datasets"]
    kinds = list(dict.fromkeys(each["kind"] for row in rows for each in row.get("calibrators", ())))
    if not kinds:
        return None
    lines = []
    for row in rows:
        by_kind = {each["kind"]: each["metrics"] for each in row.get("calibrators", ())}
        cells = [_against(by_kind.get(kind), row["raw"]) for kind in kinds]
        lines.append((_name(row), error(row["raw"]["ece"]), *cells))
    mean = report["ood_mean"]
    if mean is not None and mean.get("calibrators"):
        by_kind = {each["kind"]: each for each in mean["calibrators"]}
        means = [by_kind.get(kind) for kind in kinds]
        cells = [_against(each, mean) for each in means]
        lines.append(("OOD mean", error(mean["ece"]), *cells))
        nll = [figure(each and each["nll"]) for each in means]
        lines.append(("OOD mean NLL", figure(mean["nll"]), *nll))
    served = (report.get("calibrator") or {}).get("kind")
    names = [f">{_short(kind)}" + ("\n(served)" if kind == served else "") for kind in kinds]
    result = table("ECE by calibrator", ("data set", ">raw", *names), lines)
    return captioned(result, f"{WORSE} higher NLL than without a calibrator: it makes things worse")


def sets_table(report: Report) -> Table | None:
    """How often prediction sets hold the right class, and how many classes they have.

    Methods whose sets are alike on a data set share a line.
    """
    rows: list[Row] = report["datasets"]
    every = [each for row in rows for each in row.get("sets", ())]
    if not every:
        return None
    asked = list(dict.fromkeys(each["asked"] for each in every))
    methods = list(dict.fromkeys(each["method"] for each in every))
    lines = []
    for row in rows:
        found = {(s["method"], s["asked"]): s["measured"] for s in row.get("sets", ())}
        alike: dict[tuple[str, ...], list[str]] = {}
        for method in methods:
            cells = tuple(_set(found.get((method, coverage))) for coverage in asked)
            alike.setdefault(cells, []).append(method)
        for index, (cells, names) in enumerate(alike.items()):
            which = "all" if len(names) == len(methods) else ", ".join(names)
            lines.append((_name(row) if index == 0 else "", which, *cells))
    columns = [f">target {coverage:.4g}" for coverage in asked]
    result = table("Prediction sets: coverage, mean size", ("data set", "method", *columns), lines)
    reasons = [each["reason"] for each in every if each["reason"]]
    notes = [*dict.fromkeys(reasons), *filter(None, map(_held_too_rarely, rows))]
    return captioned(result, "\n".join(notes))


def _held_too_rarely(row: Row) -> str | None:
    """The class that `raps` sets in distribution are surest to hold less often than asked."""
    if not row["in_distribution"]:
        return None
    for each in row.get("sets", ()):
        worst = next(iter(each.get("classes", ())), None)
        if each["method"] == "raps" and worst and worst["coverage_interval"][1] < each["asked"]:
            return (
                f"{row['name']}: of {worst['name']} {percent(worst['coverage'])} are held where "
                f"{each['asked']:.4g} was asked; the method mondrian keeps it for each class"
            )
    return None


def guarantees_table(report: Report) -> Table | None:
    """What each risk's threshold accepts, how much of it is wrong, and how far images lie."""
    rows: list[Row] = report["datasets"]
    risks = list(dict.fromkeys(each["max_risk"] for row in rows for each in row.get("risks", ())))
    shifted = any(row.get("shift_score") for row in rows)
    if not risks and not shifted:
        return None
    lines = []
    for row in rows:
        by_risk = {each["max_risk"]: each for each in row.get("risks", ())}
        cells = [cell for risk in risks for cell in _risk(by_risk.get(risk))]
        shift = row.get("shift_score") or {}
        far = (figure(shift.get("auroc")), percent(shift.get("beyond")))
        lines.append((_name(row), *cells, *(far if shifted else ())))
    names = [name for risk in risks for name in (f">risk {risk:.4g}:\naccepted", ">\nwrong")]
    names += [">shift\nAUROC", ">beyond\n0.99"] if shifted else []
    result = table("Accepted answers, and shift score", ("data set", *names), lines)
    reasons = [each["reason"] for row in rows for each in row.get("risks", ()) if each["reason"]]
    return captioned(result, "\n".join(dict.fromkeys(reasons)))


def unseen_table(report: Report) -> Table | None:
    """How well images of none of the classes are told from those in distribution, by each score."""
    found = report.get("unseen")
    if not found:
        return None
    lines = [
        (
            row["name"] if index == 0 else "",
            str(row["images"]) if index == 0 else "",
            each["score"] + (" (served)" if each["score"] == found["chosen"] else ""),
            _between(figure(each["auroc"]), each["auroc_interval"], figure),
            _between(percent(each["fpr95"]), each["fpr95_interval"], percent),
        )
        for row in found["rows"]
        for index, each in enumerate(row["scores"])
    ]
    columns = ("unseen", ">images", "score", ">AUROC", ">FPR95")
    result = table("None of the classes", columns, lines)
    images = found["rows"][0]["known_images"]
    note = f"against {images} images of {found['known']}; FPR95: accepted where 95 % of those are"
    notes = [note]
    notes += [
        f"{row['name']}: /predict abstains from {percent(row['abstained'])} of them, and from "
        f"{percent(row['known_abstained'])} of {found['known']}"
        for row in found["rows"]
        if row["abstained"] is not None
    ]
    return captioned(result, "\n".join(notes))


def _between(value: str, interval: list[float] | None, shown: Callable[[float | None], str]) -> str:
    return value if interval is None else f"{value} ({shown(interval[0])}–{shown(interval[1])})"


def _against(figures: Row | None, raw: Row) -> str:
    if figures is None:
        return "-"
    return error(figures["ece"]) + (WORSE if figures["nll"] > raw["nll"] else " ")


def _short(kind: str) -> str:
    """A kind as a narrow heading: all that are named `…_temperature` are temperatures."""
    return (
        "temper-\nature"
        if kind == "temperature"
        else kind.removesuffix("_temperature").replace("_", "\n")
    )


def _set(measured: Row | None) -> str:
    if measured is None:
        return "-"
    return f"{percent(measured['coverage'])}  {measured['mean_size']:.2f}"


def _risk(figures: Row | None) -> tuple[str, str]:
    found = figures or {}
    return percent(found.get("accepted_share")), percent(found.get("risk"))


def _name(row: Row) -> str:
    return str(row["name"]) + (" (ID)" if row["in_distribution"] else "")
