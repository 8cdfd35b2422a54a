"""The page docs/results.md and its plot, from what the fashion benchmark wrote.

python -m benchmarks.fashion.page [--results FILE] [--page FILE]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.fashion.plan import DEFAULT, MERGED, PAPER, ROWS
from benchmarks.fashion.report import COLUMNS, cell
from benchmarks.plots import panels, save_svg
from benchmarks.provenance import RESULTS, ROOT

Document = Mapping[str, Any]
MARKERS = "osD^v<>"
RIVAL = "function-space"
SHOWN_SETS = ("zero-shot", "finetune", "flyp", PAPER, DEFAULT, MERGED)
HIGHER_IS_BETTER = frozenset({"id_accuracy", "ood_accuracy"})


def write_page(results: Path, page: Path) -> None:
    """The page at `page`, its plot in `img/` beside it."""
    document = json.loads(results.read_text(encoding="utf-8"))
    _plot(document, page.parent / "img" / "fashion_accuracy_ece.svg")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n\n".join(_sections(document)) + "\n", encoding="utf-8")


def _sections(document: Document) -> Iterable[str]:
    yield "# Results on photographs of clothes"
    if document["quick"]:
        yield "**Made with `--quick`: these figures show that the benchmark runs, nothing else.**"
    yield _setting(document)
    if not document["quick"]:
        yield _summary(document["rows"]["P"])
    yield "## Claims"
    yield (
        "Each is tested in every protocol where it applies. A claim that does not hold stays here "
        "as it was measured. Protocols: "
        + "; ".join(f"**({key})** {words}" for key, words in document["protocols"].items())
        + "."
    )
    yield _claims(document)
    for protocol, rows in document["rows"].items():
        yield f"## ({protocol}) {document['protocols'][protocol].capitalize()}"
        yield from _protocol(protocol, rows, document)
    yield (
        "Means ± half of a 95 % interval over seeds *and* images. Excess ECE: expected calibration "
        "error over the whole set, 15 bins, less what perfectly calibrated confidences like these "
        "show by chance on as many images; OOD: the mean over all shifted sets; *after "
        "temperature*: with the one temperature fitted on in-distribution calibration pictures. "
        "The best of a column is bold, zero-shot aside. A low raw OOD figure can be had by being "
        "unsure of everything: read it beside the ID figure. Words: [glossary](glossary.md)."
    )
    missing = [row.title for name, row in ROWS.items() if name not in document["rows"]["P"]]
    if missing:
        yield f"Rows that were not run yet: {', '.join(missing)}."
    yield "![Accuracy against excess calibration error](img/fashion_accuracy_ece.svg)"
    yield "## Set by set"
    yield "Accuracy in %, and excess ECE after temperature in %, of (P); means over seeds."
    yield _by_set(document["rows"]["P"])
    yield "## Tuning"
    yield _tuning(document)
    yield (
        "The handwritten digits, where methods can hardly be told apart, have a page of their own: "
        "[results on digits](results-digits.md)."
    )


def _setting(document: Document) -> str:
    made, suite = document["provenance"], document["suite"]
    machine, versions, images = made["machine"], made["versions"], suite["images"]
    return (
        f"carot-mini-fashion, a small CLIP that was pre-trained on 40,000 pictures of "
        f"Fashion-MNIST turned into a web of colours, textures and partly wrong captions "
        f"([model card](../carot/mini/fashion/MODEL_CARD.md)), is fine-tuned on "
        f"{suite['training_images']:,} clean grey pictures that it has not seen: "
        f"{document['epochs']} epochs, batches of {document['batch_size']}, "
        f"{len(document['seeds'])} seeds. It is measured on the data set's 10,000 test pictures: "
        f"{images['test']:,} in distribution; {images['kinds']:,} of other *kinds*, of each class "
        f"the visual cluster that lies farthest from the rest, which no training, validation or "
        f"calibration picture belongs to; and {images['noise']:,} under each of six shifts and "
        f"ten corruptions, at severities 3 to 5. Calibration and validation have "
        f"{images['calibration']:,} and {images['validation']:,} pictures. People agree with the "
        f"labels of such pictures 83 % of the time.\n\n"
        f"Intervals and p values treat seeds and test pictures as two crossed sources of chance "
        f"(`benchmarks/fashion/measures.py`). Logits of every picture are kept outside the "
        f"repository, and their hashes are in the results.\n\n"
        f"Made by `python -m benchmarks.fashion` at commit `{str(made['commit'])[:10]}` on "
        f"{made['date']}: {machine['cpu']}, {machine['cores']} cores, GPU {machine['gpu']}; "
        f"Python {versions['python']}, torch {versions['torch']}, open_clip "
        f"{versions['open_clip']}. All figures: `benchmarks/results/fashion.json`."
    )


def _summary(rows: Mapping[str, Any]) -> str:
    def said(figure: str, *names: str) -> str:
        return " and ".join(f"{cell(rows[name], figure)} %" for name in names)

    after = "ood_after_excess_ece"
    return (
        f"**In short.** Under shift the default is right more often than CaRot as published "
        f"({said('ood_accuracy', DEFAULT, PAPER)}) and its confidences are nearer the truth: "
        f"excess ECE {said('ood_excess_ece', DEFAULT, PAPER)} as they are, "
        f"{said(after, DEFAULT, PAPER)} after temperature. Function space, the nearest rival as "
        f"this project reads its abstract, goes further under shift "
        f"({said('ood_accuracy', RIVAL)}; {said(after, RIVAL)} after temperature), and pays in "
        f"distribution: {said('id_accuracy', RIVAL, DEFAULT)} right. It filters every image of a "
        f"batch, the default half as many. The default was not changed for that: what is reported "
        f"here must not choose it."
    )


def _claims(document: Document) -> str:
    lines = ["| claim | protocol | measured | p | holds |", "|---|---|---|---|---|"]
    for claim in document["claims"]:
        measured = f"{100 * claim['measured']:+.2f} ± {100 * claim['half']:.2f} points"
        if "relative" in claim:
            measured = f"{100 * claim['relative']:+.0f} %"
        if "best" in claim:
            best = claim["best"]
            measured += f" (best: {best['accuracy']}; {best['excess_ece']})"
        if claim.get("better"):
            measured += f" (better: {', '.join(claim['better'])})"
        holds = "yes" if claim["holds"] else "**no**"
        if not claim.get("claimed", True):
            holds = f"not claimed ({holds})"
        p = "< .001" if claim["p"] < 0.001 else f"{claim['p']:.3f}"
        lines.append(f"| {claim['claim']} | {claim['protocol']} | {measured} | {p} | {holds} |")
    return "\n".join(lines)


def _protocol(protocol: str, rows: Mapping[str, Any], document: Document) -> Iterable[str]:
    """All rows of (P); of the others those whose rate is another than in (P)."""
    if protocol == "P":
        yield _table(rows)
        return
    budget = document["rows"]["P"]
    same = [budget[name]["title"] for name in document["tuning"] if name not in rows]
    yield (
        f"At the rate of (P), and so with the same runs: {', '.join(same)}."
        + (" At another rate:" if rows else " No row is tuned to another rate.")
    )
    if rows:
        yield _table(rows)


def _table(rows: Mapping[str, Any]) -> str:
    lines = [
        "| | rate | " + " | ".join(COLUMNS.values()) + " |",
        "|---" * (len(COLUMNS) + 2) + "|",
    ]
    best = {figure: _best(rows, figure) for figure in COLUMNS}
    for name, row in rows.items():
        cells = [
            f"**{cell(row, figure)}**" if name == best[figure] else cell(row, figure)
            for figure in COLUMNS
        ]
        rate = row.get("learning_rate")
        lines.append(f"| {row['title']} | {rate or ''} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _best(rows: Mapping[str, Any], figure: str) -> str:
    pick = max if figure in HIGHER_IS_BETTER else min
    names = [name for name in rows if name != "zero-shot"]
    return pick(names, key=lambda name: rows[name]["figures"][figure]["mean"])


def _by_set(rows: Mapping[str, Any]) -> str:
    shown = [name for name in SHOWN_SETS if name in rows]
    sets = list(rows[shown[0]]["seeds"][0]["sets"])
    lines = [
        "| | " + " | ".join(rows[name]["title"] for name in shown) + " |",
        "|---" * (len(shown) + 1) + "|",
    ]
    for each in sets:
        cells = [
            f"{100 * _mean(rows[name], each, 'accuracy'):.1f}, "
            f"{100 * _mean(rows[name], each, 'after_excess_ece'):.2f}"
            for name in shown
        ]
        lines.append(f"| {each.replace('_', ' ')} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mean(row: Mapping[str, Any], name: str, figure: str) -> float:
    values = [float(seed["sets"][name][figure]) for seed in row["seeds"]]
    return sum(values) / len(values)


def _tuning(document: Document) -> str:
    rates = [f"{rate:g}" for rate in document["rates"]]
    lines = ["| | " + " | ".join(f"rate {rate}" for rate in rates) + " |"]
    lines.append("|---" * (len(rates) + 1) + "|")
    titles = {name: row["title"] for name, row in document["rows"]["P"].items()}
    for name, tried in document["tuning"].items():
        cells = [f"{100 * tried[r]['accuracy']:.1f}, {tried[r]['nll']:.3f}" for r in rates]
        lines.append(f"| {titles[name]} | " + " | ".join(cells) + " |")
    return (
        f"Accuracy in % and NLL on validation, one run each with seed {document['tuning_seed']}; "
        "(T) takes the rate with the highest accuracy, (N) that with the lowest NLL, (P) the "
        "middle one for all.\n\n" + "\n".join(lines)
    )


def _plot(document: Document, path: Path) -> None:
    figure, axes = panels(3, width=3.9, height=4.2)
    rows = document["rows"]["P"]
    for axis, error in zip(axes, ("ood_excess_ece", "ood_after_excess_ece"), strict=False):
        for index, (name, row) in enumerate(rows.items()):
            x, y = row["figures"]["ood_accuracy"], row["figures"][error]
            axis.errorbar(
                100 * x["mean"],
                100 * y["mean"],
                xerr=100 * x["half"],
                yerr=100 * y["half"],
                fmt="*" if name == DEFAULT else MARKERS[index % len(MARKERS)],
                markersize=12 if name == DEFAULT else 5,
                color="black" if name == DEFAULT else f"C{index % 10}",
                label=row["title"].replace("**", ""),
            )
        axis.set(xlabel=COLUMNS["ood_accuracy"], ylabel=COLUMNS[error])
    axes[2].axis("off")
    axes[2].legend(*axes[0].get_legend_handles_labels(), fontsize=7, loc="center left")
    save_svg(figure, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS / "fashion.json")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "results.md")
    options = parser.parse_args()
    write_page(options.results, options.page)
