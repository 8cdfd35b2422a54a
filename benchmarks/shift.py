"""Every method on the handwritten-digits suite, with the same budget and the same tuning rule.

    python benchmarks/shift.py [--quick] [--workers 2] [--out FILE] [--page FILE] [--runs FOLDER]

Fine-tunes carot-mini on clean white-on-black handwriting (823 images) and measures seven shifts of
the test split. Tuning looks at in-distribution validation only (`shift_plan.py` says the grid and
the rule). Prints means with 95 % intervals (Student's t over seeds), paired tests against CaRot as
published, the parts of the default recipe and what each adds, and whether the claims that this
project makes hold; writes JSON, and the page docs/results-digits.md with its plots. Finished runs
are kept under --runs and not done again. `--quick` does the same on 8 images, three seeds and one
configuration each: it shows that everything runs, and its figures mean nothing.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch

from benchmarks.provenance import RESULTS, ROOT, write_results
from benchmarks.shift_derived import DERIVED, derive, zero_shot
from benchmarks.shift_page import write_page
from benchmarks.shift_plan import (
    ABLATION,
    QUICK_IMAGES,
    QUICK_SEEDS,
    SEEDS,
    TRAINED,
    TUNING_SEED,
    WISE_ALPHA,
    Trained,
)
from benchmarks.shift_report import claims_of, print_tables
from benchmarks.shift_runs import BATCH_SIZE, WARMUP, Run
from benchmarks.shift_suite import SEVERITIES

EVERY = TRAINED | ABLATION


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, then print and write everything."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--runs", type=Path, default=None, help="where runs are kept")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--page", type=Path, default=None)
    options = parser.parse_args(arguments)
    kind = "shift-quick" if options.quick else "shift"
    build = ROOT / "build"
    runs = options.runs or build / kind
    out = options.out or (build / f"{kind}.json" if options.quick else RESULTS / "shift.json")
    page = options.page or (
        build / "results-digits.md" if options.quick else ROOT / "docs/results-digits.md"
    )
    runs.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with _pool(options.workers) as pool:
        document = collect(pool, runs, quick=options.quick)
    document["seconds_of_this_call"] = round(time.monotonic() - started)
    document["claims"] = claims_of(document["rows"])
    write_results(out, document)
    print_tables(document)
    write_page(out, page)
    print(f"\nwritten: {_shown(out)}, {_shown(page)}")


def collect(pool: ProcessPoolExecutor, runs: Path, *, quick: bool) -> dict[str, Any]:
    """Tune, train and derive; the whole document but provenance and claims."""
    seeds = QUICK_SEEDS if quick else SEEDS
    tuning = [run for name, row in EVERY.items() for run in _grid(name, row, quick=quick)]
    tuned = dict(zip((run.key for run in tuning), _all(pool, tuning, runs), strict=True))
    chosen = {name: _chosen(name, row, tuned, quick=quick) for name, row in EVERY.items()}
    finals = {
        name: [
            row.run(
                name,
                chosen[name].epochs,
                chosen[name].learning_rate,
                seed,
                images=QUICK_IMAGES if quick else None,
            )
            for seed in seeds
        ]
        for name, row in EVERY.items()
    }
    _all(pool, [run for each in finals.values() for run in each], runs)
    rows: dict[str, Any] = {"zero-shot": zero_shot(QUICK_IMAGES if quick else None)}
    for name, row in EVERY.items():
        found = [run.done(runs) for run in finals[name]]
        rows[name] = {
            "title": row.title,
            "ablation": name in ABLATION,
            "configuration": {
                "epochs": chosen[name].epochs,
                "learning_rate": chosen[name].learning_rate,
            },
            "tuning": {key: t["checkpoints"][-1]["validation"] for key, t in tuned.items()
                       if key.startswith(f"{name}-tuning-")},
            "seeds": [each["checkpoints"] for each in found if each is not None],
            "seconds": [each["seconds"] for each in found if each is not None],
        }  # fmt: skip
    jobs = [pool.submit(derive, name, finals, runs) for name in DERIVED]
    rows |= {name: job.result() for name, job in zip(DERIVED, jobs, strict=True)}
    return {
        "quick": quick,
        "seeds": list(seeds),
        "tuning_seed": TUNING_SEED,
        "severities": list(SEVERITIES),
        "batch_size": BATCH_SIZE,
        "warmup_fraction": WARMUP,
        "wise_alpha": WISE_ALPHA,
        "rows": rows,
    }


def _grid(name: str, row: Trained, *, quick: bool) -> list[Run]:
    """The runs to choose among; of one there is nothing to choose."""
    grid = [] if row.like is not None else row.grid(name, quick=quick)
    return grid if len(grid) > 1 else []


def _chosen(name: str, row: Trained, tuned: dict[str, Any], *, quick: bool) -> Run:
    """The configuration with the lowest validation loss."""
    of = row.like or name
    grid = EVERY[of].grid(of, quick=quick)
    if len(grid) == 1:
        return grid[0]

    def loss(run: Run) -> float:
        return float(tuned[run.key]["checkpoints"][-1]["validation"]["nll"])

    return min(grid, key=loss)


def _all(pool: ProcessPoolExecutor, runs: Iterable[Run], folder: Path) -> list[dict[str, Any]]:
    """The results of runs, in their order; done ones are not done again."""
    jobs = {pool.submit(run.execute, folder): run for run in runs if run.done(folder) is None}
    for count, job in enumerate(as_completed(jobs), start=1):
        print(f"{count}/{len(jobs)} {jobs[job].key}: {job.result()['seconds']:.0f} s", flush=True)
    return [run.execute(folder) for run in runs]  # all are done: only read


def _pool(workers: int) -> ProcessPoolExecutor:
    # A fresh interpreter each: a forked one would inherit torch's threads.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread)


def _one_thread() -> None:
    torch.set_num_threads(1)


def _shown(path: Path) -> str:
    path = path.resolve()
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


if __name__ == "__main__":
    main()
