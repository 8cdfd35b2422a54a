"""From kept logits to the document that is published, and the tables that are printed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks.fashion.claims import claims_of
from benchmarks.fashion.collect import Collected, Task, pool_of
from benchmarks.fashion.derived import DERIVED
from benchmarks.fashion.measures import RESAMPLES, Measured, estimate, measure
from benchmarks.fashion.plan import BUDGET_RATE, EPOCHS, PROTOCOLS, RATES, ROWS, SEEDS, TUNING_SEED
from benchmarks.fashion.runs import BATCH_SIZE, Run
from benchmarks.fashion.suite import Suite, description, features_of

COLUMNS = {
    "id_accuracy": "ID accuracy, %",
    "ood_accuracy": "OOD accuracy, %",
    "id_excess_ece": "ID excess ECE, %",
    "ood_excess_ece": "OOD excess ECE, %",
    "id_after_excess_ece": "ID excess ECE after temperature, %",
    "ood_after_excess_ece": "OOD excess ECE after temperature, %",
    "ood_squared": "OOD squared error, debiased, ×10⁴",
    "id_nll": "ID NLL",
    "ood_nll": "OOD NLL",
}
SCALES = {"ood_squared": 1e4, "id_nll": 1.0, "ood_nll": 1.0}
TITLES = {name: row.title for name, row in ROWS.items()} | {
    name: row.title for name, row in DERIVED.items()
}


def document_of(collected: Collected, folder: Path, sets: Suite, workers: int) -> dict[str, Any]:
    """Everything that is published; figures per image stay in `folder`, their hashes are inside.

    Rows of other protocols than (P) are those that are trained at another rate.
    """
    labels = {name: images.labels_N for name, images in sets.sets.items()}
    zero_shot = measure(_start(sets), labels)
    titles = {"zero-shot": "zero-shot", **TITLES}
    known = _measured(collected, folder, labels, workers)
    tables: dict[str, dict[str, list[Measured]]] = {}
    rows: dict[str, Any] = {}
    for protocol, runs in collected.runs.items():
        tables[protocol] = {"zero-shot": [zero_shot]}
        rows[protocol] = {"zero-shot": _row("zero-shot", [zero_shot])} if protocol == "P" else {}
        for name, tasks in runs.items():
            measured = [known[task.key] for task in tasks]
            hashes = [(task.done(folder) or {}).get("sha256") for task in tasks]
            cost = [
                (task.done(folder) or {}).get("training_cpu_seconds")
                for task in tasks
                if isinstance(task, Run)
            ]
            tables[protocol][name] = measured
            rate = collected.rates[protocol].get(name)
            if protocol != "P" and rate in (None, BUDGET_RATE):
                continue  # the same runs as in (P), where they stand
            rows[protocol][name] = _row(titles[name], measured) | {
                "learning_rate": rate,
                "logits_sha256": hashes,
                "training_cpu_seconds": cost,
            }
    return {
        "suite": description(sets),
        "epochs": EPOCHS,
        "rates": list(RATES),
        "batch_size": BATCH_SIZE,
        "seeds": list(SEEDS),
        "tuning_seed": TUNING_SEED,
        "resamples": RESAMPLES,
        "protocols": PROTOCOLS,
        "tuning": collected.tuning,
        "rows": rows,
        "claims": claims_of(tables, titles),
    }


def _measured(
    collected: Collected, folder: Path, labels: Mapping[str, Tensor], workers: int
) -> dict[str, Measured]:
    """Every run of every protocol once, by key."""
    tasks = {
        task.key: task for rows in collected.runs.values() for row in rows.values() for task in row
    }
    with pool_of(workers) as pool:
        jobs = {key: pool.submit(_measure, task, folder, labels) for key, task in tasks.items()}
        return {key: job.result() for key, job in jobs.items()}


def _measure(task: Task, folder: Path, labels: Mapping[str, Tensor]) -> Measured:
    return measure(task.logits(folder), labels)


def _row(title: str, measured: list[Measured]) -> dict[str, Any]:
    figures = {name: vars(estimate(measured, name)) for name in COLUMNS}
    return {
        "title": title,
        "figures": {name: {k: each[k] for k in ("mean", "half")} for name, each in figures.items()},
        "seeds": [
            {
                "figures": each.figures,
                "temperature": each.temperature,
                "validation": each.validation,
                "sets": each.sets,
            }
            for each in measured
        ],
    }


def _start(sets: Suite) -> dict[str, Tensor]:
    head_CD = sets.text_head(sets.model)
    return {name: features_of(sets.model, images, head_CD)[1] for name, images in sets.sets.items()}


def cell(row: Mapping[str, Any], figure: str) -> str:
    """A mean with its interval, as people read it."""
    scale = SCALES.get(figure, 100.0)
    digits = 1 if "accuracy" in figure or figure == "ood_squared" else 3 if "nll" in figure else 2
    mean, half = (scale * row["figures"][figure][part] for part in ("mean", "half"))
    return f"{mean:.{digits}f} ± {half:.{digits}f}"


def print_tables(document: Mapping[str, Any]) -> None:
    """The tables and the claims, as text."""
    for protocol, rows in document["rows"].items():
        print(f"\n({protocol}) {PROTOCOLS[protocol]}")
        width = max(len(row["title"]) for row in rows.values()) + 2
        print(" " * width + "".join(f"{name:>22}" for name in COLUMNS))
        for row in rows.values():
            cells = "".join(f"{cell(row, figure):>22}" for figure in COLUMNS)
            print(f"{row['title']:{width}}{cells}")
    print("\nclaims:")
    for claim in document["claims"]:
        holds = "holds" if claim["holds"] else "DOES NOT HOLD"
        print(f"  {holds:14}({claim['protocol']}) {claim['claim']}: "
              f"{claim['measured']:+.4f} ± {claim['half']:.4f}, p = {claim['p']:.3g}")  # fmt: skip
