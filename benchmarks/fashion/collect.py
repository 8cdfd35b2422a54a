"""Runs whatever is missing, in an order in which the most telling rows come first."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.fashion.derived import DERIVED, Derived
from benchmarks.fashion.measures import validated
from benchmarks.fashion.plan import (
    BUDGET_RATE,
    PROTOCOLS,
    QUICK_SEEDS,
    ROWS,
    SEEDS,
    run,
    tuning_runs,
)
from benchmarks.fashion.runs import Run
from benchmarks.fashion.suite import VALIDATION, suite

Task = Run | Derived


@dataclass(frozen=True)
class Collected:
    """What there is to report.

    Attributes:
        rates: by protocol and row, the rate that it was trained with.
        runs: by protocol and row, what was run for each seed.
        tuning: by row and rate, accuracy and NLL on validation.
    """

    rates: dict[str, dict[str, float]]
    runs: dict[str, dict[str, list[Task]]]
    tuning: dict[str, dict[str, dict[str, float]]]


def collect(
    folder: Path,
    workers: int,
    *,
    quick: bool,
    rows: Iterable[str] = ROWS,
    protocols: Iterable[str] = PROTOCOLS,
) -> Collected:
    """Tune, train and derive; done runs are not done again.

    Args:
        protocols: of PROTOCOLS; `P` is always among them.
    """
    names = list(rows)
    seeds = QUICK_SEEDS if quick else SEEDS
    budget = {name: [run(name, BUDGET_RATE, seed, quick=quick) for seed in seeds] for name in names}
    told = [name for name in names if ROWS[name].tuned]
    tuning = {name: tuning_runs(name, quick=quick) for name in told}
    suite(next(iter(budget.values()))[0].limit)  # makes shifted pictures once
    with pool_of(workers) as pool:
        _all(pool, [each for name in told for each in budget[name]], folder)
        _all(pool, [each for name in told for each in tuning[name]], folder)
        found = {name: _validated(tuning[name], folder) for name in told}
        rates = {"P": dict.fromkeys(names, BUDGET_RATE), **_chosen(found)}
        runs: dict[str, dict[str, list[Task]]] = {}
        for protocol in protocols:
            trained = budget
            if protocol != "P":
                trained = {
                    name: [run(name, rates[protocol][name], seed, quick=quick) for seed in seeds]
                    for name in told
                }
                _all(pool, [each for row in trained.values() for each in row], folder)
            runs[protocol] = {name: [*row] for name, row in trained.items()}
            for name, derived in DERIVED.items():
                if derived.origin in trained:
                    runs[protocol][name] = [*derived.of(trained[derived.origin])]
                    _all(pool, runs[protocol][name], folder)
        _all(pool, [each for name in names for each in budget[name]], folder)
    return Collected(rates, runs, found)


def _validated(runs: list[Run], folder: Path) -> dict[str, dict[str, float]]:
    result = {}
    for each in runs:
        labels = {VALIDATION: suite(each.limit).sets[VALIDATION].labels_N}
        result[f"{each.learning_rate:g}"] = validated(each.logits(folder), labels)
    return result


def _chosen(found: dict[str, dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """By protocol and row, the best rate on validation."""
    rates: dict[str, dict[str, float]] = {"T": {}, "N": {}}
    for name, tried in found.items():
        rates["T"][name] = float(max(tried, key=lambda rate: tried[rate]["accuracy"]))
        rates["N"][name] = float(min(tried, key=lambda rate: tried[rate]["nll"]))
    return rates


def _all(pool: ProcessPoolExecutor, tasks: Iterable[Task], folder: Path) -> None:
    missing = {task.key: task for task in tasks if task.done(folder) is None}
    jobs = {pool.submit(task.execute, folder): key for key, task in missing.items()}
    started = time.monotonic()
    for count, job in enumerate(as_completed(jobs), start=1):
        job.result()
        seconds = time.monotonic() - started
        print(f"{count}/{len(jobs)} {jobs[job]}: {seconds:.0f} s", flush=True)


def pool_of(workers: int) -> ProcessPoolExecutor:
    """Processes of one thread each."""
    # A fresh interpreter each: a forked one would inherit torch's threads.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread)


def _one_thread() -> None:
    torch.set_num_threads(1)
