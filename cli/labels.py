"""`carot labels`: the right classes of images of earlier predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.client import Client
from cli.options import DEFAULT_URL, AsJson, Url
from cli.output import emit, err, out, table

app = typer.Typer(
    help="Labels: the right classes of images of earlier predictions.", no_args_is_help=True
)
PIECE = 5000
"""Labels in one request."""
TYPES = {".csv": "text/csv", ".jsonl": "application/x-ndjson", ".ndjson": "application/x-ndjson"}


@app.command()
def give(
    prediction: Annotated[str, typer.Argument(metavar="PREDICTION", help="A prediction's id.")],
    label: Annotated[str, typer.Argument(metavar="LABEL", help="The name of a class.")],
    index: Annotated[
        bool, typer.Option("--index", help="LABEL is the number of a class instead.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a label that is there.")
    ] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Give the right class of one image."""
    if index and not label.isdecimal():
        raise typer.BadParameter(f"not the number of a class: {label}")
    body = {"label": int(label) if index else label, "replace": replace}
    with Client(url) as client:
        answer = client.post(f"/predictions/{prediction}/label", body)
    if as_json:
        emit(answer)
        return
    said = "right" if answer["truth"]["index"] == answer["index"] else "wrong"
    out.print(f"{answer['id']}: {answer['status']}; {answer['label']} was {said}", highlight=False)


@app.command()
def load(
    file: Annotated[
        Path,
        typer.Argument(
            exists=True,
            dir_okay=False,
            help="CSV with the columns id and label (or index), or lines of JSON (.jsonl).",
        ),
    ],
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Give the labels of a file; those that are refused are listed, and the others stored."""
    media_type = TYPES.get(file.suffix.lower())
    if media_type is None:
        raise typer.BadParameter(f"{file.name} ends with none of {', '.join(TYPES)}")
    lines = file.read_text("utf-8-sig").splitlines(keepends=True)
    head = lines[:1] if media_type == "text/csv" else []
    found: list[dict[str, object]] = []
    counts = dict.fromkeys(("stored", "unchanged", "replaced", "refused"), 0)
    with Client(url) as client:
        for start in range(len(head), len(lines), PIECE):
            content = "".join([*head, *lines[start : start + PIECE]])
            answer = client.labels(content.encode(), media_type)
            found += answer["data"]
            counts = {name: count + answer[name] for name, count in counts.items()}
    if as_json:
        emit({**counts, "data": found})
    else:
        out.print(", ".join(f"{count} {name}" for name, count in counts.items()), highlight=False)
        rows = [(each["id"], each["error"]["message"]) for each in found if each["error"]]  # type: ignore[index]
        if rows:
            err.print(table(None, ("prediction", "refused because"), rows))
    if counts["refused"]:
        raise typer.Exit(1)
