"""One data set looked at more closely: class by class, and its worst mistakes.

Shape suffixes: N images, K classes, M mistakes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from carot.calibration.metrics.bins import equal_width_bins
from carot.calibration.metrics.inputs import check, slices
from carot.calibration.metrics.numbers import BINS


@dataclass(frozen=True)
class ClassDetail:
    """The images of one class.

    Attributes:
        images, right: how many there are, and how many of them have the right answer.
        mean_confidence: of the answers, whatever they are; None without images.
        ece: of the top label over these images, 15 equal-width bins; None without images.
        confused_with: the wrong class that they are given most often; the first of several; None
            where no answer is wrong.
        confused: how often.
    """

    images: int
    right: int
    mean_confidence: float | None
    ece: float | None
    confused_with: int | None
    confused: int


@dataclass(frozen=True)
class Mistake:
    """An image with a wrong answer.

    Attributes:
        index: which image.
        label, prediction: classes.
        confidence: probability of the prediction.
        label_confidence: probability of the label.
        raw_confidence: probability of the prediction before calibration.
    """

    index: int
    label: int
    prediction: int
    confidence: float
    label_confidence: float
    raw_confidence: float


@torch.no_grad()
def class_details(
    log_NK: Tensor, labels_N: Tensor, *, ranked_by: Tensor | None = None
) -> list[ClassDetail]:
    """Of each of K classes, from logits or log-probabilities.

    Args:
        ranked_by: raw logits that say which class is on top, see `compute_metrics`.

    Raises:
        CalibrationError: empty, misshapen or non-finite input, labels out of range.
    """
    check(log_NK, labels_N)
    classes = log_NK.shape[1]
    confidence_N, answer_N = _answers(log_NK, ranked_by)
    labels_N = labels_N.long()
    right_N = answer_N == labels_N
    count_K = torch.bincount(labels_N, minlength=classes)
    right_K = torch.bincount(labels_N[right_N], minlength=classes)
    confidence_K = torch.bincount(labels_N, confidence_N, minlength=classes)
    cell_N = labels_N * BINS + equal_width_bins(confidence_N, BINS)
    gap_KB = torch.bincount(cell_N, right_N.double() - confidence_N, minlength=classes * BINS)
    gap_K = gap_KB.view(classes, BINS).abs().sum(dim=1)
    confused = _most_confused(labels_N[~right_N], answer_N[~right_N], classes)
    details = []
    for k, images in enumerate(count_K.tolist()):
        other, times = confused.get(k, (None, 0))
        details.append(
            ClassDetail(
                images=images,
                right=int(right_K[k]),
                mean_confidence=float(confidence_K[k]) / images if images else None,
                ece=float(gap_K[k]) / images if images else None,
                confused_with=other,
                confused=times,
            )
        )
    return details


@torch.no_grad()
def answer_counts(
    log_NK: Tensor, labels_N: Tensor, *, ranked_by: Tensor | None = None
) -> dict[tuple[int, int], int]:
    """How many images of each class were given each answer: (class, answer) to a count above 0.

    Args:
        ranked_by: raw logits that say which class is on top, see `compute_metrics`.

    Raises:
        CalibrationError: empty, misshapen or non-finite input, labels out of range.
    """
    check(log_NK, labels_N)
    answer_N = (log_NK if ranked_by is None else ranked_by).argmax(dim=1)
    # Pairs that occur, not a matrix of all: of 20,000 classes that would be gigabytes.
    pairs, counts = torch.unique(labels_N * log_NK.shape[1] + answer_N, return_counts=True)
    found = zip(pairs.tolist(), counts.tolist(), strict=True)
    return {divmod(pair, log_NK.shape[1]): count for pair, count in found}


@torch.no_grad()
def worst_mistakes(
    log_NK: Tensor,
    raw_NK: Tensor,
    labels_N: Tensor,
    limit: int,
    *,
    ranked_by: Tensor | None = None,
) -> tuple[int, list[Mistake]]:
    """How many mistakes there are, and the `limit` with the highest confidence, highest first.

    Args:
        log_NK: logits or log-probabilities that answer and confidence are taken from.
        raw_NK: the logits before calibration.
        ranked_by: raw logits that say which class is on top, see `compute_metrics`.

    Raises:
        CalibrationError: empty, misshapen or non-finite input, labels out of range.
    """
    check(log_NK, labels_N)
    check(raw_NK, labels_N)
    confidence_N, answer_N = _answers(log_NK, ranked_by)
    wrong_M = (answer_N != labels_N).nonzero().squeeze(1)
    order_M = confidence_N[wrong_M].argsort(descending=True, stable=True)[:limit]
    chosen_M = wrong_M[order_M]
    answer_M, label_M = answer_N[chosen_M], labels_N[chosen_M].long()
    shares_MK = log_NK[chosen_M].double().softmax(dim=1)
    raw_MK = raw_NK[chosen_M].double().softmax(dim=1)
    row_M = torch.arange(len(chosen_M))
    columns = (
        chosen_M,
        label_M,
        answer_M,
        confidence_N[chosen_M],
        shares_MK[row_M, label_M],
        raw_MK[row_M, answer_M],
    )
    found = [Mistake(*each) for each in zip(*(each.tolist() for each in columns), strict=True)]
    return len(wrong_M), found


def _answers(log_NK: Tensor, ranked_by: Tensor | None) -> tuple[Tensor, Tensor]:
    """Each image's largest probability, float64, and the class that has it."""
    ranked_by = log_NK if ranked_by is None else ranked_by
    confidence_N = torch.empty(len(log_NK), dtype=torch.float64)
    answer_N = torch.empty(len(log_NK), dtype=torch.int64)
    for part in slices(log_NK):
        confidence_N[part] = log_NK[part].double().softmax(dim=1).amax(dim=1)
        # As in the metrics: of equal logits the first counts.
        answer_N[part] = ranked_by[part].argmax(dim=1)
    return confidence_N, answer_N


def _most_confused(labels_M: Tensor, answers_M: Tensor, classes: int) -> dict[int, tuple[int, int]]:
    """Of each class with mistakes, the most frequent wrong answer and how often it was given."""
    # Pairs that occur, not a matrix of all: of 20,000 classes that would be gigabytes.
    pairs, counts = torch.unique(labels_M * classes + answers_M, return_counts=True)
    most: dict[int, tuple[int, int]] = {}
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        label, answer = divmod(pair, classes)
        if label not in most or count > most[label][1]:
            most[label] = (answer, count)
    return most
