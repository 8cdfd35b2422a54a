"""Whether confidences are still calibrated, by a test that may be looked at after every label.

H0: P(answer t is right | its confidence c_t and everything before) = c_t. Evidence against it is
the wealth of a gambler who starts with 1 and bets on every label at the odds that H0 calls fair.
Before label o_t (1 right, 0 wrong) is seen, a bet names how far the log odds of being right are
off, δ; its stake is multiplied by the likelihood ratio

    e^{δ o_t} / (1 − c_t + c_t e^δ) = 1 + λ (o_t − c_t),   λ = (e^δ − 1) / (1 − c_t + c_t e^δ),

which has mean 1 under H0 for every c_t in [0, 1]: wealth is a nonnegative martingale, and ever
exceeds 1 / α with probability α at most (Ville 1939; for calibration Henzi, Puke, Dimitriadis and
Ziegel 2023, arXiv 2203.00426). One may look every minute, and stop or go on at will.

The bets are spread over δ of both signs and several sizes, everywhere and in each third of the
confidences by itself, and over δ in proportion to the log odds (Cox's (1958) slope: confidences too
far from one half, or too near). Half the wealth is not staked. After each label a share
1 / (t + 1000) of it is redistributed as at the start (fixed share, Herbster and Warmuth 1998, with
a rate that falls), at a price of ½ log(1 + t / 1000) nats: so a change after thousands of good
labels takes about twice as many to find as one at the start, not ten times as many
(`benchmarks/monitor.py`). Who bets what is settled before the label comes, so that the martingale
stays one.

A confidence of exactly 1 that is wrong refutes H0 by itself. It is often a rounded 0.99999, and
sometimes a slip of whoever labelled, so that no bet takes more than e^2 from any label: a handful
of such answers is an alarm, one is not. Nothing here is ever infinite.

Labels count in the order they are given. Which predictions are logged and labelled may depend on
time, on the past and on confidence, since H0 speaks of each label given those: no weights are
needed, and none would help. If it depends on class or shift score, the test is of calibration given
what was chosen. It must not depend on whether the answer is right: people who report errors alone
will make any model look overconfident. Loads no torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from carot.calibration.metrics.numbers import Numbers
from carot.errors import CalibrationError

ALPHA = 0.05
SHIFTS = (0.1, 0.25, 0.5, 1.0, 2.0)
"""Sizes of δ; 0.25 is a gap of 6 points at a confidence of one half, of 1 point at 0.95."""
SLOPES = (0.1, 0.25, 0.5)
LARGEST = 2.0
UNSTAKED = 0.5
SETTLED = 1000
"""Labels until the share that is redistributed has halved."""
DEFAULT_EDGES = (0.7, 0.9)
LEAST_REFERENCE = 30

Floats = NDArray[np.float64]
Direction = Literal["overconfident", "underconfident"]
Region = Literal["all", "low", "middle", "high", "spread"]


class Suspect(Numbers):
    """The kind of bet that holds most of what is staked, and so has earned most of late."""

    direction: Direction
    region: Region = Field(
        description="`all`; `low`, `middle` or `high`: the part of the confidences from `lower` to "
        "`upper`; `spread`: confidences too far from one half (overconfident) or too near."
    )
    lower: float = Field(ge=0, le=1)
    upper: float = Field(ge=0, le=1)
    share: float = Field(ge=0, le=1, description="How much of the wealth is bet so.")

    @property
    def words(self) -> str:
        """Such as `overconfident at confidences above 0.97`."""
        if self.region == "all":
            return self.direction
        if self.region == "spread":
            too = "far from" if self.direction == "overconfident" else "near to"
            return f"confidences too {too} one half"
        where = {
            "low": f"up to {_shown(self.upper)}",
            "middle": f"from {_shown(self.lower)} to {_shown(self.upper)}",
            "high": f"above {_shown(self.lower)}",
        }
        return f"{self.direction} at confidences {where[self.region]}"


class EProcess(Numbers):
    """The state of the test: begin with `fresh`, go on with `update`, keep it as JSON.

    One per alias, checkpoint and calibrator; another of these begins another test.
    """

    edges: tuple[float, ...] = Field(description="Between the thirds of the confidences.")
    labels: int = Field(ge=0, description="Labels seen.")
    log_evidence: float = Field(description="Natural logarithm of the evidence; 0 at the start.")
    log_peak: float = Field(ge=0, description="The highest that it was.")
    peak_after: int = Field(ge=0, description="Labels seen when it was.")
    suspect: Suspect | None = Field(description="What earned it then; null before the first gain.")
    weights: tuple[float, ...] = Field(description="How the wealth is staked on the next label.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.weights) != len(bets(self.edges).prior_J):
            raise ValueError("as many weights as bets are needed")
        return self

    @classmethod
    def fresh(cls, reference: Sequence[float] = ()) -> Self:
        """Before any label.

        Args:
            reference: confidences known by now, from the same calibrator, such as those of
                predictions that wait for a label: where their thirds lie. With fewer than 30 of
                them the edges are 0.7 and 0.9.

        Raises:
            CalibrationError: confidences outside 0 to 1.
        """
        edges: tuple[float, ...] = DEFAULT_EDGES
        if len(reference) >= LEAST_REFERENCE:
            thirds = np.quantile(_confidences(reference), (1 / 3, 2 / 3), method="lower")
            # Confidences that are mostly 1 have no three parts.
            edges = tuple(sorted({float(edge) for edge in thirds if edge < 1}))
        return cls(
            edges=edges,
            labels=0,
            log_evidence=0.0,
            log_peak=0.0,
            peak_after=0,
            suspect=None,
            weights=tuple(bets(edges).prior_J.tolist()),
        )

    def update(self, confidences: ArrayLike, outcomes: ArrayLike) -> Self:
        """The state after these labels as well; bit by bit the same however they are divided.

        Args:
            confidences: as they were served, one or many, in the order of their labels.
            outcomes: whether each answer was right.

        Raises:
            CalibrationError: not as many outcomes as confidences, confidences outside 0 to 1,
                outcomes other than true and false (or 1 and 0).
        """
        confidence_N, outcome_N = _confidences(confidences), _outcomes(outcomes)
        if len(confidence_N) != len(outcome_N):
            raise CalibrationError(f"{len(outcome_N)} outcomes for {len(confidence_N)} confidences")
        placed = bets(self.edges)
        factor_NJ = placed.factors(confidence_N, outcome_N)
        weight_J, log_evidence = np.array(self.weights), self.log_evidence
        log_peak, peak_after, at_peak_J = self.log_peak, self.peak_after, None
        for labels, factor_J in enumerate(factor_NJ, start=self.labels):
            weight_J, growth = placed.play(weight_J, factor_J, labels)
            log_evidence += math.log(float(growth))
            if log_evidence > log_peak:
                log_peak, peak_after, at_peak_J = log_evidence, labels + 1, weight_J
        return self.model_copy(
            update={
                "labels": self.labels + len(factor_NJ),
                "log_evidence": log_evidence,
                "log_peak": log_peak,
                "peak_after": peak_after,
                "suspect": self.suspect if at_peak_J is None else placed.suspect(at_peak_J),
                "weights": tuple(weight_J.tolist()),
            }
        )

    @property
    def evidence(self) -> float:
        """The e-value now: 1 at the start, and on average under H0; capped at e^700."""
        return math.exp(min(self.log_evidence, 700.0))

    @property
    def peak(self) -> float:
        """The highest e-value so far, 1 at least; 1 / peak is a p value at any time."""
        return math.exp(min(self.log_peak, 700.0))

    def rejects(self, alpha: float = ALPHA) -> bool:
        """Whether H0 was rejected at any time so far; wrong with probability `alpha` at most."""
        return self.log_peak >= -math.log(alpha)


@dataclass(frozen=True, eq=False)
class Bets:
    """What is bet on, in J kinds; the first is not to bet.

    Attributes:
        edges: between the thirds, rising.
        shift_J, slope_J: δ = shift + slope · log odds, cut off at ±`LARGEST`.
        place_J: index of the only part of the confidences that is bet on, −1 for all.
        prior_J: how the wealth is staked at the start; sums to 1.
    """

    edges: tuple[float, ...]
    shift_J: Floats
    slope_J: Floats
    place_J: NDArray[np.int64]
    prior_J: Floats

    def factors(self, confidence_N: Floats, outcome_N: Floats) -> Floats:
        """What each bet makes of 1 with each label, shape (..., J); leading shapes are free."""
        # Beyond 0.9975 the log odds are taken as 6, so that a confidence of 1 has some.
        inside_N = confidence_N.clip(1e-9, 1 - 1e-9)
        odds_N = np.log(inside_N / (1 - inside_N)).clip(-6, 6)
        delta_NJ = (self.shift_J + odds_N[..., None] * self.slope_J).clip(-LARGEST, LARGEST)
        place_N = np.searchsorted(self.edges, confidence_N)
        delta_NJ *= (self.place_J < 0) | (self.place_J == place_N[..., None])
        power_NJ, c_N1, o_N1 = np.exp(delta_NJ), confidence_N[..., None], outcome_N[..., None]
        ratio_NJ: Floats = np.where(o_N1 > 0, power_NJ, 1.0) / (1 - c_N1 + c_N1 * power_NJ)
        return ratio_NJ

    def play(self, weight_J: Floats, factor_J: Floats, labels: int) -> tuple[Floats, Floats]:
        """Stakes after a label and what the wealth was multiplied by; `labels` came before it."""
        earned_J = weight_J * factor_J
        growth = earned_J.sum(axis=-1, keepdims=True)
        share = 1 / (labels + SETTLED)
        return (1 - share) * (earned_J / growth) + share * self.prior_J, growth[..., 0]

    def suspect(self, weight_J: Floats) -> Suspect:
        """What most of the stakes are on, by place and direction."""
        spread = len(self.edges) + 1
        kind_J = np.where(self.slope_J != 0, spread, self.place_J)
        over_J = self.shift_J + self.slope_J < 0
        found: dict[tuple[int, bool], float] = {}
        for kind, over, weight in zip(kind_J[1:], over_J[1:], weight_J[1:], strict=True):
            key = (int(kind), bool(over))
            found[key] = found.get(key, 0.0) + float(weight)
        (kind, over), share = max(found.items(), key=lambda item: item[1])
        bounds = (0.0, *self.edges, 1.0)
        single = 0 <= kind < spread
        return Suspect(
            direction="overconfident" if over else "underconfident",
            region=_region(kind, spread),
            lower=bounds[kind] if single else 0.0,
            upper=bounds[kind + 1] if single else 1.0,
            share=min(1.0, share),
        )


@lru_cache(maxsize=64)
def bets(edges: tuple[float, ...]) -> Bets:
    """Half of the wealth is not staked; everywhere, slopes and each part get the same of the rest.

    Raises:
        CalibrationError: edges that do not rise, or lie outside 0 to 1.
    """
    if list(edges) != sorted(set(edges)) or not all(0 <= edge <= 1 for edge in edges):
        raise CalibrationError(f"edges must rise from 0 to 1, not {edges}")
    shifts = [sign * size for size in SHIFTS for sign in (-1, 1)]
    slopes = [sign * size for size in SLOPES for sign in (-1, 1)]
    places = list(range(-1, len(edges) + 1)) if edges else [-1]
    families = [[(shift, 0.0, place) for shift in shifts] for place in places]
    families.append([(0.0, slope, -1) for slope in slopes])
    each = (1 - UNSTAKED) / len(families)
    kinds = [(0.0, 0.0, -1), *(kind for family in families for kind in family)]
    prior = [UNSTAKED, *(each / len(family) for family in families for _ in family)]
    shift_J, slope_J, place_J = (np.array(column) for column in zip(*kinds, strict=True))
    return Bets(edges, shift_J, slope_J, place_J, np.array(prior))


def _shown(edge: float) -> str:
    """To four digits, unless that would be 1: nothing lies above it."""
    shown = f"{edge:.4g}"
    return repr(edge) if float(shown) == 1.0 > edge else shown


def _region(place: int, parts: int) -> Region:
    """The name of a place among so many parts; -1 is all of them, `parts` none."""
    if place < 0:
        return "all"
    if place == parts:
        return "spread"
    if place == 0:
        return "low"
    return "high" if place == parts - 1 else "middle"


def _confidences(values: ArrayLike) -> Floats:
    confidence_N = np.atleast_1d(np.asarray(values, dtype=np.float64))
    # Comparisons with NaN are false: it is caught here as well.
    if confidence_N.ndim != 1 or not bool(((confidence_N >= 0) & (confidence_N <= 1)).all()):
        raise CalibrationError("confidences are numbers from 0 to 1")
    return confidence_N


def _outcomes(values: ArrayLike) -> Floats:
    outcome_N = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if outcome_N.ndim != 1 or not bool(((outcome_N == 0) | (outcome_N == 1)).all()):
        raise CalibrationError("outcomes are true or false")
    return outcome_N
