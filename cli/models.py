"""`carot models`: aliases and the checkpoints they point to."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.architectures import architectures
from cli.calibration import calibration, calibrators, recalibrate
from cli.client import Client, Document
from cli.options import DEFAULT_URL, AsJson, Url
from cli.output import captioned, emit, err, error, out, percent, table
from cli.tables import OOD_MEAN

app = typer.Typer(help="Aliases and checkpoints of the service.", no_args_is_help=True)
for command in (architectures, calibration, calibrators, recalibrate):
    app.command()(command)
AliasName = Annotated[str, typer.Argument(metavar="ALIAS")]
LogRate = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Share of predictions that are logged."),
]
LogImages = Annotated[
    bool | None,
    typer.Option("--log-images/--no-log-images", help="Whether the log keeps their images."),
]


@app.command("list")
def list_(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """The aliases."""
    with Client(url) as client:
        aliases = client.pages("/models", limit=1000)
    if as_json:
        emit(aliases)
        return
    rows = [
        (a["alias"], a["checkpoint_id"], a["calibrator_id"], a["log_rate"], a["updated_at"][:19])
        for a in aliases
    ]
    out.print(table(None, ("alias", "checkpoint", "calibrator", ">logged", "updated"), rows))


@app.command()
def checkpoints(
    limit: Annotated[int, typer.Option(min=1)] = 50, url: Url = DEFAULT_URL, as_json: AsJson = False
) -> None:
    """The checkpoints, newest first."""
    with Client(url) as client:
        found = client.pages("/checkpoints", limit=limit)
    if as_json:
        emit(found)
        return
    rows = []
    for each in found:
        own, shifted = (each["metrics"].get(k) or {} for k in ("in_distribution", "ood_mean"))
        figures = (percent(own.get("accuracy")), error(own.get("calibrated_ece")))
        others = (percent(shifted.get("accuracy")), error(shifted.get("calibrated_ece")))
        rows.append((each["id"], each["name"], each["method"], *figures, *others))
    figures_of = (">ID\naccuracy", ">ID\nECE", ">OOD mean\naccuracy", ">OOD mean\nECE")
    shown = table(None, ("id", "name", "method", *figures_of), rows)
    out.print(captioned(shown, "ECE: after the calibrator; " + OOD_MEAN))


@app.command()
def compare(
    checkpoints: Annotated[
        list[str],
        typer.Argument(metavar="CHECKPOINT...", help="Two to ten; the first is the base."),
    ],
    raw: Annotated[bool, typer.Option("--raw", help="Confidences before calibration.")] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Differences to the first checkpoint on the same images; a star marks significant ones."""
    with Client(url) as client:
        found = client.get(
            "/comparisons", checkpoint=checkpoints, confidence="raw" if raw else "calibrated"
        )
    if as_json:
        emit(found)
        return
    names = {each["report_id"]: each["checkpoint_id"] for each in found["models"]}
    rows = []
    for dataset in found["datasets"]:
        for report in [each["report_id"] for each in found["models"][1:]]:
            mine = [each for each in dataset["differences"] if each["report_id"] == report]
            rows.append((dataset["name"], names[report], *map(_difference, mine)))
    figures = (">accuracy, points", ">NLL", ">Brier", ">squared calibration error")
    columns = ("data set", "checkpoint", *figures)
    out.print(table(None, columns, rows))
    for each in found["left_out"]:
        err.print(f"{each['name']}: left out: {each['reason']}", markup=False, highlight=False)


def _difference(each: Document) -> str:
    factor, digits = (100, 1) if each["metric"] == "accuracy" else (1, 4)
    value, low, high = (
        f"{factor * figure:+.{digits}f}" for figure in (each["value"], *each["interval"])
    )
    return f"{value} [{low}, {high}]{'*' if each['real'] else ' '}"


@app.command("set")
def set_(
    alias: AliasName,
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint's id.")],
    calibrator: Annotated[
        str | None, typer.Option(help="A version of its calibrator; by default its own.")
    ] = None,
    log_rate: LogRate = None,
    log_images: LogImages = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Point an alias at a checkpoint."""
    body = {"checkpoint": checkpoint, "calibrator": calibrator} | _logging(log_rate, log_images)
    with Client(url) as client:
        answer = client.put(f"/models/{alias}", body)
    if as_json:
        emit(answer)
    else:
        out.print(f"{answer['alias']} → {answer['checkpoint_id']}", highlight=False)


@app.command()
def log(
    alias: AliasName,
    log_rate: LogRate = None,
    log_images: LogImages = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Choose which share of an alias's predictions goes to the prediction log."""
    with Client(url) as client:
        answer = client.patch(f"/models/{alias}", _logging(log_rate, log_images))
    if as_json:
        emit(answer)
        return
    images = "with" if answer["log_images"] else "without"
    share = percent(answer["log_rate"])
    out.print(f"{answer['alias']}: {share} is logged, {images} images", highlight=False)


@app.command()
def delete(alias: AliasName, url: Url = DEFAULT_URL) -> None:
    """Remove an alias; the checkpoint stays."""
    with Client(url) as client:
        client.delete(f"/models/{alias}")


def _logging(rate: float | None, images: bool | None) -> dict[str, object]:
    given = {"log_rate": rate, "log_images": images}
    return {name: value for name, value in given.items() if value is not None}
