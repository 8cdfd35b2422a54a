"""What calibrators made for shift are worth, on the same logits.

    python benchmarks/shift_calibrators.py [--quick] [--fashion | --logits FOLDER] [--json FILE]

By default on the digits suite: carot-mini is fine-tuned with the default recipe, once for each
seed, and every set's logits are kept under `build/shift_calibrators`, so that a second call goes on
where the first was stopped. `--fashion` takes the default's runs of the fashion benchmark, which
have to be there (`python -m benchmarks.fashion`). `--logits` takes those of another suite: a folder
for each run, with `calibration.safetensors`, `test.safetensors` and a file for each shifted set.
Every file has `logits_NC` and `labels_N`, and what `carot.calibration.shift.table.SetLogits` names
besides, as far as it is there.

Prints ECE minus its chance level, raw and after each, in distribution and as a mean over the
shifts, and says what helped: ECE above chance and negative log-likelihood, both means over the
shifts, are below those of the raw logits in every run.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file

from benchmarks.provenance import RESULTS, ROOT, write_results
from carot.calibration.metrics.metrics import compute_metrics
from carot.calibration.shift.table import SetLogits, shift_calibrated

CALIBRATION, ID = "calibration", "test"
FIGURES = ("accuracy", "ece", "ece_null_mean", "nll", "brier")
Verdict = Literal["helps", "hurts", "unclear"]
BUILD = ROOT / "build" / "shift_calibrators"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short run on few images")
    parser.add_argument("--fashion", action="store_true", help="on photographs of clothes")
    parser.add_argument("--logits", type=Path, help="logits of another suite")
    parser.add_argument("--json", type=Path, help="by default in benchmarks/results, or build/")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.fashion:
        from benchmarks.fashion.calibrators import clothes

        suite, folders = "fashion", clothes(BUILD / "fashion")
    elif options.logits is None:
        from benchmarks.shift_logits import digits

        suite, folders = "digits", digits(BUILD, quick=options.quick)
    else:
        suite = options.logits.resolve().name
        folders = sorted(
            file.parent for file in options.logits.glob(f"*/{CALIBRATION}.safetensors")
        )
        if not folders:
            parser.error(f"--logits: no RUN/{CALIBRATION}.safetensors in {options.logits}")
    document = measured(suite, folders)
    Console(width=120).print(table_of(document))
    kept = BUILD / "quick.json" if options.quick else RESULTS / f"shift_calibrators_{suite}.json"
    write_results(options.json or kept, document)


def measured(suite: str, folders: Sequence[Path]) -> dict[str, Any]:
    """Figures of each run, set and calibrator, their means over the shifts, and what helped."""
    runs = {folder.name: measured_run(folder) for folder in folders}
    names = list(next(iter(runs.values()))[ID])
    summary = {name: _summary(runs, name) for name in names}
    return {
        "suite": suite,
        "runs": runs,
        "summary": summary,
        "verdicts": {name: _verdict(summary, name) for name in names if name != "raw"},
    }


def measured_run(folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Figures by set and calibrator, of the sets that lie in a folder."""
    calibration = read(folder / f"{CALIBRATION}.safetensors")
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        if file.stem == CALIBRATION:
            continue
        asked = read(file)
        after = shift_calibrated(calibration, asked)
        metrics = {name: compute_metrics(z_NC, asked.labels_N) for name, z_NC in after.items()}
        found[file.stem] = {
            name: {figure: getattr(each, figure) for figure in FIGURES}
            for name, each in metrics.items()
        }
    return found


def read(file: Path) -> SetLogits:
    """One set's logits.

    Raises:
        TypeError: the file has tensors of other names, or lacks logits or labels.
    """
    return SetLogits(**load_file(file))


def _summary(runs: dict[str, Any], calibrator: str) -> dict[str, list[float]]:
    """For each run: what ECE is above chance, and the likelihood, in distribution and shifted."""

    def above(of: dict[str, float]) -> float:
        return of["ece"] - of["ece_null_mean"]

    shifted = [[sets[name][calibrator] for name in sets if name != ID] for sets in runs.values()]
    return {
        "id_ece_above_chance": [above(sets[ID][calibrator]) for sets in runs.values()],
        "ood_ece_above_chance": [fmean(above(of) for of in each) for each in shifted],
        "ood_ece": [fmean(of["ece"] for of in each) for each in shifted],
        "id_nll": [sets[ID][calibrator]["nll"] for sets in runs.values()],
        "ood_nll": [fmean(of["nll"] for of in each) for each in shifted],
    }


def _verdict(summary: dict[str, dict[str, list[float]]], name: str) -> Verdict:
    differences = [
        after - before
        for figure in ("ood_ece_above_chance", "ood_nll")
        for before, after in zip(summary["raw"][figure], summary[name][figure], strict=True)
    ]
    if all(each < 0 for each in differences):
        return "helps"
    return "hurts" if all(each > 0 for each in differences) else "unclear"


def rows_of(document: dict[str, Any]) -> list[list[str]]:
    """The table: means over the runs, ECE in percent."""
    rows = []
    for name, of in document["summary"].items():
        mean = {figure: fmean(values) for figure, values in of.items()}
        rows.append(
            [
                name,
                *(f"{100 * mean[f'{where}_ece_above_chance']:.2f}" for where in ("id", "ood")),
                f"{100 * mean['ood_ece']:.2f}",
                *(f"{mean[f'{where}_nll']:.4f}" for where in ("id", "ood")),
                document["verdicts"].get(name, "–"),
            ]
        )
    return rows


HEADER = (
    "calibrator",
    "ID: ECE − chance, %",
    "OOD: ECE − chance, %",
    "OOD: ECE, %",
    "ID: NLL",
    "OOD: NLL",
    "under shift it",
)


def table_of(document: dict[str, Any]) -> Table:
    """The same to be printed."""
    table = Table(*HEADER, title=f"{document['suite']}, {len(document['runs'])} runs")
    for row in rows_of(document):
        table.add_row(*row)
    return table


def page_table(document: dict[str, Any]) -> list[str]:
    """The same as lines of Markdown, as docs/calibration.md has it."""
    lines = [f"| {' | '.join(HEADER)} |", f"|{'---|' * len(HEADER)}"]
    return lines + [f"| `{row[0]}` | {' | '.join(row[1:])} |" for row in rows_of(document)]


if __name__ == "__main__":
    main()
