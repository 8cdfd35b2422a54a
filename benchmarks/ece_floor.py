"""What ECE averaged over batches gives a predictor that is perfectly calibrated.

    python benchmarks/ece_floor.py [--quick] [--seeds 20] [--json FILE] [--plot FILE]

The figures published for CaRot and TRACER are means over batches of 512, 10 bins each. Within a
batch a bin's accuracy is noisy and its absolute gap to the confidence never averages out, so the
mean stays far above the ECE of the whole set (Jensen), by an amount that depends on the batch size.

Simulated: confidences drawn from a Beta distribution, once as sure as a model on ImageNet's own
validation set (mean 0.83), once as unsure as under shift (mean 0.6); each answer is right with
exactly its confidence as the chance. Prints mean ± standard deviation over seeds by batch size,
beside the whole set in the same 10 bins and what an earlier simulation found.

Then the same answers are right less often than the confidence says, by a gap of up to 0.15: the
floor is not added to the true error but swallows it, so models that are good look alike.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.plots import panels, save_svg
from benchmarks.provenance import write_results
from carot.calibration.metrics.metrics import PAPER_BATCH, PAPER_BINS, batch_mean_ece, top_label_ece

BATCHES = (64, 128, 256, 512, 1024)
GAPS = (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.15)
WHOLE = "whole"
# CaRot's ECE as printed in TRACER's Table 5.
CAROT = {"ImageNet": 0.047, "V2": 0.037, "R": 0.058, "A": 0.124, "Sketch": 0.070}
Row = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Predictor:
    """Confidences are Beta(a, b)."""

    name: str
    a: float
    b: float


SURE = Predictor("sure", 2.5, 0.5)
UNSURE = Predictor("unsure", 1.5, 1.0)
SIZES = (50_000, 7_500)
# By predictor and size: what an earlier simulation found, whose Beta distributions are not known.
EARLIER = {
    ("sure", 50_000): {"256": 0.046, "512": 0.033, "1024": 0.023, WHOLE: 0.005},
    ("unsure", 7_500): {"512": 0.045, WHOLE: 0.013},
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three seeds")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--json", type=Path, default=Path("build/ece_floor.json"))
    parser.add_argument("--plot", type=Path, default=Path("build/ece_floor.svg"))
    options = parser.parse_args(arguments)
    seeds = 3 if options.quick else options.seeds
    floors = [
        {
            "predictor": predictor.name,
            "images": images,
            "ece": floor(predictor, images, seeds),
            "earlier": EARLIER.get((predictor.name, images), {}),
        }
        for predictor in (SURE, UNSURE)
        for images in SIZES
    ]
    curve = [{"gap": gap, **gapped(gap, seeds)} for gap in GAPS]
    show(floors, curve)
    plot(floors, curve, options.plot)
    write_results(
        options.json,
        {
            "seeds": seeds,
            "bins": PAPER_BINS,
            "confidences": {p.name: f"Beta({p.a}, {p.b})" for p in (SURE, UNSURE)},
            "published_for_carot": CAROT,
            "floors": floors,
            "gaps": curve,
        },
    )


def draw(predictor: Predictor, images: int, seed: int, gap: float = 0.0) -> tuple[Tensor, Tensor]:
    """Confidences (float64, N) and right answers (bool, N), whose chance is `gap` lower."""
    generator = np.random.default_rng(seed)
    confidence_N = generator.beta(predictor.a, predictor.b, images)
    correct_N = generator.random(images) < confidence_N - gap
    return torch.from_numpy(confidence_N), torch.from_numpy(correct_N)


def floor(predictor: Predictor, images: int, seeds: int) -> Row:
    """By batch size, and for the whole set: mean and deviation over seeds."""
    found: dict[str, list[float]] = {key: [] for key in (*map(str, BATCHES), WHOLE)}
    for seed in range(seeds):
        confidence_N, correct_N = draw(predictor, images, seed)
        for batch in BATCHES:
            found[str(batch)].append(batch_mean_ece(confidence_N, correct_N, PAPER_BINS, batch))
        found[WHOLE].append(top_label_ece(confidence_N, correct_N, PAPER_BINS))
    return {key: summary(values) for key, values in found.items()}


def gapped(gap: float, seeds: int) -> dict[str, Any]:
    """True ECE of a predictor that is too sure by `gap`, and what either way of measuring says."""
    true, whole, batches = [], [], []
    for seed in range(seeds):
        confidence_N, correct_N = draw(SURE, SIZES[0], seed, gap)
        # Below the gap an answer cannot be right less often than never.
        true.append(float(confidence_N.clamp_max(gap).mean()))
        whole.append(top_label_ece(confidence_N, correct_N, PAPER_BINS))
        batches.append(batch_mean_ece(confidence_N, correct_N, PAPER_BINS, PAPER_BATCH))
    return {
        "true": statistics.mean(true),
        WHOLE: summary(whole),
        "batch_mean": summary(batches),
    }


def summary(values: Sequence[float]) -> dict[str, float]:
    return {"mean": statistics.mean(values), "sd": statistics.stdev(values)}


def show(floors: Sequence[dict[str, Any]], curve: Sequence[dict[str, Any]]) -> None:
    """The floor by batch size, then the curve over gaps."""
    print("perfectly calibrated predictors: ECE, mean ± sd over seeds (earlier simulation)")
    keys = [*map(str, BATCHES), WHOLE]
    print(f"{'confidences':12}{'images':>8}" + "".join(f"{key:>22}" for key in keys))
    for row in floors:
        cells = ""
        for key in keys:
            earlier = row["earlier"].get(key)
            text = cell(row["ece"][key]) + (f" ({earlier:.3f})" if earlier else " " * 8)
            cells += f"{text:>22}"
        print(f"{row['predictor']:12}{row['images']:>8}" + cells)
    print("published for CaRot with batches of 512: "
          + ", ".join(f"{value:.3f} ({name})" for name, value in CAROT.items()))  # fmt: skip
    print(f"\ntoo sure by a gap ({SURE.name}, {SIZES[0]} images)")
    print(f"{'gap':>8}{'true ECE':>12}{'whole set':>18}{'mean of batches':>18}{'bias':>10}")
    for row in curve:
        bias = row["batch_mean"]["mean"] - row["true"]
        print(f"{row['gap']:8.3f}{row['true']:12.4f}{cell(row[WHOLE]):>18}"
              f"{cell(row['batch_mean']):>18}{bias:10.4f}")  # fmt: skip


def cell(figure: dict[str, float]) -> str:
    return f"{figure['mean']:.4f}±{figure['sd']:.4f}"


def plot(floors: Sequence[dict[str, Any]], curve: Sequence[dict[str, Any]], path: Path) -> None:
    """Left: the floor by batch size. Right: measured against true error."""
    figure, (left, right) = panels(2)
    for number, row in enumerate(r for r in floors if r["earlier"]):
        colour, ece = f"C{number}", row["ece"]
        label = f"{row['images']:,} images, {row['predictor']}"
        means = [ece[str(batch)]["mean"] for batch in BATCHES]
        deviations = [ece[str(batch)]["sd"] for batch in BATCHES]
        left.errorbar(BATCHES, means, deviations, color=colour, marker="o", ms=3, label=label)
        left.axhline(ece[WHOLE]["mean"], color=colour, ls="--", lw=1)
    left.axhline(CAROT["V2"], color="0.6", ls=":", lw=1, label="published: CaRot, ImageNet-V2")
    left.set_xscale("log", base=2)
    left.set_xticks(BATCHES, [str(batch) for batch in BATCHES])
    left.set(xlabel="batch size", ylabel="ECE, mean of batches", ylim=(0, 0.15),
             title="perfectly calibrated (dashed: whole set)")  # fmt: skip
    left.legend(fontsize=7)
    true = [row["true"] for row in curve]
    for key, label in (("batch_mean", f"mean of batches of {PAPER_BATCH}"), (WHOLE, "whole set")):
        means = [row[key]["mean"] for row in curve]
        right.plot(true, means, marker="o", ms=3, label=label)
    right.plot([0, max(true)], [0, max(true)], color="0.6", lw=1, ls=":", label="true")
    right.set(xlabel="true ECE", ylabel="measured ECE", title="too sure by a gap")
    right.legend(fontsize=7)
    save_svg(figure, path)


if __name__ == "__main__":
    main()
