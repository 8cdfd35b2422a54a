"""What is measured of a run: figures of each set, their means, and how they vary with the images.

Excess ECE is ECE (15 bins of equal width) less chance, the mean ECE that the same confidences have
when they are perfectly calibrated. OOD figures are means over all sets of `suite.OOD`.

Intervals and p values are over seeds *and* images, two crossed sources of chance. The variance of a
row's mean is that of its S seeds' mean, s² / S, plus that over images: the variance of the mean of
seeds over RESAMPLES bootstrap samples of the test pictures, in which a picture counts as often in
every set and every run. (Shifted sets are the first of those pictures, and so part of a sample.) A
t distribution has the degrees of freedom of Welch and Satterthwaite: the first part has S − 1. A
resampled ECE has more noise in it and so a higher mean; only its deviations from that are used.

Shape suffixes: N images, B bins, R resamples.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from benchmarks.fashion.suite import CALIBRATION, ID, KIND, OOD, VALIDATION
from carot.calibration.calibrators.temperature import fit_temperature
from carot.calibration.metrics.bins import BinStatistics, equal_mass_bins, equal_width_bins
from carot.calibration.metrics.chance_level import chance_level
from carot.calibration.metrics.metrics import top_label
from carot.calibration.metrics.numbers import BINS

RESAMPLES = 200
CHANCE_RESAMPLES = 50
VARIED = ("accuracy", "excess_ece", "after_excess_ece", "nll", "squared")
"""Figures with an interval over images."""
FIGURES = (*VARIED, "ece", "after_ece", "chance", "after_chance", "after_nll")
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """A run, measured.

    Attributes:
        sets: figures by set.
        figures: `id_…` and `ood_…` for each of FIGURES.
        varied: for each of VARIED, the deviations of `figures` over R resamples of the images.
        temperature: that of in-distribution calibration pictures.
        validation: accuracy and NLL on in-distribution validation.
    """

    sets: dict[str, dict[str, float]]
    figures: dict[str, float]
    varied: dict[str, Vector]
    temperature: float
    validation: dict[str, float]


@dataclass(frozen=True)
class Estimate:
    """A mean with half of its 95 % interval and the two-sided p of its being 0."""

    mean: float
    half: float
    p: float


def measure(logits: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> Measured:
    """Everything that is said of a run, from its logits (N, C) and the labels (N,) of each set."""
    temperature = fit_temperature(logits[CALIBRATION], labels[CALIBRATION]).temperature
    sets: dict[str, dict[str, float]] = {}
    parts: dict[str, dict[str, Vector]] = {}
    for name in (ID, *OOD):
        every = len(labels[KIND if name == KIND else ID])
        counts_RN = _resamples(every, name == KIND)[:, : len(labels[name])]
        sets[name], parts[name] = _of_set(logits[name], labels[name], temperature, counts_RN)
    figures, varied = {}, {}
    for side, names in (("id", (ID,)), ("ood", OOD)):
        for figure in FIGURES:
            figures[f"{side}_{figure}"] = statistics.fmean(sets[name][figure] for name in names)
        for figure in VARIED:
            mean_R = np.mean([parts[name][figure] for name in names], axis=0)
            varied[f"{side}_{figure}"] = mean_R - mean_R.mean()
    validation = _accuracy_and_loss(logits[VALIDATION], labels[VALIDATION])
    return Measured(sets, figures, varied, temperature, validation)


def _of_set(
    logits_NC: Tensor, labels_N: Tensor, temperature: float, counts_RN: Vector
) -> tuple[dict[str, float], dict[str, Vector]]:
    """Figures of a set, and those that vary over R resamples of its images."""
    found, varied = _confidences(logits_NC, labels_N, counts_RN)
    after, varied_after = _confidences(logits_NC.double() / temperature, labels_N, counts_RN)
    log_N = logits_NC.double().log_softmax(dim=1).gather(1, labels_N[:, None]).squeeze(1)
    after_log_N = (logits_NC.double() / temperature).log_softmax(dim=1).gather(1, labels_N[:, None])
    varied["nll"] = counts_RN @ -log_N.numpy() / counts_RN.sum(axis=1)
    varied["after_excess_ece"] = varied_after["excess_ece"]
    figures = found | {f"after_{name}": after[name] for name in ("ece", "excess_ece", "chance")}
    return figures | {"nll": -float(log_N.mean()), "after_nll": -float(after_log_N.mean())}, varied


def _confidences(
    logits_NC: Tensor, labels_N: Tensor, counts_RN: Vector
) -> tuple[dict[str, float], dict[str, Vector]]:
    confidence_N, correct_N = top_label(logits_NC, labels_N)
    sizes_R = counts_RN.sum(axis=1)
    bins_N = equal_width_bins(confidence_N, BINS)
    ece = BinStatistics.of(confidence_N, correct_N, bins_N, BINS).error()
    mass_N = equal_mass_bins(confidence_N, BINS)
    squared = BinStatistics.of(confidence_N, correct_N, mass_N, BINS).debiased_square()
    chance = chance_level(confidence_N, resamples=CHANCE_RESAMPLES)[0]
    residual_N = (correct_N.double() - confidence_N).numpy()
    width_RB = _binned(counts_RN, residual_N, bins_N)
    mass_RB = _binned(counts_RN, residual_N, mass_N)
    size_RB = _binned(counts_RN, np.ones(len(labels_N)), mass_N).clip(1)
    figures = {
        "accuracy": float(correct_N.double().mean()),
        "ece": ece,
        "chance": chance,
        "excess_ece": ece - chance,
        "squared": squared,
    }
    varied = {
        "accuracy": counts_RN @ correct_N.double().numpy() / sizes_R,
        "excess_ece": np.abs(width_RB).sum(axis=1) / sizes_R,
        "squared": (mass_RB**2 / size_RB).sum(axis=1) / sizes_R,
    }
    return figures, varied


def _binned(counts_RN: Vector, values_N: Vector, bins_N: Tensor) -> Vector:
    """Sums per bin of every resample."""
    values_NB = np.zeros((len(values_N), BINS))
    values_NB[np.arange(len(values_N)), bins_N.numpy()] = values_N
    sums_RB: Vector = counts_RN @ values_NB
    return sums_RB


@cache
def _resamples(images: int, others: bool) -> Vector:
    """How often each image is in each resample, (R, N); the same for every set of these images."""
    rng = np.random.default_rng([images, others])
    chosen = rng.multinomial(images, np.full(images, 1 / images), size=RESAMPLES)
    counts_RN: Vector = chosen.astype(np.float64)
    return counts_RN


def _accuracy_and_loss(logits_NC: Tensor, labels_N: Tensor) -> dict[str, float]:
    log_NC = logits_NC.double().log_softmax(dim=1)
    return {
        "accuracy": float((logits_NC.argmax(dim=1) == labels_N).double().mean()),
        "nll": -float(log_NC.gather(1, labels_N[:, None]).mean()),
    }


def validated(logits: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> dict[str, float]:
    """What tuning may look at."""
    return _accuracy_and_loss(logits[VALIDATION], labels[VALIDATION])


def estimate(runs: Sequence[Measured], figure: str) -> Estimate:
    """A row's mean over its seeds."""
    values = [run.figures[figure] for run in runs]
    return _estimate(values, np.mean([run.varied[figure] for run in runs], axis=0))


