"""`carot train`, `carot evaluate` and `carot run`: a run in this process, without a service."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from carot.errors import Interrupted, SpecError
from carot.specs import AnySpec
from carot.specs.parsing import parse_spec
from carot.specs.runs import as_evaluation
from cli.options import INTERRUPTED, AsJson, Preset, SpecFile
from cli.output import bars, emit, err, out, table
from cli.specs import read_document

if TYPE_CHECKING:
    from carot.run import Predicted

OutFolder = Annotated[
    Path, typer.Option("--out", file_okay=False, help="Where checkpoint and report are written.")
]


def train(
    spec: SpecFile, folder: OutFolder, preset: Preset = None, as_json: AsJson = False
) -> None:
    """Fine-tune as a spec file says; goes on from the snapshot in the folder if there is one."""
    document = read_document(spec, preset)
    if document["kind"] != "finetune":
        raise SpecError(f"{spec} is no finetune spec; `carot run` takes every kind", field="kind")
    _run(parse_spec(document), folder, as_json)


def evaluate(spec: SpecFile, folder: OutFolder, as_json: AsJson = False) -> None:
    """Evaluate and calibrate a model as a spec file says; a finetune spec will do."""
    document = read_document(spec)
    if document["kind"] not in ("finetune", "evaluate"):
        raise SpecError(f"{spec} is no evaluate spec; `carot run` takes every kind", field="kind")
    _run(as_evaluation(parse_spec(document)), folder, as_json)


def run(spec: SpecFile, folder: OutFolder, as_json: AsJson = False) -> None:
    """Do what a spec file says: finetune, evaluate, interpolate, merge, select or predict."""
    _run(parse_spec(read_document(spec)), folder, as_json)


def _run(spec: AnySpec, folder: Path, as_json: bool) -> None:
    with err.status("loading torch"):
        from carot.run import Predicted, execute
    from cli.progress import BarReporter

    try:
        with bars() as progress, _stoppable() as should_stop:
            result = execute(spec, folder, BarReporter(progress), should_stop=should_stop)
    except Interrupted as stopped:
        err.print(f"{stopped.message}; the same command goes on from there", highlight=False)
        raise typer.Exit(INTERRUPTED) from stopped
    if isinstance(result, Predicted):
        _tell_predictions(result, as_json)
        return
    report = json.loads(result.report_path.read_text(encoding="utf-8"))
    if as_json:
        emit({"checkpoint": _text(result.checkpoint), "report": report})
        return
    from cli.tables import report_table

    out.print(report_table(report))
    if result.checkpoint is not None:
        out.print(f"checkpoint: {result.checkpoint}", highlight=False)
    out.print(f"report: {result.report_path}", highlight=False)


def _tell_predictions(result: Predicted, as_json: bool) -> None:
    summary = result.summary.model_dump(mode="json")
    if as_json:
        emit({"predictions": str(result.path), "summary": summary})
        return
    accuracy = "-" if summary["accuracy"] is None else f"{summary['accuracy']:.1%}"
    rows = [
        *((name, summary[name]) for name in ("images", "errors", "abstained", "labelled")),
        ("accuracy", accuracy),
        ("mean confidence", f"{summary['mean_confidence']:.1%}"),
    ]
    out.print(table(None, ("", ">"), rows))
    out.print(f"predictions: {result.path}", highlight=False)


@contextmanager
def _stoppable() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C or SIGTERM asks the run to write a snapshot and stop, the second insists."""
    asked = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: object) -> None:
        asked.set()
        err.print("stopping after the current step")
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, ask)
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
