"""Prediction sets that hold the right class as often as asked, from a calibration split.

Split conformal prediction (Vovk et al. 2005): with q the ⌈(n + 1) coverage⌉-th smallest score of n
calibration labels, the set of all classes that score q at most holds the right one with at least
that probability. This holds on average over images that are exchangeable with the calibration
images: not for each class, not under shift, and only if neither model nor calibrator was fitted on
the same images. Where it is fulfilled by the top class alone, sets cover more than was asked.

`mondrian` takes a threshold of each class from the calibration images of that class (Vovk 2012,
arXiv 1209.2673): then it holds for each class. A class with fewer images than the coverage needs is
in every set. Shape suffixes: N images, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, Self

import torch
from pydantic import Field, PrivateAttr, model_validator
from torch import Tensor

from carot.calibration.label_sets import label_set_hash
from carot.calibration.metrics.binomial import order_statistic_quantile
from carot.calibration.metrics.intervals import CRITICAL_95, Interval, wilson_interval
from carot.calibration.metrics.numbers import Numbers
from carot.calibration.sets.conformal_scores import (
    SMALLEST,
    Regularisation,
    conformal_scores,
    within,
)
from carot.calibration.sets.coverage import ClassCoverage, Coverage, Method
from carot.errors import CalibrationError

RULES: dict[Method, Regularisation] = {
    "lac": Regularisation(0.0, 1),
    "aps": Regularisation(0.0, 1),
    "raps": Regularisation(0.1, 2),
    "saps": Regularisation(0.1, 1),
    "mondrian": Regularisation(0.0, 1),
}
"""By default; λ is best chosen on images of its own."""

LOGARITHMIC: tuple[Method, ...] = ("lac", "aps")
"""Whose scores were 1 − e^−score, rounded to 12 decimals, in the first version."""


class ConformalSets(Numbers):
    """The scores of the calibration labels, which give the sets of any coverage.

    Attributes:
        method, penalty, free_ranks: which scores, see `conformal_scores`.
        split, n, label_set_hash: what images, how many, of which classes.
        scores: of their labels, rising.
        labels: of `mondrian`, the class of each score; None for the others.
        version: 1 had other scores, which are turned into these when they are read.
    """

    version: Literal[2] = 2
    method: Method
    penalty: float = Field(ge=0, allow_inf_nan=False)
    free_ranks: int = Field(ge=1)
    split: str
    n: int = Field(ge=1)
    label_set_hash: str
    scores: tuple[float, ...] = Field(min_length=1)
    labels: tuple[int, ...] | None = None

    _of_class: dict[int, list[float]] = PrivateAttr(default_factory=dict)

    def model_post_init(self, context: object) -> None:
        """The scores of each class, rising, so that a request needs no loop."""
        for label, score in zip(self.labels or (), self.scores, strict=False):
            self._of_class.setdefault(label, []).append(score)

    @model_validator(mode="before")
    @classmethod
    def _of_the_first_version(cls, data: object) -> object:
        """Scores up to half a unit of the last decimal higher: no set becomes smaller."""
        if not isinstance(data, dict) or data.get("version", 1) != 1:
            return data
        scores = data.get("scores", ())
        if data.get("method") in LOGARITHMIC:
            scores = tuple(
                -math.log(max(1 - score - 5e-13, SMALLEST)) if score else 0.0 for score in scores
            )
        return {**data, "version": 2, "scores": scores}

    @model_validator(mode="after")
    def _one_label_each(self) -> Self:
        if (self.labels is not None) != (self.method == "mondrian"):
            raise ValueError("labels belong to `mondrian`, and to that alone")
        if self.labels is not None and len(self.labels) != len(self.scores):
            raise ValueError("one label for each score is needed")
        return self

    def threshold(self, coverage: float) -> float | None:
        """The score that a member of a set has at most; None where each class has its own.

        Raises:
            CalibrationError: a coverage outside (0, 1), or one that needs more images than there
                are; `field` is `coverage`.
        """
        if self.labels is None:
            return self.scores[self.place(coverage) - 1]
        needed, most = images_needed(coverage), max(map(len, self._of_class.values()))
        if most < needed:
            raise CalibrationError(
                f"a coverage of {coverage:g} of each class needs {needed} calibration images of "
                f"it, and no class has more than {most}",
                field="coverage",
            )
        return None

    def thresholds(self, coverage: float, classes: int) -> Tensor:
        """The same for each of C classes, float64; infinite for those that are in every set.

        Raises:
            CalibrationError: see `threshold`.
        """
        common = self.threshold(coverage)
        if common is not None:
            return torch.full((classes,), common, dtype=torch.float64)
        threshold_C = torch.full((classes,), torch.inf, dtype=torch.float64)
        for label, scores in self._of_class.items():
            place = _place(len(scores), coverage)
            if place <= len(scores) and label < classes:
                threshold_C[label] = scores[place - 1]
        return threshold_C

    def place(self, coverage: float) -> int:
        """⌈(n + 1) coverage⌉, of the decimal number that `coverage` reads as; see `threshold`."""
        place = _place(self.n, coverage)
        if place > self.n:
            raise CalibrationError(
                f"a coverage of {coverage:g} needs {images_needed(coverage)} calibration images, "
                f"and there are {self.n}",
                field="coverage",
            )
        return place

    @torch.no_grad()
    def sets(self, probabilities_NC: Tensor, coverage: float) -> Tensor:
        """Which classes are in each image's set, bool, (N, C); the top class always is.

        Args:
            probabilities_NC: from the same model and calibrator as the calibration images'.
            coverage: share of images whose set holds the right class.

        Raises:
            CalibrationError: see `threshold`; no probabilities.
        """
        rule = Regularisation(self.penalty, self.free_ranks)
        scores_NC = conformal_scores(probabilities_NC, self.method, rule)
        return within(scores_NC, self.thresholds(coverage, scores_NC.shape[1]).to(scores_NC))

    def coverage_band(self, coverage: float) -> Interval | None:
        """What 95 of 100 calibration splits of this size really cover, for scores without ties.

        The coverage of a split's sets is distributed as Beta(k, n + 1 − k), k being `place`. None
        where each class has a threshold of its own.
        """
        if self.labels is not None:
            return None
        place = self.place(coverage)
        low, high = (order_statistic_quantile(place, self.n, level) for level in (0.025, 0.975))
        return low, high


@torch.no_grad()
def fit_conformal(
    probabilities_NC: Tensor,
    labels_N: Tensor,
    method: Method = "raps",
    rule: Regularisation | None = None,
    *,
    classes: Sequence[str] = (),
    split: str = "calibration",
) -> ConformalSets:
    """Score the calibration labels.

    Args:
        probabilities_NC: of the calibration images, as they will be served.
        labels_N: class indices.
        method: by which score.
        rule: λ and the free ranks; None takes those of `RULES`.
        classes: names of the label set, kept as a hash.
        split: where the images come from, kept.

    Raises:
        CalibrationError: an unknown method (`field` is `method`), no probabilities, labels out of
            range, a penalty below 0.
    """
    rule = rule or RULES.get(method, Regularisation(0.0, 1))
    if not rule.penalty >= 0 or rule.free_ranks < 1:
        raise CalibrationError("the penalty must be 0 or more, the free ranks 1 or more")
    scores_NC = conformal_scores(probabilities_NC, method, rule)
    _check_labels(scores_NC, labels_N)
    scores_N, order_N = scores_NC.gather(1, labels_N.long()[:, None]).squeeze(1).sort(stable=True)
    return ConformalSets(
        version=2,
        method=method,
        penalty=rule.penalty,
        free_ranks=rule.free_ranks,
        split=split,
        n=len(labels_N),
        label_set_hash=label_set_hash(classes),
        scores=tuple(scores_N.tolist()),
        labels=tuple(labels_N[order_N].tolist()) if method == "mondrian" else None,
    )


def images_needed(coverage: float) -> int:
    """Calibration images without which no finite set covers so much: ⌈c / (1 − c)⌉.

    Raises:
        CalibrationError: a coverage outside (0, 1); `field` is `coverage`.
    """
    share = _fraction(coverage)
    return math.ceil(share / (1 - share))


@torch.no_grad()
def measure_sets(sets_NC: Tensor, labels_N: Tensor, coverage: float) -> Coverage:
    """How often the sets hold the label, and how large they are.

    Raises:
        CalibrationError: no sets, labels out of range, a coverage outside (0, 1).
    """
    _fraction(coverage)
    if sets_NC.ndim != 2 or 0 in sets_NC.shape or sets_NC.dtype != torch.bool:
        raise CalibrationError("sets are booleans of shape (N, C)")
    _check_labels(sets_NC, labels_N)
    held_N = sets_NC.gather(1, labels_N.long()[:, None]).squeeze(1)
    return coverage_of(held_N, sets_NC.sum(dim=1), sets_NC.shape[1], coverage)


def coverage_of(held_N: Tensor, size_N: Tensor, classes: int, coverage: float) -> Coverage:
    """The same from whether each set holds the label, bool, and how many classes it has."""
    images, held = len(held_N), int(held_N.sum())
    size_N = size_N.double()
    mean = float(size_N.mean())
    # One image says nothing of how sizes vary.
    half = CRITICAL_95 * float(size_N.std()) / math.sqrt(images) if images > 1 else math.inf
    return Coverage(
        images=images,
        asked=coverage,
        coverage=held / images,
        coverage_interval=wilson_interval(held, images),
        mean_size=mean,
        mean_size_interval=(max(0.0, mean - half), min(float(classes), mean + half)),
        largest=int(size_N.max()),
        single=float((size_N == 1).double().mean()),
    )


def class_coverages(
    held_N: Tensor, labels_N: Tensor, names: Sequence[str], limit: int
) -> tuple[ClassCoverage, ...]:
    """What sets hold of each class, those that are surest to be held too rarely first.

    Ordered by the upper end of the interval: one image of a class that is not held shows little.

    Args:
        held_N: whether each set holds the label, bool.
        names: of all classes; a class without images is left out.
        limit: most classes.
    """
    images_C = torch.bincount(labels_N.long(), minlength=len(names))
    held_C = torch.bincount(labels_N.long()[held_N], minlength=len(names))
    found = [
        ClassCoverage(
            name=name,
            images=images,
            coverage=held / images,
            coverage_interval=wilson_interval(held, images),
        )
        for name, images, held in zip(names, images_C.tolist(), held_C.tolist(), strict=True)
        if images
    ]
    return tuple(sorted(found, key=lambda each: each.coverage_interval[1])[:limit])


def _fraction(coverage: float) -> Fraction:
    """The decimal number that a coverage reads as: 0.9 is nine tenths."""
    if not 0 < coverage < 1:
        raise CalibrationError(
            f"the coverage must lie between 0 and 1, not {coverage:g}", field="coverage"
        )
    return Fraction(repr(float(coverage)))


def _place(n: int, coverage: float) -> int:
    """⌈(n + 1) coverage⌉; above n where no score of n images covers so much."""
    return math.ceil((n + 1) * _fraction(coverage))


def _check_labels(per_class_NC: Tensor, labels_N: Tensor) -> None:
    images, classes = per_class_NC.shape
    if labels_N.shape != (images,) or labels_N.is_floating_point() or labels_N.dtype == torch.bool:
        raise CalibrationError(f"{images} class indices are needed")
    if int(labels_N.min()) < 0 or int(labels_N.max()) >= classes:
        raise CalibrationError(f"labels must be 0 to {classes - 1}")