def difference(
    ours: Sequence[Measured], theirs: Sequence[Measured], figure: str, share: float = 1.0
) -> Estimate:
    """Ours less a share of theirs; runs of the same seed are paired, and pictures are.

    A row without seeds of its own, such as the start, is paired with each.
    """
    theirs = theirs if len(theirs) == len(ours) else list(theirs) * len(ours)
    pairs = list(zip(ours, theirs, strict=True))
    values = [a.figures[figure] - share * b.figures[figure] for a, b in pairs]
    varied_R = np.mean([a.varied[figure] - share * b.varied[figure] for a, b in pairs], axis=0)
    return _estimate(values, varied_R)


def _estimate(values: Sequence[float], varied_R: Vector) -> Estimate:
    mean = statistics.fmean(values)
    seeds = len(values)
    over_seeds = statistics.variance(values) / seeds if seeds > 1 else 0.0
    over_images = float(varied_R.var(ddof=1))
    total = over_seeds + over_images
    if total == 0:
        return Estimate(mean, 0.0, 1.0 if mean == 0 else 0.0)
    parts = [(over_images, RESAMPLES - 1)] + [(over_seeds, seeds - 1)] * (seeds > 1)
    freedom = total**2 / sum(part**2 / degrees for part, degrees in parts)
    error = math.sqrt(total)
    half = float(stats.t.ppf(0.975, freedom)) * error
    return Estimate(mean, half, float(2 * stats.t.sf(abs(mean) / error, freedom)))
