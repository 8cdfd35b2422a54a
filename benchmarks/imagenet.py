"""Whole-set and debiased ECE on ImageNet and five shifts of it, for seven ways to get a classifier.

    python benchmarks/imagenet.py --imagenet DIR --v2 DIR --r DIR --a DIR --sketch DIR
        --objectnet DIR --model ViT-B-16 --pretrained openai
        [--methods zero-shot ft …] [--runs FOLDER] [--out FILE] [--skip-missing]
        [--dry-run [--images-per-second X]]
        [--epochs N] [--batch-size N] [--precision bf16] [--seed N]

Every method is one run of the product in RUNS/METHOD. A command that was stopped goes on where it
was, and does nothing again that is done. After each method it writes FILE (JSON, with provenance)
and the tables beside it (.md). `--pretrained` is a tag of open_clip, a folder in its layout, or a
.safetensors file of `--model`'s weights; for OpenAI's weights in a file, `--model` is
ViT-B-16-quickgelu. Published figures of ECE are means over batches and do not compare with these
(docs/calibration.md). `--dry-run` prints hours and bytes, and trains only a few steps to measure
them, none with `--images-per-second`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.imagenet_estimate import estimates
from benchmarks.imagenet_plan import METHODS, Run, planned, start
from benchmarks.imagenet_sets import PLACES, Refused, Sets, open_sets
from benchmarks.imagenet_tables import estimate_table, markdown, row_of
from benchmarks.provenance import RESULTS, ROOT, write_results
from carot.errors import CarotError
from carot.evaluation.reports import Report
from carot.events import AnyEvent, EvaluationDone, PhaseStarted, StepDone, Warning
from carot.run import REPORT_NAME, SNAPSHOT_NAME, execute

ASKED_NAME = "asked.json"
HOURS_NAME = "hours.json"
STEPS_TOLD = 100


class Progress:
    """Tells of a run on the standard error stream."""

    def __init__(self, name: str) -> None:
        self.name = name

    def report(self, event: AnyEvent) -> None:
        """One line for what takes long or matters."""
        match event:
            case PhaseStarted():
                self._say(event.phase)
            case StepDone() if event.step % STEPS_TOLD == 0:
                left = (
                    "" if event.eta_seconds is None else f", {event.eta_seconds / 3600:.1f} h left"
                )
                self._say(f"step {event.step} of {event.total_steps}{left}")
            case EvaluationDone():
                self._say(f"{event.dataset} is measured")
            case Warning():
                self._say(f"warning: {event.message}")
            case _:
                pass

    def _say(self, text: str) -> None:
        print(f"{self.name}: {text}", file=sys.stderr, flush=True)


def done(run: Run, folder: Path) -> Report | None:
    """The report of a run from before; None where it is not done.

    Raises:
        Refused: what lies there is of another run.
    """
    asked = folder / ASKED_NAME
    if asked.exists():
        before = json.loads(asked.read_text(encoding="utf-8"))
        if before != run.spec.model_dump(mode="json"):
            raise Refused(
                f"--runs: {folder} is of a run with another model, data or training; choose "
                "another folder, or delete it"
            )
    path = folder / REPORT_NAME
    if not asked.exists() or not path.exists():
        return None
    return Report.model_validate_json(path.read_text(encoding="utf-8"))


def executed(run: Run, folder: Path) -> tuple[Report, float | None]:
    """A run's report and its hours, kept if it is done; None for one that was resumed."""
    kept = done(run, folder)
    if kept is None:
        folder.mkdir(parents=True, exist_ok=True)
        text = run.spec.model_dump_json(indent=2)
        (folder / ASKED_NAME).write_text(text, encoding="utf-8")
        resumed, began = (folder / SNAPSHOT_NAME).exists(), time.monotonic()
        kept = execute(run.spec, folder, Progress(run.name)).report
        hours = None if resumed else (time.monotonic() - began) / 3600
        (folder / HOURS_NAME).write_text(json.dumps(hours), encoding="utf-8")
        shutil.rmtree(folder / SNAPSHOT_NAME, ignore_errors=True)
    path = folder / HOURS_NAME
    return kept, json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def fill(runs: Sequence[Run], sets: Sets, options: argparse.Namespace) -> None:
    """Run what is not done, and write the results after each."""
    for run in runs:
        done(run, options.runs / run.name)  # all are refused before one trains
    rows: list[dict[str, Any]] = []
    for run in runs:
        rows.append(row_of(run, *executed(run, options.runs / run.name)))
        names = [row.name for row in sets.rows]
        document = {
            "model": options.model,
            "pretrained": Path(options.pretrained).name,
            "sets": names,
            "missing": list(sets.missing),
            "methods": rows,
        }
        write_results(options.out, document)
        text = markdown(rows, names)
        options.out.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, place in PLACES.items():
        parser.add_argument(f"--{name}", type=Path, metavar="DIR", help=f"from {place}")
    parser.add_argument("--model", required=True, help="an open_clip architecture")
    parser.add_argument("--pretrained", required=True, metavar="TAG|FOLDER|FILE")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "imagenet")
    parser.add_argument("--out", type=Path, default=RESULTS / "imagenet.json")
    parser.add_argument("--skip-missing", action="store_true", help="leave out sets not there")
    parser.add_argument("--dry-run", action="store_true", help="print hours and bytes")
    parser.add_argument("--images-per-second", type=float, help="in training, for --dry-run")
    training = parser.add_argument_group("training, in the place of what recipes say")
    training.add_argument("--epochs", type=int)
    training.add_argument("--batch-size", type=int)
    training.add_argument("--precision", choices=("fp32", "bf16", "fp16"))
    training.add_argument("--seed", type=int)
    options = parser.parse_args(arguments)
    if options.images_per_second is not None and not options.dry_run:
        parser.error("--images-per-second goes with --dry-run")
    if options.images_per_second is not None and options.images_per_second <= 0:
        parser.error("--images-per-second must be above 0")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = parsed(arguments)
    names = ("epochs", "batch_size", "precision", "seed")
    changes = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    try:
        folders = {name: getattr(options, name) for name in PLACES}
        sets = open_sets(folders, skip_missing=options.skip_missing)
        model = start(options.model, options.pretrained, options.runs)
        methods = dict.fromkeys(options.methods)
        runs = [planned(each, options.model, model, sets, changes) for each in methods]
        if options.dry_run:
            rate = options.images_per_second
            print(estimate_table(estimates(runs, sets, rate), measured=rate is None))
        else:
            fill(runs, sets, options)
    except Refused as error:
        raise SystemExit(str(error)) from None
    except CarotError as error:
        where = f"{error.field}: " if error.field else ""
        raise SystemExit(f"{where}{error.message}") from error
    except ValueError as error:  # such as a batch of no images
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
