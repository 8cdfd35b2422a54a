"""Accuracy and calibration of a whole data set, from logits.

Everything is float64, in chunks of rows, so that a large set costs no second copy of itself.
Definitions and their sources stand with the fields of `Metrics`. Shape suffixes: N images, C
classes, B bins.
"""

from __future__ import annotations

import torch
from torch import Tensor

from carot.calibration.metrics.bins import BinStatistics, equal_mass_bins, equal_width_bins
from carot.calibration.metrics.brier import brier_parts
from carot.calibration.metrics.chance_level import chance_level
from carot.calibration.metrics.debiased_interval import debiased_interval
from carot.calibration.metrics.inputs import check, check_confidences, chunks, slices
from carot.calibration.metrics.intervals import wilson_interval
from carot.calibration.metrics.numbers import BINS, LEAST_IN_BIN, Metrics
from carot.calibration.metrics.ranking import ranking
from carot.calibration.metrics.smooth_ece import smooth_ece

PAPER_BINS = 10
PAPER_BATCH = 512
BLOCK = 512
"""Images whose confidences are binned at once."""
SUMMED_ELEMENTS = 3 << 13
"""Logits whose exponentials are there at once: 192 KiB of float64. Fewer would take longer."""


@torch.no_grad()
def compute_metrics(
    logits_NC: Tensor, labels_N: Tensor, *, ranked_by: Tensor | None = None
) -> Metrics:
    """All metrics of one data set.

    Args:
        logits_NC: logits, or log-probabilities after a calibrator.
        ranked_by: raw logits (N, C), where the calibrator keeps their ranking: they say which
            class is on top, as they do in answers; None where `logits_NC` do.

    Raises:
        CalibrationError: empty, misshapen or non-finite input, labels out of range.
    """
    confidence_N, correct_N = top_label(logits_NC, labels_N, ranked_by=ranked_by)
    images, right = len(labels_N), int(correct_N.sum())
    width = BinStatistics.of(confidence_N, correct_N, equal_width_bins(confidence_N, BINS), BINS)
    mass = BinStatistics.of(confidence_N, correct_N, equal_mass_bins(confidence_N, BINS), BINS)
    null_mean, null_p95 = chance_level(confidence_N)
    nll, brier, classwise = _probability_metrics(logits_NC, labels_N)
    order, top = ranking(confidence_N, correct_N), brier_parts(confidence_N, correct_N)
    return Metrics(
        images=images,
        accuracy=right / images,
        accuracy_interval=wilson_interval(right, images),
        ece=width.error(),
        ece_null_mean=null_mean,
        ece_null_p95=null_p95,
        adaptive_ece=mass.error(),
        debiased_ece=mass.debiased_error(),
        classwise_ece=classwise,
        brier=brier,
        nll=nll,
        mean_confidence=float(confidence_N.mean()),
        ece_batch_mean_10_of_512=batch_mean_ece(confidence_N, correct_N),
        ece_l2=width.root_mean_square_error(),
        ece_max=width.largest_error(LEAST_IN_BIN),
        smooth_ece=smooth_ece(confidence_N, correct_N),
        debiased_squared=mass.debiased_square(),
        debiased_squared_interval=debiased_interval(mass),
        auroc=order.auroc,
        aurc=order.aurc,
        augrc=order.augrc,
        brier_top=top.score,
        brier_reliability=top.reliability,
        brier_resolution=top.resolution,
        brier_uncertainty=top.uncertainty,
        brier_within=top.within,
    )


