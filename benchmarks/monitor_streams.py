"""Many streams of labels at once, and what watches them: for `benchmarks/monitor.py`.

A stream draws answers with replacement from a pool of real ones. Every watcher sees the same
streams. Shape suffixes: P answers in a pool, R streams, J bets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from carot.calibration.monitoring.e_process import ALPHA, bets

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
CRITICAL = 1.959963984540054
LOOK_EVERY = 100
STAKES = (0.05, 0.1, 0.25, 0.5, 0.9)


@dataclass(frozen=True)
class Pool:
    """Answers to draw from; `chance_P` is that of being right: 0 or 1 for real outcomes."""

    confidence_P: Floats
    chance_P: Floats


class Watcher(Protocol):
    """Looks at one label of every stream after the other."""

    name: str

    def see(self, answer_R: Ints, right_R: NDArray[np.bool_], labels: int) -> NDArray[np.bool_]:
        """Which streams alarm now; `labels` came before this one."""
        ...


class OurTest:
    """The arithmetic of `monitoring.e_process`, with the factors of the pool tabled."""

    name = "e_process"

    def __init__(self, confidence_P: Floats, edges: tuple[float, ...], streams: int) -> None:
        self.bets = bets(edges)
        zeros_P = np.zeros_like(confidence_P)
        self.factor_2PJ = np.stack(
            [self.bets.factors(confidence_P, zeros_P + outcome) for outcome in (0, 1)]
        )
        self.weight_RJ = np.tile(self.bets.prior_J, (streams, 1))
        self.log_R = np.zeros(streams)

    def see(self, answer_R: Ints, right_R: NDArray[np.bool_], labels: int) -> NDArray[np.bool_]:
        factor_RJ = self.factor_2PJ[right_R.astype(int), answer_R]
        self.weight_RJ, growth_R = self.bets.play(self.weight_RJ, factor_RJ, labels)
        self.log_R += np.log(growth_R)
        alarm_R: NDArray[np.bool_] = self.log_R >= -math.log(ALPHA)
        return alarm_R


class ConstantStakes:
    """A mixture over stakes λ on o − c that never change, |λ| from 0.05 to 0.9, everywhere."""

    name = "constant_stakes"

    def __init__(self, confidence_P: Floats, edges: tuple[float, ...], streams: int) -> None:
        stake_J = np.array([sign * stake for stake in STAKES for sign in (-1, 1)])
        self.log_2PJ = np.log1p(
            np.stack([np.outer(outcome - confidence_P, stake_J) for outcome in (0, 1)])
        )
        self.log_RJ = np.zeros((streams, len(stake_J)))

    def see(self, answer_R: Ints, right_R: NDArray[np.bool_], labels: int) -> NDArray[np.bool_]:
        self.log_RJ += self.log_2PJ[right_R.astype(int), answer_R]
        alarm_R: NDArray[np.bool_] = np.exp(self.log_RJ).mean(axis=1) >= 1 / ALPHA
        return alarm_R


class RepeatedTest:
    """A z-test of mean confidence against accuracy at 5 %, looked at every 100 labels."""

    name = "repeated_z_test"

    def __init__(self, confidence_P: Floats, edges: tuple[float, ...], streams: int) -> None:
        self.confidence_P = confidence_P
        self.excess_R, self.variance_R = np.zeros(streams), np.zeros(streams)

    def see(self, answer_R: Ints, right_R: NDArray[np.bool_], labels: int) -> NDArray[np.bool_]:
        confidence_R = self.confidence_P[answer_R]
        self.excess_R += right_R - confidence_R
        self.variance_R += confidence_R * (1 - confidence_R)
        if (labels + 1) % LOOK_EVERY:
            return np.zeros(len(answer_R), dtype=bool)
        alarm_R: NDArray[np.bool_] = np.abs(self.excess_R) > CRITICAL * np.sqrt(self.variance_R)
        return alarm_R


WATCHERS = (OurTest, ConstantStakes, RepeatedTest)


def first_alarms(
    parts: Sequence[tuple[Pool, int]],
    edges: tuple[float, ...],
    *,
    streams: int,
    seed: int,
    watchers: Sequence[type[OurTest | ConstantStakes | RepeatedTest]] = WATCHERS,
) -> dict[str, Ints]:
    """After how many labels each stream alarmed first, by watcher; 0 where it never did.

    Args:
        parts: pools, and how many labels are drawn from each in turn.
        edges: between the thirds of the confidences.
    """
    generator = np.random.default_rng(seed)
    confidence_P = np.concatenate([pool.confidence_P for pool, _ in parts])
    chance_P = np.concatenate([pool.chance_P for pool, _ in parts])
    watching: list[Watcher] = [kind(confidence_P, edges, streams) for kind in watchers]
    found = {watcher.name: np.zeros(streams, dtype=np.int64) for watcher in watching}
    labels, offset = 0, 0
    for pool, length in parts:
        for _ in range(length):
            answer_R = offset + generator.integers(len(pool.confidence_P), size=streams)
            right_R = generator.random(streams) < chance_P[answer_R]
            for watcher in watching:
                first_R = found[watcher.name]
                alarm_R = watcher.see(answer_R, right_R, labels)
                first_R[(first_R == 0) & alarm_R] = labels + 1
            labels += 1
            if all(bool((first_R > 0).all()) for first_R in found.values()):
                return found
        offset += len(pool.confidence_P)
    return found
