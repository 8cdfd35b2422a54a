"""How closely two figures of the same models go together, with an interval.

Shape suffixes: N models, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Vector = npt.NDArray[np.float64]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Correlation:
    """Pearson's r and Spearman's rho with 95 % percentile intervals of the bootstrap over models.

    None where it is not defined: fewer than three models, or a figure that is the same for all.
    """

    models: int
    pearson: float | None
    pearson_interval: Interval | None
    spearman: float | None
    spearman_interval: Interval | None

    def document(self) -> dict[str, float | Interval | None]:
        return asdict(self)


def correlate(
    x: Sequence[float] | Vector, y: Sequence[float] | Vector, resamples: int = 2000, seed: int = 0
) -> Correlation:
    """Pearson and Spearman correlation of two finite sequences of one length.

    The interval treats models as drawn independently; models of one repeat are less than that.

    Raises:
        ValueError: different lengths, or figures that are not finite.
    """
    x_N, y_N = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x_N.shape != y_N.shape or x_N.ndim != 1:
        raise ValueError(f"two sequences of one length, not {x_N.shape} and {y_N.shape}")
    if not (np.isfinite(x_N).all() and np.isfinite(y_N).all()):
        raise ValueError("figures that are not finite")
    if len(x_N) < 3 or np.ptp(x_N) == 0 or np.ptp(y_N) == 0:
        return Correlation(len(x_N), None, None, None, None)
    index_RN = np.random.default_rng(seed).integers(0, len(x_N), (resamples, len(x_N)))
    # A resample in which a figure is constant has no correlation.
    index_RN = index_RN[(np.ptp(x_N[index_RN], axis=1) > 0) & (np.ptp(y_N[index_RN], axis=1) > 0)]
    drawn_x, drawn_y = x_N[index_RN], y_N[index_RN]
    pearson = _rows(x_N[None], y_N[None])[0]
    spearman = _rows(_ranks(x_N[None]), _ranks(y_N[None]))[0]
    return Correlation(
        len(x_N),
        float(pearson),
        _interval(_rows(drawn_x, drawn_y)),
        float(spearman),
        _interval(_rows(_ranks(drawn_x), _ranks(drawn_y))),
    )


def standardised(values: Sequence[float] | Vector) -> Vector:
    """Less their mean, over their standard deviation; all zero when they do not differ."""
    values_N = np.asarray(values, np.float64)
    deviation = values_N.std()
    centred_N: Vector = values_N - values_N.mean()
    return centred_N / deviation if deviation > 0 else np.zeros_like(centred_N)


def _rows(x_RN: Vector, y_RN: Vector) -> Vector:
    x_RN = x_RN - x_RN.mean(axis=1, keepdims=True)
    y_RN = y_RN - y_RN.mean(axis=1, keepdims=True)
    product_R: Vector = (x_RN * y_RN).sum(axis=1)
    size_R: Vector = np.sqrt((x_RN**2).sum(axis=1) * (y_RN**2).sum(axis=1))
    return product_R / size_R


def _ranks(values_RN: Vector) -> Vector:
    return np.asarray(rankdata(values_RN, axis=1), np.float64)


def _interval(values_R: Vector) -> Interval:
    low, high = np.quantile(values_R, (0.025, 0.975))
    return float(low), float(high)
