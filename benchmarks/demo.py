"""The demo's story with its peers beside it: does CaRot narrow the model less than plain training?

    python benchmarks/demo.py [--seeds 3] [--methods zero_shot,finetune,flyp,carot] [--json FILE]

Every method gets the demo's budget and learning rate, nothing is tuned; only the seed differs
between runs of one method. Prints accuracy and whole-set ECE (raw and after the temperature fitted
on the calibration split) in distribution, for every shift at severity 3, and averaged over the
shifts: mean over seeds, and the range where there are several. Finished runs are kept under
`build/` and not done again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from carot.events import Silent
from carot.reports import Report
from carot.run import REPORT_NAME, execute
from carot.specs import FinetuneSpec

METHODS = ("zero_shot", "finetune", "flyp", "carot")
RECIPE = Path(__file__).parent.parent / "cli" / "demo.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--runs", type=Path, default=Path("build/demo"), help="where runs are kept")
    parser.add_argument("--json", type=Path, default=Path("build/demo.json"))
    options = parser.parse_args()
    figures: dict[str, dict[str, Any]] = {}
    for method in options.methods.split(","):
        # Without training, seeds are all the same.
        seeds = range(1 if method == "zero_shot" else options.seeds)
        reports = [run(method, seed, options.runs) for seed in seeds]
        figures[method] = summarise(reports)
    show(figures)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    document = {"torch": torch.__version__, "seeds": options.seeds, "methods": figures}
    options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def run(method: str, seed: int, folder: Path) -> Report:
    """The report of one run, done now or kept from before."""
    recipe = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))["carot"]
    spec = FinetuneSpec.model_validate(
        {
            "model": recipe["model"],
            "dataset": recipe["dataset"],
            "method": {"name": method},
            "training": {**recipe["training"], "seed": seed},
        }
    )
    path = folder / f"{method}-{seed}"
    if (path / REPORT_NAME).exists():
        kept = json.loads((path / REPORT_NAME).read_text(encoding="utf-8"))
        if kept["spec"] == spec.model_dump(mode="json"):
            return Report.model_validate(kept)
        shutil.rmtree(path)
    started = time.monotonic()
    report = execute(spec, path, Silent()).report
    print(f"{method}, seed {seed}: {time.monotonic() - started:.0f} s", flush=True)
    return report


def summarise(reports: Sequence[Report]) -> dict[str, Any]:
    """Rows of (accuracy, ece, calibrated_ece), each a list with one value for each seed."""
    rows: dict[str, Any] = {}
    for index, dataset in enumerate(reports[0].datasets):
        each = [report.datasets[index] for report in reports]
        rows[dataset.name] = {
            "accuracy": [d.raw.accuracy for d in each],
            "ece": [d.raw.ece for d in each],
            "calibrated_ece": [d.calibrated.ece for d in each if d.calibrated is not None],
            "ece_null_p95": [d.raw.ece_null_p95 for d in each],
            "sigma_min": [d.sigma_min for d in each],
        }
    means = [report.ood_mean for report in reports if report.ood_mean is not None]
    rows["mean of shifts"] = {
        "accuracy": [m.accuracy for m in means],
        "ece": [m.ece for m in means],
        "calibrated_ece": [m.calibrated_ece for m in means if m.calibrated_ece is not None],
    }
    return rows


def show(figures: dict[str, dict[str, Any]]) -> None:
    """Three tables, one for each figure."""
    methods = list(figures)
    for key in ("accuracy", "ece", "calibrated_ece"):
        print(f"\n{key:16}" + "".join(f"{method:>22}" for method in methods))
        for row in figures[methods[0]]:
            cells = (cell(figures[method][row][key]) for method in methods)
            print(f"{row:16}" + "".join(f"{text:>22}" for text in cells))


def cell(values: Sequence[float]) -> str:
    """A mean, with the range of seeds behind it where there are several."""
    if not values:
        return "-"
    text = f"{statistics.mean(values):.3f}"
    return text if len(values) == 1 else f"{text} [{min(values):.3f}, {max(values):.3f}]"


if __name__ == "__main__":
    main()
