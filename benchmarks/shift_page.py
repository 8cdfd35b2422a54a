"""The page docs/results-digits.md and its plots, from what `benchmarks/shift.py` wrote.

python benchmarks/shift_page.py [--results FILE] [--page FILE]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from benchmarks.plots import panels, save_svg
from benchmarks.provenance import RESULTS, ROOT
from benchmarks.shift_plan import DEFAULT, EPOCHS, HEAD_RATES, PAPER, RATES
from benchmarks.shift_report import SPLITS, against, best_rows, cell, finals, p_text
from benchmarks.shift_tables import COLUMNS, Mean, column

Document = Mapping[str, Any]
MARKERS = "osD^v<>"
DIAGRAMS = ("zero-shot", "flyp", PAPER, DEFAULT)
MAIN = ("id_accuracy", "ood_accuracy", "id_ece", "ood_ece", "ood_ece_null_mean",
        "id_calibrated_ece", "ood_calibrated_ece", "sigma_min")  # fmt: skip
HANDWRITTEN = ("ood_handwritten_accuracy", "ood_handwritten_ece", "ood_handwritten_ece_null_mean",
               "ood_handwritten_calibrated_ece")  # fmt: skip


def write_page(results: Path, page: Path) -> None:
    """The page at `page`, its plots in `img/` beside it."""
    document = json.loads(results.read_text(encoding="utf-8"))
    images = page.parent / "img"
    _plot_trade_off(document, images / "shift_accuracy_ece.svg")
    _plot_reliability(document, images / "shift_reliability.svg")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n\n".join(_sections(document)) + "\n", encoding="utf-8")


def _sections(document: Document) -> Iterable[str]:
    rows = document["rows"]
    main = [name for name in rows if not rows[name]["ablation"]]
    yield "# Results on the handwritten-digits suite"
    if document["quick"]:
        yield "**Made with `--quick`: these figures show that the benchmark runs, nothing else.**"
    yield _setting(document)
    if not document["quick"]:
        yield _summary(document)
    yield "## Claims"
    yield _claims(document)
    yield "## Every method"
    yield (
        "Means over seeds ± half of a 95 % interval (Student's t). ID: in distribution; OOD: out "
        "of distribution, the mean of the seven shifted sets; ECE: expected calibration error over "
        "the whole set, 15 bins, the mean over the sets; *after temperature*: with the one "
        "temperature fitted on in-distribution calibration images; *if calibrated*: the ECE that "
        "perfectly calibrated confidences like these have on sets of this size, on average. The "
        "chance level of other pages is the 95th percentile of the same; these results hold the "
        "mean only. The best of a column is bold. Words: [glossary](glossary.md)."
    )
    yield _table(document, main, MAIN)
    yield "Without printed digits (the mean of the six shifts of handwriting):"
    yield _table(document, main, HANDWRITTEN)
    yield (
        "![Accuracy against calibration error, in distribution and under shift]"
        "(img/shift_accuracy_ece.svg)"
    )
    yield "![Reliability diagrams](img/shift_reliability.svg)"
    yield "## Against CaRot as published"
    yield (
        "Mean difference of runs with the same seed, in percentage points, and the paired t test's "
        "two-sided p."
    )
    yield _tests(document, [name for name in main if name != PAPER])
    yield "## What each part of the default recipe adds"
    yield (
        "Each row is trained like the default, with the same length and rate. The parts are those "
        "that `recipes/carot.yaml` adds to CaRot as published."
    )
    yield _table(document, [*(n for n in rows if rows[n]["ablation"]), DEFAULT], MAIN)
    yield "## Tuning"
    yield _tuning(document)


def _setting(document: Document) -> str:
    made = document["provenance"]
    machine, versions = made["machine"], made["versions"]
    severities = ", ".join(str(s) for s in document["severities"])
    return (
        f"carot-mini, fine-tuned on 823 clean handwritten digits (batches of "
        f"{document['batch_size']}, {len(document['seeds'])} seeds), measured on 542 test images "
        f"in distribution and on seven shifts of them: inverted, coloured, noise, rotation, blur, "
        f"occlusion, and printed digits. A shifted set holds every test image at severities "
        f"{severities} ({3 * 542:,} images; 768 printed ones). The seeds change the order, the "
        f"crops and the captions; the test images are the same for all, so intervals and tests "
        f"speak of training, not of other images. The shifts were known when the default recipe "
        f"was made, with seeds that are not among those reported.\n\n"
        f"Made by `python benchmarks/shift.py` at commit `{str(made['commit'])[:10]}` on "
        f"{made['date']}: {machine['cpu']}, {machine['cores']} cores, GPU {machine['gpu']}; "
        f"Python {versions['python']}, torch {versions['torch']}, open_clip "
        f"{versions['open_clip']}. All figures: `benchmarks/results/shift.json`."
    )


def _summary(document: Document) -> str:
    rows = document["rows"]
    faster = next(name for name in rows if rows[name]["ablation"])
    chance = [
        Mean.of(column(finals(rows, n), "ood_ece_null_mean")).mean for n in (DEFAULT, "lp-ft")
    ]
    return (
        "Not every claim that was set out to be shown came true: tuned in distribution, peers stop "
        "early and come close to CaRot as published, and no recipe had a fifth less calibration "
        "error than it. What the default adds, an anchor to the start, shows when a model is "
        "trained faster: under the default's own learning rate, CaRot as published falls to "
        f"{cell(rows, faster, 'ood_accuracy')} % with an ECE of {cell(rows, faster, 'ood_ece')} % "
        "under shift. On average a perfectly calibrated model would have an ECE of "
        f"{100 * min(chance):.1f} to {100 * max(chance):.1f} % on these sets, so the lower figures "
        "differ by little more than chance."
    )


def _claims(document: Document) -> str:
    lines = ["| claim | measured | holds |", "|---|---|---|"]
    for claim in document["claims"]:
        measured = f"{100 * claim['difference']:+.2f} points"
        if "relative" in claim:
            measured += f" ({100 * claim['relative']:+.0f} %)"
        if claim.get("p") is not None:
            measured += f", {p_text(claim['p'])}"
        if "best" in claim:
            measured += f" (best: {claim['best']})"
        lines.append(f"| {claim['claim']} | {measured} | {'yes' if claim['holds'] else '**no**'} |")
    return "\n".join(lines)


def _table(document: Document, names: Sequence[str], figures: Sequence[str]) -> str:
    rows = document["rows"]
    shown = {name: rows[name] for name in names}
    best = {figure: best_rows(shown, figure) for figure in figures}
    lines = [
        "| | " + " | ".join(COLUMNS[figure] for figure in figures) + " |",
        "|---" * (len(figures) + 1) + "|",
    ]
    for name in names:
        cells = [cell(rows, name, figure) for figure in figures]
        cells = [
            f"**{text}**" if name in best[figure] else text
            for figure, text in zip(figures, cells, strict=True)
        ]
        lines.append(f"| {rows[name]['title']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _tests(document: Document, names: Sequence[str]) -> str:
    rows = document["rows"]
    shifted = [f"{split}_{figure}" for split in SPLITS for figure in ("accuracy", "ece")]
    figures = ("id_accuracy", *shifted)
    lines = [
        "| | " + " | ".join(COLUMNS[figure].removesuffix(", %") for figure in figures) + " |",
        "|---" * (len(figures) + 1) + "|",
    ]
    for name in names:
        cells = []
        for figure in figures:
            found = against(rows, name, PAPER, figure)
            cells.append(f"{100 * found.difference:+.2f}, {p_text(found.p)}" if found else "–")
        if any(text != "–" for text in cells):
            lines.append(f"| {rows[name]['title']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _tuning(document: Document) -> str:
    rows = document["rows"]
    text = (
        f"Grid: {', '.join(map(str, EPOCHS))} epochs times peak rates "
        f"{', '.join(f'{r:g}' for r in RATES)} (linear probe: "
        f"{', '.join(f'{r:g}' for r in HEAD_RATES)}), one run each with seed "
        f"{document['tuning_seed']}; the lowest negative log-likelihood on 169 in-distribution "
        "validation images is taken. Constants of the methods are those of their recipes."
    )
    lines = ["| | epochs | rate | seconds of a run (one thread) |", "|---|---|---|---|"]
    for row in rows.values():
        if "configuration" not in row:
            continue
        chosen = row["configuration"]
        seconds = sorted(row["seconds"])[len(row["seconds"]) // 2]
        lines.append(
            f"| {row['title']} | {chosen['epochs']} | {chosen['learning_rate']:g} | {seconds:.0f} |"
        )
    return text + "\n\n" + "\n".join(lines)


def _plot_trade_off(document: Document, path: Path) -> None:
    rows = document["rows"]
    shown = [name for name in rows if not rows[name]["ablation"]]
    figure, axes = panels(3, width=3.9, height=4.2)
    for axis, split, title in zip(
        axes, ("id", "ood"), ("in distribution", "mean of seven shifts"), strict=False
    ):
        for index, name in enumerate(shown):
            found = finals(rows, name)
            x, y = (Mean.of(column(found, f"{split}_{f}")) for f in ("accuracy", "ece"))
            axis.errorbar(
                100 * x.mean,
                100 * y.mean,
                xerr=100 * x.half,
                yerr=100 * y.half,
                fmt="*" if name == DEFAULT else MARKERS[index % len(MARKERS)],
                markersize=12 if name == DEFAULT else 5,
                color="black" if name == DEFAULT else f"C{index % 10}",
                label=_plain(rows[name]["title"]),
            )
        axis.set(xlabel="accuracy, %", ylabel="ECE, %", title=title)
    axes[2].axis("off")
    axes[2].legend(*axes[0].get_legend_handles_labels(), fontsize=7, loc="center left")
    save_svg(figure, path)


def _plain(title: str) -> str:
    """Without Markdown's emphasis."""
    return title.replace("**", "")


