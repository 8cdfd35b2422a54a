"""What every calibrator is worth on the digits suite, in distribution and under each shift.

    python benchmarks/calibrators.py [--quick] [--json FILE]

Fine-tunes carot-mini as `carot demo` does, fits every calibrator that needs no domains on the
calibration split, lets `auto` choose, and prints the tables of `carot report`: ECE raw and after
each, coverage and size of prediction sets, what risk thresholds accept, and how well the shift
score tells each shift. What is measured is the report of that one run, nothing else.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from benchmarks.provenance import write_results
from carot.evaluation.reports import DatasetReport, Report
from carot.events import Silent
from carot.run import execute
from carot.specs import FinetuneSpec
from cli.tables import report_table

COVERAGES = (0.9, 0.95, 0.99, 0.995)
"""The higher ones, too: the model is right more often than sets are asked to hold."""

FIGURES = ("accuracy", "ece", "nll", "brier", "auroc")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the start as it is, two data sets")
    parser.add_argument("--json", type=Path, default=Path("build/calibrators.json"))
    options = parser.parse_args(arguments)
    spec = demo_spec(quick=options.quick)
    with tempfile.TemporaryDirectory() as folder:
        report = execute(spec, Path(folder), Silent()).report
    Console(width=150).print(report_table(report.model_dump(mode="json")))
    write_results(options.json, {"spec": spec.model_dump(mode="json"), **condensed(report)})


def demo_spec(*, quick: bool) -> FinetuneSpec:
    """The demo's fine-tuning, with every calibrator compared."""
    document = yaml.safe_load(files("cli").joinpath("demo.yaml").read_text(encoding="utf-8"))
    spec: dict[str, Any] = {
        key: value for key, value in document.items() if key not in ("name", "alias")
    }
    spec["calibration"] = {"calibrator": "auto", "coverages": COVERAGES}
    if quick:
        digits = {"dataset": "builtin:digits"}
        rows = [
            {"name": "test", **digits, "in_distribution": True},
            {"name": "noise-3", **digits, "shift": "noise"},
        ]
        spec |= {"method": {"name": "zero_shot"}, "evaluation": {"datasets": rows}}
        del spec["preset"], spec["training"]
    return FinetuneSpec.model_validate(spec)


def condensed(report: Report) -> dict[str, Any]:
    """What the tables and the pages that quote them rest on."""
    summary = report.calibration
    assert summary is not None
    assert summary.choice is not None
    return {
        "calibration_images": summary.images,
        "served": summary.served,
        "raw_nll": summary.raw_nll,
        "choice": summary.choice.model_dump(mode="json", exclude={"calibrator"}),
        "calibrators": [
            {"kind": each.kind, "nll": each.nll, "reason": each.reason}
            for each in summary.calibrators
        ],
        "datasets": {row.name: of_dataset(row) for row in report.datasets},
        "mean_of_the_shifted": report.ood_mean and report.ood_mean.model_dump(mode="json"),
    }


def of_dataset(row: DatasetReport) -> dict[str, Any]:
    """One data set's share of it."""
    after = {each.kind: each.metrics for each in row.calibrators}
    return {
        "images": row.images,
        "in_distribution": row.in_distribution,
        "ece_null_p95": row.raw.ece_null_p95,
        "calibrators": {
            kind: {name: getattr(metrics, name) for name in FIGURES}
            for kind, metrics in {"raw": row.raw, **after}.items()
        },
        "sets": [each.model_dump(mode="json", exclude={"classes"}) for each in row.sets],
        "risks": [each.model_dump(mode="json") for each in row.risks],
        "shift_score": row.shift_score and row.shift_score.model_dump(mode="json"),
    }


if __name__ == "__main__":
    main()
