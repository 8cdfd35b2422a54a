"""What `benchmarks/shift.py` says: rows, tests against CaRot as published, and its claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.shift_plan import DEFAULT, PAPER
from benchmarks.shift_tables import (
    COLUMNS,
    LOWER_IS_BETTER,
    NEITHER_IS_BETTER,
    Comparison,
    Mean,
    column,
    row_of,
)

PEERS = ("finetune", "lp-ft", "flyp")
ID_MARGIN = 0.005
LESS_ECE = 0.20
SPLITS = {"ood": "with printed digits", "ood_handwritten": "without printed digits"}
Rows = Mapping[str, Any]


def finals(rows: Rows, name: str) -> list[dict[str, float]]:
    """The figures of a row's last checkpoints, one for each seed."""
    return [row_of(checkpoints[-1]) for checkpoints in rows[name]["seeds"]]


def against(rows: Rows, ours: str, theirs: str, figure: str) -> Comparison | None:
    """The paired difference of two rows; None where they have no common seeds."""
    a, b = column(finals(rows, ours), figure), column(finals(rows, theirs), figure)
    return Comparison.of(a, b) if len(a) == len(b) else None


def claims_of(rows: Rows) -> list[dict[str, Any]]:
    """Every claim with its numbers and whether it holds."""
    return [*_against_peers(rows), *_against_paper(rows)]


def _against_peers(rows: Rows) -> Iterator[dict[str, Any]]:
    for split, words in SPLITS.items():
        for peer in PEERS:
            for figure in ("accuracy", "ece"):
                found = against(rows, PAPER, peer, f"{split}_{figure}")
                assert found is not None
                lower = figure == "ece"
                relation = "lower" if lower else "higher"
                name = "calibration error" if lower else "accuracy"
                yield {
                    "claim": f"CaRot as published has {relation} OOD {name} than "
                    f"{rows[peer]['title']} ({words}), p < 0.05",
                    "difference": found.difference,
                    "p": found.p,
                    "holds": found.holds(lower=lower),
                }
    means = {n: Mean.of(column(finals(rows, n), "id_accuracy")).mean for n in rows}
    best = max(means, key=lambda name: means[name])
    yield {
        "claim": "CaRot as published is at most 0.5 points of ID accuracy below the best row",
        "difference": means[PAPER] - means[best],
        "best": rows[best]["title"],
        "holds": means[PAPER] >= means[best] - ID_MARGIN,
    }


def _against_paper(rows: Rows) -> Iterator[dict[str, Any]]:
    for split, words in SPLITS.items():
        accuracy = against(rows, DEFAULT, PAPER, f"{split}_accuracy")
        assert accuracy is not None
        yield {
            "claim": f"the default recipe has higher OOD accuracy than CaRot as published "
            f"({words}), p < 0.05",
            "difference": accuracy.difference,
            "p": accuracy.p,
            "holds": accuracy.holds(lower=False),
        }
        ours, theirs = (
            Mean.of(column(finals(rows, name), f"{split}_ece")).mean for name in (DEFAULT, PAPER)
        )
        error = against(rows, DEFAULT, PAPER, f"{split}_ece")
        assert error is not None
        yield {
            "claim": f"the default recipe has at least 20 % lower OOD calibration error than CaRot "
            f"as published ({words})",
            "difference": error.difference,
            "relative": ours / theirs - 1.0,
            "p": error.p,
            "holds": ours <= (1.0 - LESS_ECE) * theirs,
        }
    ours_id = against(rows, DEFAULT, PAPER, "id_accuracy")
    assert ours_id is not None
    worse = ours_id.difference < 0 and ours_id.p is not None and ours_id.p < 0.05
    yield {
        "claim": "the default recipe has no lower ID accuracy than CaRot as published "
        "(not lower at p < 0.05)",
        "difference": ours_id.difference,
        "p": ours_id.p,
        "holds": not worse,
    }


def print_tables(document: Mapping[str, Any]) -> None:
    """The main table, the tests and the claims, as text."""
    rows = document["rows"]
    width = max(len(row["title"]) for row in rows.values()) + 2
    names = [n for n in COLUMNS if "handwritten" not in n]
    print("".join(f"{COLUMNS[name]:>30}" for name in names).rjust(width + 30 * len(names)))
    for name, row in rows.items():
        cells = (cell(rows, name, figure) for figure in names)
        print(f"{row['title']:{width}}" + "".join(f"{text:>30}" for text in cells))
    print("\npaired against CaRot as published (difference in percentage points, p):")
    for name, row in rows.items():
        if name == PAPER:
            continue
        tests = [
            (figure, against(rows, name, PAPER, figure)) for figure in ("ood_accuracy", "ood_ece")
        ]
        shown = [
            f"{f} {100 * t.difference:+.2f} ({p_text(t.p)})" for f, t in tests if t is not None
        ]
        if shown:
            print(f"  {row['title']:{width}}" + "  ".join(shown))
    print("\nclaims:")
    for claim in document["claims"]:
        print(f"  {'holds' if claim['holds'] else 'DOES NOT HOLD':14}{claim['claim']}: "
              f"{100 * claim['difference']:+.2f} points")  # fmt: skip


def cell(rows: Rows, name: str, figure: str) -> str:
    """A mean with its interval: accuracy and ECE in percent."""
    factor, digits = (1, 4) if figure == "sigma_min" else (100, 1 if "accuracy" in figure else 2)
    return Mean.of(column(finals(rows, name), figure)).text(factor=factor, digits=digits)


def p_text(p: float | None) -> str:
    """A p value as people read it."""
    if p is None:
        return "no test"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def best_rows(rows: Rows, figure: str) -> set[str]:
    """The row with the best mean of a figure; none where there is no better and worse."""
    if figure in NEITHER_IS_BETTER:
        return set()
    means = {n: Mean.of(column(finals(rows, n), figure)).mean for n in rows}
    pick = min if figure in LOWER_IS_BETTER else max
    return {pick(means, key=lambda name: means[name])}
