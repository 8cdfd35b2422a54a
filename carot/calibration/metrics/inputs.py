"""What every metric and calibrator demands of its input, and how it goes through it.

Shape suffixes: N images, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from carot.errors import CalibrationError

CHUNK_ELEMENTS = 1 << 16
"""Logits in a chunk; 512 KiB of float64, so that what is done to it in turn finds it in the cache.
Other devices than the CPU have no use for that, and get `LARGER` times as many at once."""
LARGER = 256


def check(logits_NC: Tensor, labels_N: Tensor) -> None:
    """Refuse what would give a number without meaning.

    Raises:
        CalibrationError: not (N, C) logits with N labels, N of 0, C below 2, a logit that is not
            finite, labels that are no class indices.
    """
    if logits_NC.ndim != 2 or labels_N.shape != logits_NC.shape[:1]:
        raise CalibrationError(
            f"logits of shape (N, C) and N labels are needed, "
            f"not {tuple(logits_NC.shape)} and {tuple(labels_N.shape)}"
        )
    images, classes = logits_NC.shape
    if images == 0:
        raise CalibrationError("no images: nothing can be measured")
    if classes < 2:
        raise CalibrationError("one class only: its confidence is always 1")
    if not logits_NC.is_floating_point():
        raise CalibrationError(f"logits are floating-point numbers, not {logits_NC.dtype}")
    if labels_N.is_floating_point() or labels_N.is_complex() or labels_N.dtype == torch.bool:
        raise CalibrationError(f"labels are class indices, not {labels_N.dtype}")
    # A sum is finite only if all its terms are, and costs no second matrix. It may overflow.
    if not bool(logits_NC.sum().isfinite()) and not bool(logits_NC.isfinite().all()):
        wrong_N = (~logits_NC.isfinite()).any(dim=1)
        raise CalibrationError(
            f"{int(wrong_N.sum())} of {images} rows have a logit that is not finite; "
            f"{_first(wrong_N)}"
        )
    if int(labels_N.min()) < 0 or int(labels_N.max()) >= classes:
        wrong_N = (labels_N < 0) | (labels_N >= classes)
        raise CalibrationError(
            f"labels must be 0 to {classes - 1}, and {int(wrong_N.sum())} of {images} are not; "
            f"{_first(wrong_N)}"
        )


def check_confidences(confidence_N: Tensor, correct_N: Tensor) -> None:
    """The same for confidences and whether their answers are right.

    Raises:
        CalibrationError: not N floating-point confidences with N booleans, N of 0, a confidence
            that is not finite or lies outside 0 to 1.
    """
    if confidence_N.ndim != 1 or correct_N.shape != confidence_N.shape:
        raise CalibrationError(
            f"N confidences and N outcomes are needed, "
            f"not {tuple(confidence_N.shape)} and {tuple(correct_N.shape)}"
        )
    if len(confidence_N) == 0:
        raise CalibrationError("no images: nothing can be measured")
    if not confidence_N.is_floating_point():
        raise CalibrationError(f"confidences are floating-point numbers, not {confidence_N.dtype}")
    if correct_N.dtype != torch.bool:
        raise CalibrationError(f"outcomes are true or false, not {correct_N.dtype}")
    # Comparisons with NaN are false: it is caught here as well.
    outside_N = ~((confidence_N >= 0) & (confidence_N <= 1))
    if bool(outside_N.any()):
        raise CalibrationError(
            f"{int(outside_N.sum())} of {len(confidence_N)} confidences are not numbers from 0 to "
            f"1; {_first(outside_N)}"
        )


def _first(wrong_N: Tensor) -> str:
    """Which row to look at."""
    return f"the first is row {int(wrong_N.int().argmax())}, counted from 0"


def chunks(logits_NC: Tensor, labels_N: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The rows in order, some at a time, as float64 logits and int64 labels."""
    for part in slices(logits_NC):
        yield logits_NC[part].detach().double(), labels_N[part].long()


def slices(logits_NC: Tensor, elements: int | None = None) -> Iterator[slice]:
    """Which rows each chunk has: those of so many logits, by default `CHUNK_ELEMENTS`."""
    elements = elements or CHUNK_ELEMENTS
    elements = elements if logits_NC.device.type == "cpu" else elements * LARGER
    rows = max(1, elements // logits_NC.shape[1])
    for start in range(0, len(logits_NC), rows):
        yield slice(start, start + rows)