@torch.no_grad()
def top_label(
    logits_NC: Tensor, labels_N: Tensor, *, ranked_by: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Each image's largest probability (float64, N) and whether that class is right (bool, N).

    Args:
        ranked_by: see `compute_metrics`.

    Raises:
        CalibrationError: empty, misshapen or non-finite input, labels out of range.
    """
    check(logits_NC, labels_N)
    confidence_N, correct_N = _top_label(logits_NC, labels_N)
    if ranked_by is None:
        return confidence_N, correct_N
    check(ranked_by, labels_N)
    return confidence_N, ranked_by.argmax(dim=1) == labels_N


def _top_label(logits_NC: Tensor, labels_N: Tensor) -> tuple[Tensor, Tensor]:
    labels_N = labels_N.long()
    highest_N = logits_NC.amax(dim=1)
    right_N = logits_NC.gather(1, labels_N[:, None]).squeeze(1) == highest_N
    highest_N1 = highest_N.double()[:, None]
    sum_N = torch.empty(len(labels_N), dtype=torch.float64, device=logits_NC.device)
    room_NC: Tensor | None = None
    for part in slices(logits_NC, SUMMED_ELEMENTS):
        chunk_NC = logits_NC[part]
        if room_NC is None:
            # One matrix for all chunks: to ask for new memory each time would cost as much again.
            room_NC = torch.empty_like(chunk_NC, dtype=torch.float64, requires_grad=False)
        power_NC = room_NC[: len(chunk_NC)].copy_(chunk_NC).sub_(highest_N1[part]).exp_()
        torch.sum(power_NC, dim=1, out=sum_N[part])
    # Of equal logits the first counts. Where two are highest the sum has exp(0) twice; to ask where
    # the maximum is takes long, and so only such rows are asked.
    del room_NC, power_NC
    tied_M = (right_N & (sum_N >= 2)).nonzero().squeeze(1)
    for part in slices(logits_NC[: len(tied_M)], SUMMED_ELEMENTS):
        tied_n = tied_M[part]
        right_N[tied_n] = logits_NC[tied_n].argmax(dim=1) == labels_N[tied_n]
    # At most 1 by construction: one of the summands is exp(0).
    return sum_N.reciprocal_(), right_N


@torch.no_grad()
def expected_calibration_error(logits_NC: Tensor, labels_N: Tensor, bins: int = BINS) -> float:
    """`top_label_ece` from logits: sums per bin are all that is kept, however many images.

    Raises:
        CalibrationError: empty, misshapen or non-finite input, labels out of range.
    """
    check(logits_NC, labels_N)
    total: BinStatistics | None = None
    for start in range(0, len(labels_N), BLOCK):
        part = slice(start, start + BLOCK)
        confidence_n, correct_n = _top_label(logits_NC[part], labels_N[part])
        bins_n = equal_width_bins(confidence_n, bins)
        statistics = BinStatistics.of(confidence_n, correct_n, bins_n, bins)
        total = statistics if total is None else total + statistics
    assert total is not None
    return total.error()


def top_label_ece(confidence_N: Tensor, correct_N: Tensor, bins: int = BINS) -> float:
    """Expected calibration error with equal-width bins, over all images at once.

    Raises:
        CalibrationError: empty, misshapen or non-finite input, confidences outside 0 to 1.
    """
    check_confidences(confidence_N, correct_N)
    bins_N = equal_width_bins(confidence_N, bins)
    return BinStatistics.of(confidence_N, correct_N, bins_N, bins).error()


def batch_mean_ece(
    confidence_N: Tensor, correct_N: Tensor, bins: int = PAPER_BINS, batch: int = PAPER_BATCH
) -> float:
    """ECE per batch, weighted by batch size, as published by CaRot and TRACER.

    Never below the ECE of the whole set with as many bins.

    Raises:
        CalibrationError: empty, misshapen or non-finite input, confidences outside 0 to 1.
    """
    check_confidences(confidence_N, correct_N)
    total = 0.0
    for start in range(0, len(confidence_N), batch):
        part_N = confidence_N[start : start + batch]
        error = top_label_ece(part_N, correct_N[start : start + batch], bins)
        total += len(part_N) * error
    return total / len(confidence_N)


def _probability_metrics(logits_NC: Tensor, labels_N: Tensor) -> tuple[float, float, float]:
    """NLL, Brier score and classwise ECE, which look at all probabilities of an image."""
    images, classes = logits_NC.shape
    nll = brier = 0.0
    gaps = torch.zeros(classes * BINS, dtype=torch.float64, device=logits_NC.device)
    offset_C = torch.arange(classes, device=logits_NC.device) * BINS
    for chunk_NC, chunk_N in chunks(logits_NC, labels_N):
        log_NC = chunk_NC.log_softmax(dim=1)
        nll -= float(log_NC.gather(1, chunk_N[:, None]).sum())
        # Outcome minus probability, per class.
        residual_NC = -log_NC.exp()
        bins_NC = equal_width_bins(-residual_NC, BINS) + offset_C
        residual_NC[torch.arange(len(chunk_N), device=chunk_N.device), chunk_N] += 1.0
        brier += float(residual_NC.square().sum())
        gaps += torch.bincount(bins_NC.flatten(), residual_NC.flatten(), minlength=classes * BINS)
    return nll / images, brier / images, float(gaps.abs().sum()) / (images * classes)
