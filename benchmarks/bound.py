"""Do the terms of CaRot's bound go with errors under shift, as the paper says?

    python benchmarks/bound.py [--quick] [--json FILE] [--plot FILE] [--shift FILE] [--page FILE]

The bound's two terms that can be measured (see `carot/evaluation/bound.py`) are 1 / sigma_min of
the representation and the ID calibration error. Part (a) is the paper's toy experiment, 111 small
networks on drawn features: `benchmarks/bound_toy.py` tells what the paper leaves open and how it
was decided. Prints means by objective, then for each term, and for both together, Pearson's r and
Spearman's rho with the error under shift, and 95 % bootstrap intervals over models.

The paper takes the mean of 1 / sigma_min and ID ECE. The former is in the hundreds and the latter
below 1, so that mean is 1 / sigma_min for all that a correlation can tell; `mean of both` is it.
`mean, standardised` gives each term mean 0 and deviation 1 over the models first.

One group can make a correlation alone: a strong orthogonality constraint moves sigma_min far, and
repeats differ in their data. So the same is given within each repeat, and within the models with a
constraint, with a strong one and without, after each repeat's mean was taken off all figures; and
the ID error, which is no term of the bound, is given beside the terms.

Part (b), where `benchmarks/shift.py` has left its results: the same for checkpoints of carot-mini
on the digits suite, and what comes of choosing among them by the bound (`benchmarks/choosing.py`).
With `--keep-toy` part (a) is taken from the JSON file as it is. Writes docs/bound.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import bound_page, bound_toy, choosing
from benchmarks.correlations import correlate, standardised
from benchmarks.plots import panels, save_svg
from benchmarks.provenance import RESULTS, write_results

STRONG = 1e-3
"""From this weight on the constraint is met about as well as it can be."""
Rows = Sequence[dict[str, Any]]
PREDICTORS = {
    "inverse_sigma_min": "1 / sigma_min",
    "id_ece": "ID ECE",
    "id_squared_calibration_error": "ID squared cal. error",
    "mean": "mean of both",
    "standardised_mean": "mean, standardised",
    "id_error": "no term: ID error",
}
OUTCOMES = {"ood_mse": "OOD MSE", "ood_error": "OOD error", "ood_ece": "OOD ECE"}
OBJECTIVES = ("baseline", "+SD", "+OC", "+OC +SD")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="9 models, a third of the training")
    parser.add_argument("--json", type=Path, default=Path("build/bound.json"))
    parser.add_argument("--plot", type=Path, default=Path("build/bound_toy.svg"))
    parser.add_argument("--shift", type=Path, default=RESULTS / "shift.json")
    parser.add_argument("--page", type=Path, default=Path("build/bound.md"))
    parser.add_argument("--keep-toy", action="store_true", help="part (a) as it is in the file")
    options = parser.parse_args(arguments)
    if options.keep_toy:
        toy = json.loads(options.json.read_text(encoding="utf-8"))["toy"]
    else:
        rows = bound_toy.experiment(bound_toy.QUICK if options.quick else bound_toy.FULL)
        groups = {name: correlations(chosen) for name, chosen in split(rows).items()}
        toy = {"models": len(rows), "correlations": groups, "rows": rows}
    show_means(toy["rows"])
    show_correlations(toy["correlations"])
    plot(toy["rows"], options.plot)
    document: dict[str, Any] = {"toy": toy}
    if options.shift.exists():
        document["checkpoints"] = choosing.part_b(options.shift)
        choosing.show(document["checkpoints"])
    write_results(options.json, document)
    bound_page.write_page(document, options.page)


def split(rows: Rows) -> dict[str, Rows]:
    """All models, and parts of them."""
    parts: dict[str, Rows] = {"all": rows}
    for repeat in sorted({row["repeat"] for row in rows}):
        parts[f"repeat {repeat}"] = [row for row in rows if row["repeat"] == repeat]
    parts["with OC"] = centred([row for row in rows if row["orthogonality"] > 0])
    parts["strong OC"] = centred([row for row in rows if row["orthogonality"] >= STRONG])
    parts["without OC"] = centred([row for row in rows if row["orthogonality"] == 0])
    return parts


def centred(rows: Rows) -> Rows:
    """The rows with every figure less its mean over the rows of the same repeat."""
    figures = ("inverse_sigma_min", "id_ece", "id_squared_calibration_error", "id_error", *OUTCOMES)
    found = []
    for row in rows:
        own = [other for other in rows if other["repeat"] == row["repeat"]]
        means = {key: np.mean([other[key] for other in own]) for key in figures}
        found.append({**row, **{key: float(row[key] - means[key]) for key in figures}})
    return found


def predictors(rows: Rows) -> dict[str, list[float]]:
    """What the bound is made of, by name, a value for each row."""
    inverse = np.array([row["inverse_sigma_min"] for row in rows])
    ece = np.array([row["id_ece"] for row in rows])
    return {
        "inverse_sigma_min": inverse.tolist(),
        "id_ece": ece.tolist(),
        "id_squared_calibration_error": [row["id_squared_calibration_error"] for row in rows],
        "mean": ((inverse + ece) / 2).tolist(),
        "standardised_mean": ((standardised(inverse) + standardised(ece)) / 2).tolist(),
        "id_error": [row["id_error"] for row in rows],
    }


def correlations(rows: Rows) -> dict[str, dict[str, Any]]:
    """By outcome and predictor."""
    values = predictors(rows)
    return {
        outcome: {
            name: correlate(values[name], [row[outcome] for row in rows]).document()
            for name in PREDICTORS
        }
        for outcome in OUTCOMES
    }


def show_means(rows: Rows) -> None:
    keys = ("sigma_min", "id_ece", "id_error", "ood_mse", "ood_error", "ood_ece")
    print(f"toy: {len(rows)} models; means")
    print(f"{'objective':12}{'models':>8}" + "".join(f"{key:>12}" for key in keys))
    for name in OBJECTIVES:
        own = [row for row in rows if row["objective"] == name]
        means = "".join(f"{np.mean([row[key] for row in own]):12.4f}" for key in keys)
        print(f"{name:12}{len(own):8}" + means)


def show_correlations(groups: dict[str, dict[str, dict[str, Any]]]) -> None:
    """All models with intervals, then Pearson's r within each group."""
    for outcome, label in OUTCOMES.items():
        print(f"\n{label + ', all models':28}{'Pearson r':>26}{'Spearman rho':>26}")
        for name, predictor in PREDICTORS.items():
            found = groups["all"][outcome][name]
            print(f"{predictor:28}" + cell(found, "pearson") + cell(found, "spearman"))
    print("\nPearson's r / Spearman's rho within groups; those by OC less each repeat's mean")
    names = [name for name in groups if name != "all"]
    print(f"{'':40}" + "".join(f"{name:>15}" for name in names))
    for outcome, label in OUTCOMES.items():
        for name, predictor in PREDICTORS.items():
            found = [groups[group][outcome][name] for group in names]
            cells = (f"{number(f['pearson'])} / {number(f['spearman'])}" for f in found)
            print(f"{label:12}{predictor:28}" + "".join(f"{text:>15}" for text in cells))


