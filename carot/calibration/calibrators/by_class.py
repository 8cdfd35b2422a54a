"""Whether a calibrator serves every class: which had too few images, and which it puts down.

Shape suffixes: N images, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from carot.calibration.metrics.comparing import sign_test

LEAST_OF_CLASS = 6
"""Images without which nothing is fitted to a class by itself."""

LEVEL = 0.01
"""Chance of a fall as large between equal models, at which one counts."""


def rare_classes(labels_N: Tensor, classes: int) -> list[int]:
    """Indices of the classes with fewer than `LEAST_OF_CLASS` images."""
    count_C = torch.bincount(labels_N.long(), minlength=classes)
    return [int(k) for k in (count_C < LEAST_OF_CLASS).nonzero()[:, 0]]


def suppressed_class(right_before_N: Tensor, right_after_N: Tensor, labels_N: Tensor) -> str | None:
    """The class that loses most right answers, in words; None where none loses many.

    Many is more than half of those that it had, and more than chance would take (sign test, with
    Bonferroni's correction for the classes that occur).

    Args:
        right_before_N, right_after_N: whether the answer to each image is right, bool, of images
            that nothing was fitted to.
    """
    occurring = torch.unique(labels_N).tolist()
    worst, lost = None, 0
    for label in occurring:
        own_N = labels_N == label
        before, after = right_before_N[own_N], right_after_N[own_N]
        had, has = int(before.sum()), int(after.sum())
        if 2 * has >= had or had - has <= lost:
            continue
        if sign_test(before.double(), after.double()) * len(occurring) <= LEVEL:
            worst = (
                f"it takes class {label} from {had} to {has} right answers of {int(own_N.sum())}"
            )
            lost = had - has
    return worst


def named(classes: Sequence[str], indices: Sequence[int], limit: int = 10) -> str:
    """Some names, such as `cat, dog and 3 more`."""
    shown = ", ".join(classes[k] for k in indices[:limit])
    more = len(indices) - limit
    return f"{shown} and {more} more" if more > 0 else shown
