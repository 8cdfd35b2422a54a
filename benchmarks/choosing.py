"""Does the bound order real checkpoints, and does choosing by it help? Part (b) of `bound.py`.

Reads what `benchmarks/shift.py` wrote: every checkpoint of every training run, with its terms of
the bound in distribution and its errors under shift. First rank correlations over all of them; then
what rules that see in-distribution quantities alone pick, out of three kinds of candidates:

- the checkpoints of one run, where it was measured half-way, too,
- the final checkpoints of all methods with one seed,
- all checkpoints of all methods with one seed.

A rule's figure is the mean over such groups of what it picked; `random` is the mean over all
candidates, `oracle` the best under shift, which no rule can see. The picks use the validation
split, the correlations the test split.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.correlations import Correlation, correlate
from benchmarks.shift_tables import row_of
from carot.evaluation.selection import Judgement, score

TERMS = {
    "sigma_min": "σ_min",
    "calibration_error": "ID calibration error (squared)",
    "bound": "bound score (test)",
    "id_accuracy": "no term: ID accuracy",
    "id_nll": "no term: ID NLL",
}
OUTCOMES = {"ood_accuracy": "OOD accuracy", "ood_ece": "OOD ECE"}
RULES = ("random", "last", "accuracy", "nll", "bound", "oracle")
GROUPS = {
    "run": "half-way and end of one run",
    "final": "final checkpoints of all methods, one seed",
    "all": "all checkpoints of all methods, one seed",
}


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of the shift benchmark.

    Attributes:
        share: how much of its run was done.
        validation: what a rule may see.
        figures: terms on the test split and errors under shift, by name.
    """

    method: str
    seed: int
    share: float
    validation: Judgement
    figures: Mapping[str, float]


def checkpoints(document: Mapping[str, Any]) -> list[Checkpoint]:
    """Every checkpoint of the rows that were trained, ablations among them."""
    found = []
    for method, row in document["rows"].items():
        if "configuration" not in row:
            continue
        for seed, run in enumerate(row["seeds"]):
            found += [_checkpoint(method, seed, each) for each in run]
    return found


def _checkpoint(method: str, seed: int, measured: dict[str, Any]) -> Checkpoint:
    test = measured["sets"]["test"]
    terms = Judgement(
        test["accuracy"], test["nll"], measured["calibration_error"], measured["sigma_min"]
    )
    figures = {
        **row_of(measured),
        "calibration_error": measured["calibration_error"],
        "bound": score("bound", terms),
        "id_nll": test["nll"],
    }
    judged = Judgement(**measured["validation"])
    return Checkpoint(method, seed, measured["share"], judged, figures)


def correlations(every: Sequence[Checkpoint]) -> dict[str, dict[str, Correlation]]:
    """Spearman's rho (and Pearson's r) of each term with each outcome.

    The bound's score is infinite where features do not span their space; those are left out of it.
    """
    return {
        term: {
            outcome: correlate(
                [each.figures[term] for each in every if math.isfinite(each.figures[term])],
                [each.figures[outcome] for each in every if math.isfinite(each.figures[term])],
            )
            for outcome in OUTCOMES
        }
        for term in TERMS
    }


def groups_of(every: Sequence[Checkpoint], kind: str) -> list[list[Checkpoint]]:
    """The candidates that a rule chooses from, group by group; one alone is no choice."""
    keys: dict[str, Callable[[Checkpoint], object]] = {
        "run": lambda c: (c.method, c.seed),
        "final": lambda c: c.seed,
        "all": lambda c: c.seed,
    }
    groups: dict[object, list[Checkpoint]] = {}
    for each in every:
        if kind != "final" or each.share == 1.0:
            groups.setdefault(keys[kind](each), []).append(each)
    return [group for group in groups.values() if len(group) > 1]


def picks(candidates: Sequence[Checkpoint], rule: str, outcome: str) -> list[Checkpoint]:
    """What a rule picks; all candidates for `random`. Of equals the last."""
    if rule == "random":
        return list(candidates)
    if rule == "oracle":
        pick = min if outcome == "ood_ece" else max
        return [pick(candidates, key=lambda c: c.figures[outcome])]
    if rule == "last":
        latest = max(c.share for c in candidates)
        return [c for c in candidates if c.share == latest]
    scored = [score(rule, c.validation) for c in candidates]  # type: ignore[arg-type]
    best = min(range(len(scored)), key=lambda i: (scored[i], -i))
    return [candidates[best]]


def choices(every: Sequence[Checkpoint]) -> dict[str, dict[str, dict[str, float]]]:
    """Mean outcome of each rule's picks, by kind of group."""
    table: dict[str, dict[str, dict[str, float]]] = {}
    for kind in GROUPS:
        groups = groups_of(every, kind)
        table[kind] = {
            rule: {
                outcome: statistics.fmean(
                    statistics.fmean(c.figures[outcome] for c in picks(group, rule, outcome))
                    for group in groups
                )
                for outcome in OUTCOMES
            }
            for rule in RULES
        }
    return table


def part_b(results: Path) -> dict[str, Any]:
    """Correlations and choices as data."""
    document = json.loads(results.read_text(encoding="utf-8"))
    every = checkpoints(document)
    found = correlations(every)
    return {
        "shift_commit": document["provenance"]["commit"],
        "checkpoints": len(every),
        "correlations": {
            term: {outcome: c.document() for outcome, c in row.items()}
            for term, row in found.items()
        },
        "choices": choices(every),
    }


def show(part: Mapping[str, Any]) -> None:
    """Both tables, as text."""
    print(f"\n(b) {part['checkpoints']} checkpoints of the shift benchmark, Spearman's rho [95 %]")
    print(f"{'':34}" + "".join(f"{title:>28}" for title in OUTCOMES.values()))
    for term, title in TERMS.items():
        cells = [rho_text(part["correlations"][term][outcome]) for outcome in OUTCOMES]
        print(f"{title:34}" + "".join(f"{text:>28}" for text in cells))
    for kind, title in GROUPS.items():
        print(f"\nwhat each rule picks among {title}: mean OOD accuracy, mean OOD ECE")
        for rule, figures in part["choices"][kind].items():
            print(f"  {rule:10}{figures['ood_accuracy']:10.4f}{figures['ood_ece']:10.4f}")


def rho_text(found: Mapping[str, Any]) -> str:
    """Such as `-0.52 [-0.61, -0.40]`."""
    if found["spearman"] is None:
        return "not defined"
    low, high = found["spearman_interval"]
    return f"{found['spearman']:+.2f} [{low:+.2f}, {high:+.2f}]"
