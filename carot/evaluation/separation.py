"""How well a score tells one sample from another: AUROC and FPR95, each with a 95 % interval.

The score is higher for what is to be told apart, here unseen classes. Shape suffixes: M known
images, N unseen ones.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from carot.calibration.metrics.intervals import CRITICAL_95, Interval, wilson_interval

RESAMPLES = 2000
SEED = 0


def auroc(known_M: Tensor, unseen_N: Tensor) -> tuple[float, Interval | None]:
    """The chance that an unseen image scores above a known one, ties counting half.

    The interval is DeLong's (1988) on the scale of the log odds, which keeps it within 0 and 1
    (Qin and Hotilovac 2008). None where it cannot be told: fewer than two images of either, or all
    pairs are in one order.
    """
    above_N = _placed(known_M, unseen_N)
    below_M = 1 - _placed(unseen_N, known_M)
    area = float(above_N.mean())
    if min(len(known_M), len(unseen_N)) < 2 or not 0 < area < 1:
        return area, None
    variance = float(above_N.var()) / len(unseen_N) + float(below_M.var()) / len(known_M)
    if variance == 0:
        return area, None
    centre, half = math.log(area / (1 - area)), CRITICAL_95 * variance**0.5 / (area * (1 - area))
    return area, (_logistic(centre - half), _logistic(centre + half))


def false_acceptance(
    known_M: Tensor, unseen_N: Tensor, accepted: float = 0.95
) -> tuple[float, Interval]:
    """FPR95: the share of unseen images that are accepted where 95 % of the known ones are.

    An image is accepted whose score is not above the lowest known score that accepts at least this
    share of the known images. So known images that tie with it are all accepted, and unseen ones
    that do as well.

    The interval is of the bootstrap, both samples resampled, and never narrower than Wilson's for
    this threshold, which also holds at 0 and 1. The k-th lowest of a resample of M is the one at
    place ⌊M B⌋ with B of the law Beta(k, M − k + 1), and the unseen ones up to it are binomial: so
    nothing needs sorting twice.
    """
    known = np.sort(known_M.double().numpy())
    unseen = np.sort(unseen_N.double().numpy())
    # 0.95 * 20 is a digit above 19.
    rank = max(1, math.ceil(round(accepted * len(known), 9)))
    count = int(np.searchsorted(unseen, known[rank - 1], side="right"))
    generator = np.random.default_rng(SEED)
    places = (len(known) * generator.beta(rank, len(known) - rank + 1, RESAMPLES)).astype(np.int64)
    places = np.minimum(places, len(known) - 1)
    below: NDArray[np.int64] = np.searchsorted(unseen, known[places], side="right")
    shares = generator.binomial(len(unseen), below / len(unseen)) / len(unseen)
    low, high = np.quantile(shares, [0.025, 0.975])
    least, most = wilson_interval(count, len(unseen))
    return count / len(unseen), (min(least, float(low)), max(most, float(high)))


def _placed(among: Tensor, value_N: Tensor) -> Tensor:
    """Of each value the share of `among` that lies below it, ties counting half."""
    ordered = among.double().sort().values
    value_N = value_N.double()
    below_N = torch.searchsorted(ordered, value_N)
    not_above_N = torch.searchsorted(ordered, value_N, right=True)
    return (below_N + not_above_N).double() / (2 * len(ordered))


def _logistic(value: float) -> float:
    """Of any number, without overflow."""
    return 0.5 * (1 + math.tanh(value / 2))