def _plot_reliability(document: Document, path: Path) -> None:
    rows = document["rows"]
    shown = [name for name in DIAGRAMS if name in rows]
    figure, axes = panels(len(shown), width=2.9, height=3.0)
    for axis, name in zip(axes, shown, strict=True):
        axis.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for split, colour in (("id", "tab:blue"), ("ood", "tab:red")):
            _draw_bins(axis, rows[name]["seeds"][0][-1]["reliability"][split], split, colour)
        axis.set(title=_plain(rows[name]["title"]), xlabel="confidence", ylabel="accuracy")
    axes[0].legend(fontsize=7)
    save_svg(figure, path)


def _draw_bins(axis: Axes, bins: Sequence[Mapping[str, Any]], label: str, colour: str) -> None:
    """Bins with at least ten images, with Wilson's intervals."""
    filled = [b for b in bins if b["count"] >= 10]
    x = [b["confidence"] for b in filled]
    y = [b["accuracy"] for b in filled]
    # In a bin without errors the end of the interval is the share itself, but for rounding.
    low = [max(0.0, b["accuracy"] - b["accuracy_interval"][0]) for b in filled]
    high = [max(0.0, b["accuracy_interval"][1] - b["accuracy"]) for b in filled]
    axis.errorbar(x, y, yerr=[low, high], color=colour, marker="o", markersize=3, label=label)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS / "shift.json")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "results-digits.md")
    options = parser.parse_args()
    write_page(options.results, options.page)
