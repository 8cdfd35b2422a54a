"""The tables of docs/calibration.md, from the results that are committed.

python benchmarks/calibrators_page.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.provenance import RESULTS

Document = dict[str, Any]


def main() -> None:
    for title, table in tables().items():
        print(f"\n{title}\n")
        print("\n".join(table))


def tables() -> dict[str, list[str]]:
    """Every table as lines of Markdown, by what it shows."""
    found: Document = json.loads((RESULTS / "calibrators.json").read_text(encoding="utf-8"))
    distances: Document = json.loads((RESULTS / "shift_score.json").read_text(encoding="utf-8"))
    return {
        "ECE": list(errors(found)),
        "Negative log-likelihood": list(likelihoods(found)),
        "Sets": list(coverages(found)),
        "Risks and distance": list(risks(found)),
        "AUROC of shift scores": list(aurocs(distances)),
    }


def errors(found: Document) -> Iterator[str]:
    """ECE in percent of every set after every calibrator; bold where likelihood is below raw."""
    kinds = list(next(iter(found["datasets"].values()))["calibrators"])
    yield from _head(["data set", *kinds, "chance level"])
    for name, row in found["datasets"].items():
        each = row["calibrators"]
        cells = [
            f"**{100 * each[kind]['ece']:.2f}**"
            if each[kind]["nll"] > each["raw"]["nll"]
            else f"{100 * each[kind]['ece']:.2f}"
            for kind in kinds
        ]
        yield _line([_name(name, row), *cells, f"{100 * row['ece_null_p95']:.2f}"])


def likelihoods(found: Document) -> Iterator[str]:
    """NLL in distribution and over the shifted sets, and what cross-validation saw before."""
    held_out = {each["kind"]: each["nll"] for each in found["choice"]["scores"]}
    held_out["raw"] = found["choice"]["raw_nll"]
    own = next(row for row in found["datasets"].values() if row["in_distribution"])
    shifted = {each["kind"]: each for each in found["mean_of_the_shifted"]["calibrators"]}
    shifted["raw"] = found["mean_of_the_shifted"]
    columns = ["cross-validated", "in distribution", "mean of the shifts", "their ECE, %"]
    yield from _head(["", *columns])
    for kind, each in own["calibrators"].items():
        figures = (held_out[kind], each["nll"], shifted[kind]["nll"])
        error = f"{100 * shifted[kind]['ece']:.2f}"
        yield _line([kind, *(f"{value:.4f}" for value in figures), error])


def coverages(found: Document) -> Iterator[str]:
    """Coverage and mean size of RAPS sets, the others in the results."""
    first = next(iter(found["datasets"].values()))["sets"]
    asked = list(dict.fromkeys(each["asked"] for each in first))
    yield from _head(["data set", *(f"asked {100 * coverage:.4g} %" for coverage in asked)])
    for name, row in found["datasets"].items():
        measured = [each["measured"] for each in row["sets"] if each["method"] == "raps"]
        yield _line(
            [
                _name(name, row),
                *(f"{_percent(each['coverage'])}, {each['mean_size']:.2f}" for each in measured),
            ]
        )


def risks(found: Document) -> Iterator[str]:
    """What the threshold for each risk accepts, and how far the images lie."""
    first = next(iter(found["datasets"].values()))["risks"]
    asked = [each["max_risk"] for each in first]
    names = [name for risk in asked for name in (f"accepted at {100 * risk:.4g} %", "wrong")]
    yield from _head(["data set", *names, "AUROC of the shift score", "beyond 0.99"])
    for name, row in found["datasets"].items():
        cells = [_percent(each[key]) for each in row["risks"] for key in ("accepted_share", "risk")]
        shift = row["shift_score"]
        auroc = "–" if shift["auroc"] is None else f"{shift['auroc']:.3f}"
        yield _line([_name(name, row), *cells, auroc, _percent(shift["beyond"])])


def aurocs(found: Document) -> Iterator[str]:
    """Every way of measuring distance, with the features of carot-mini as it ships."""
    rows = found["auroc"]
    yield from _head(["AUROC", *next(iter(rows.values()))])
    for name, row in rows.items():
        yield _line([name, *(f"{value:.3f}" for value in row.values())])


def _name(name: str, row: Document) -> str:
    return name + (" (ID)" if row["in_distribution"] else "")


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _head(names: Sequence[str]) -> Iterator[str]:
    yield _line(names)
    yield "|---" * len(names) + "|"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
