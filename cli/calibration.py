"""`carot models calibration`, `recalibrate`, `calibrators`: are confidences still calibrated?"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.client import Client
from cli.options import DEFAULT_URL, AsJson, Url
from cli.output import emit, error, figure, out, percent, table

AliasName = Annotated[str, typer.Argument(metavar="ALIAS")]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="No older prediction: 2026-01-31T12:00:00Z.")
]


def calibration(
    alias: AliasName,
    last: Annotated[
        int, typer.Option(min=1, help="How many predictions at most, the newest.")
    ] = 10_000,
    since: Since = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Whether an alias's confidences are calibrated; exit status 3 where a test rejects that."""
    with Client(url) as client:
        answer = client.get(f"/models/{alias}/calibration", last=last, since=since)
    if as_json:
        emit(answer)
    else:
        _show(answer)
    if answer["test"]["rejected"]:
        raise typer.Exit(3)


def recalibrate(
    alias: AliasName,
    kind: Annotated[
        str | None, typer.Option(help="Kind of calibrator; by default the current one's.")
    ] = None,
    last: Annotated[int, typer.Option(min=1, help="How many labels at most, the newest.")] = 20_000,
    since: Since = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what it would bring.")
    ] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Fit a calibrator on the labels given, and use it if it is better on held-out ones."""
    body = {"kind": kind, "last": last, "since": since, "dry_run": dry_run}
    with Client(url, timeout=600.0) as client:
        answer = client.post(f"/models/{alias}/recalibrate", body)
    if as_json:
        emit(answer)
        return
    low, high = answer["gain_interval"]
    rows = [
        ("kind", answer["kind"]),
        ("labels", f"{answer['fitted_on']} to fit, {answer['held_out']} held out"),
        ("NLL before", f"{answer['nll_before']:.4f}"),
        ("NLL after", f"{answer['nll_after']:.4f}"),
        ("gain", f"{answer['gain']:+.4f} ({low:+.4f} to {high:+.4f})"),
        ("version", answer["calibrator_id"]),
    ]
    out.print(table(None, ("", ""), rows))
    for each in answer.get("warnings", ()):
        out.print(f"! {each['message']}", highlight=False)
    said = "uses it now" if answer["moved"] else "stays as it was"
    out.print(f"{alias} {said}", highlight=False)


def calibrators(
    alias: AliasName,
    limit: Annotated[int, typer.Option(min=1)] = 50,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Versions of the calibrator of an alias's checkpoint, newest first."""
    with Client(url) as client:
        found = client.pages(f"/models/{alias}/calibrators", limit=limit)
    if as_json:
        emit(found)
        return
    columns = ("", "id", "kind", "origin", ">n", ">NLL before", ">NLL after", "created")
    rows = [
        (
            "→" if each["current"] else "",
            each["id"],
            each["kind"],
            each["origin"],
            each["n"],
            figure(each["nll_before"]),
            figure(each["nll_after"]),
            each["created_at"][:19],
        )
        for each in found
    ]
    out.print(table(None, columns, rows))


def _show(answer: dict[str, Any]) -> None:
    live, reported, test = answer["live"] or {}, answer["reported"] or {}, answer["test"]
    measured = live.get("measured") or {}
    window = answer["window"]
    out.print(
        f"{answer['model']}: {window['predictions']} predictions, {window['labels']} labels",
        highlight=False,
    )
    rows = [
        ("accuracy", percent(measured.get("accuracy")), percent(reported.get("accuracy"))),
        ("ECE", error(measured.get("ece")), error(reported.get("ece"))),
        ("chance level of the ECE", error(measured.get("ece_null_p95")), None),
        ("expected accuracy", percent(live.get("expected_accuracy")), None),
    ]
    out.print(table(None, ("", ">live", ">in the report"), rows))
    verdict = "rejected" if test["rejected"] else "not rejected"
    for name in ("confidence_drift", "shift_drift"):
        if live.get(name):
            out.print(f"{name.replace('_', ' ')}: {_drift(live[name])}", highlight=False)
    out.print(
        f"That confidences are calibrated is {verdict}: evidence of miscalibration "
        f"{test['evidence']:.3g} (maximum {test['peak']:.3g}, alarm at {test['threshold']:.0f}) "
        f"after {test['labels']} labels",
        highlight=False,
    )
    if (test.get("delays") or {}).get("text"):
        out.print(f"! {test['delays']['text']}", highlight=False)


def _drift(found: dict[str, Any]) -> str:
    return (
        f"KS {found['ks']:.3f} (p {found['p_value']:.2g}), PSI {found['psi']:.3f} "
        f"(chance level {found['psi_null_p95']:.3f})"
    )