def cell(found: dict[str, Any], key: str) -> str:
    """A correlation with its interval."""
    if found[key] is None:
        return f"{'-':>26}"
    low, high = found[f"{key}_interval"]
    return f"{f'{found[key]:+.2f} [{low:+.2f}, {high:+.2f}]':>26}"


def number(value: float | None) -> str:
    return "    -" if value is None else f"{value:+.2f}"


def plot(rows: Rows, path: Path) -> None:
    """Each term, and both together, against the error and the calibration error under shift."""
    values = predictors(rows)
    figure, axes = panels(3)
    shown = (("inverse_sigma_min", "ood_mse"), ("id_ece", "ood_mse"),
             ("standardised_mean", "ood_ece"))  # fmt: skip
    for axis, (name, outcome) in zip(axes, shown, strict=True):
        outcomes = [row[outcome] for row in rows]
        for colour, objective in enumerate(OBJECTIVES):
            own = [i for i, row in enumerate(rows) if row["objective"] == objective]
            axis.scatter([values[name][i] for i in own], [outcomes[i] for i in own],
                         s=14, alpha=0.7, color=f"C{colour}", label=objective)  # fmt: skip
        r = number(correlate(values[name], outcomes).pearson)
        axis.set(xlabel=PREDICTORS[name], ylabel=OUTCOMES[outcome], title=f"r = {r}")
    axes[0].set_xscale("log")
    axes[0].legend(fontsize=7)
    save_svg(figure, path)


if __name__ == "__main__":
    main()
