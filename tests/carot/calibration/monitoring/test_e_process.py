"""The sequential test of calibration: its promise, its arithmetic, and what it finds."""

from __future__ import annotations

import json
import math
from itertools import product

import numpy as np
import pytest

from carot.calibration.monitoring.e_process import (
    LARGEST,
    SETTLED,
    SHIFTS,
    SLOPES,
    UNSTAKED,
    EProcess,
    Suspect,
    bets,
)
from carot.errors import CalibrationError

EDGES = (0.6, 0.9)


def literal(confidences: list[float], outcomes: list[int], edges: tuple[float, ...]) -> list[float]:
    """The evidence after each label, by loops over gamblers, in the words of the docstring."""
    gamblers: list[tuple[str, float, float]] = [("none", 0.0, UNSTAKED)]
    families = ["all", *(range(len(edges) + 1) if edges else ())]
    each = (1 - UNSTAKED) / (len(families) + 1)
    for place in families:
        for size in SHIFTS:
            gamblers += [(place, -size, each / 10), (place, size, each / 10)]
    for size in SLOPES:
        gamblers += [("slope", -size, each / 6), ("slope", size, each / 6)]
    assert math.isclose(sum(g[2] for g in gamblers), 1)
    wealth = [prior for _, _, prior in gamblers]
    path = []
    for t, (c, o) in enumerate(zip(confidences, outcomes, strict=True)):
        odds = 6.0 if c == 1 else -6.0 if c == 0 else max(-6.0, min(6.0, math.log(c / (1 - c))))
        part = sum(c > edge for edge in edges)
        for j, (place, size, _) in enumerate(gamblers):
            delta = size * odds if place == "slope" else size
            delta = max(-LARGEST, min(LARGEST, delta))
            if place in ("all", "slope", part):
                stake = (math.exp(delta) - 1) / (1 - c + c * math.exp(delta))
                wealth[j] *= 1 + stake * (o - c)
        total, share = sum(wealth), 1 / (t + SETTLED)
        wealth = [
            (1 - share) * mine + share * total * prior
            for mine, (_, _, prior) in zip(wealth, gamblers, strict=True)
        ]
        path.append(sum(wealth))
    return path


def drawn(labels: int, seed: int, gap: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    confidence = 0.2 + 0.8 * rng.random(labels) ** 0.4
    return confidence, rng.random(labels) < confidence - gap


@pytest.mark.parametrize("edges", [EDGES, (0.8,), ()])
@pytest.mark.parametrize("gap", [0.0, 0.1, -0.1])
def test_it_is_what_loops_compute(edges: tuple[float, ...], gap: float) -> None:
    confidence, outcome = drawn(300, 1, gap)
    confidence[:6] = [0, 1, 1, 0.6, 0.9, 1e-12]
    outcome[:6] = [0, 0, 1, 1, 0, 1]
    path = literal(confidence.tolist(), outcome.astype(int).tolist(), edges)
    state = begun(edges)
    for c, o, expected in zip(confidence, outcome, path, strict=True):
        state = state.update(c, o)
        assert state.evidence == pytest.approx(expected, rel=1e-9)
    assert state.peak == pytest.approx(max(1.0, *path), rel=1e-9)
    best = int(np.argmax(path)) + 1
    assert state.peak_after == (best if max(path) > 1 else 0)


def begun(edges: tuple[float, ...]) -> EProcess:
    prior = tuple(bets(edges).prior_J.tolist())
    return EProcess.fresh().model_copy(update={"edges": edges, "weights": prior})


def test_it_is_a_martingale() -> None:
    # Over all outcomes of a few labels, each weighed by its chance under H0, the mean is 1.
    confidences = [0.05, 0.97, 0.6, 1.0, 0.9, 0.999, 0.0, 0.75]
    mean = 0.0
    for outcomes in product((0, 1), repeat=len(confidences)):
        pairs = list(zip(confidences, outcomes, strict=True))
        chance = math.prod(c if o else 1 - c for c, o in pairs)
        if chance > 0:
            mean += chance * begun(EDGES).update(confidences, outcomes).evidence
    assert mean == pytest.approx(1.0, abs=1e-12)


def test_bits_do_not_depend_on_how_labels_come() -> None:
    confidence, outcome = drawn(257, 2, 0.05)
    at_once = EProcess.fresh().update(confidence, outcome)
    for size in (1, 3, 64):
        state = EProcess.fresh()
        for start in range(0, len(confidence), size):
            state = state.update(confidence[start : start + size], outcome[start : start + size])
            state = EProcess.model_validate(json.loads(state.model_dump_json()))
        assert state == at_once


def test_false_alarms_are_as_rare_as_promised() -> None:
    # The test's own arithmetic for many streams at once; benchmarks/monitor.py takes longer ones.
    rng = np.random.default_rng(3)
    streams, labels, placed = 400, 1500, bets(EDGES)
    weight = np.tile(placed.prior_J, (streams, 1))
    log_evidence = peak = np.zeros(streams)
    for t in range(labels):
        confidence = 0.2 + 0.8 * rng.random(streams) ** 0.3
        outcome = (rng.random(streams) < confidence).astype(float)
        weight, growth = placed.play(weight, placed.factors(confidence, outcome), t)
        log_evidence = log_evidence + np.log(growth)
        peak = np.maximum(peak, log_evidence)
    alarms = float((peak >= math.log(20)).mean())
    assert alarms <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / streams)
    # It bets at all.
    assert float((peak >= math.log(1.1)).mean()) > 0.2


def test_many_streams_at_once_are_the_same_arithmetic() -> None:
    confidence, outcome = drawn(50, 4, 0.1)
    placed, weight, total = bets(EDGES), bets(EDGES).prior_J[None], 0.0
    for t, (c, o) in enumerate(zip(confidence, outcome, strict=True)):
        factor = placed.factors(np.array([c]), np.array([float(o)]))
        weight, growth = placed.play(weight, factor, t)
        total += float(np.log(growth).sum())
    assert begun(EDGES).update(confidence, outcome).log_evidence == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize(
    ("wrong", "direction", "region"),
    [
        (lambda c: c - 0.15, "overconfident", "all"),
        (lambda c: np.minimum(1, c + 0.15), "underconfident", "all"),
        (lambda c: np.where(c > 0.9, c - 0.15, c), "overconfident", "high"),
        (lambda c: np.where(c <= 0.6, c - 0.2, c), "overconfident", "low"),
        (lambda c: np.where((c > 0.6) & (c <= 0.9), c + 0.1, c), "underconfident", "middle"),
        (lambda c: c**0.5 / (c**0.5 + (1 - c) ** 0.5), "overconfident", "spread"),
        (lambda c: c**2 / (c**2 + (1 - c) ** 2), "underconfident", "spread"),
    ],
)
def test_it_says_what_is_wrong(wrong, direction: str, region: str) -> None:
    rng = np.random.default_rng(5)
    confidence = 0.02 + 0.97 * rng.random(3000)
    outcome = rng.random(3000) < wrong(confidence)
    state = begun(EDGES).update(confidence, outcome)
    assert state.rejects()
    assert state.suspect is not None
    assert (state.suspect.direction, state.suspect.region) == (direction, region)


def test_a_late_change_is_found_nearly_as_fast() -> None:
    found = []
    for before in (0, 10_000):
        delays = []
        for seed in range(5):
            calm, shifted = drawn(before, seed), drawn(4000, seed + 50, 0.1)
            state = begun(EDGES).update(*calm)
            if state.rejects():
                continue
            delays.append(_delay(state, shifted))
        found.append(float(np.median(delays)))
    assert found[1] < 4 * found[0]


def _delay(state: EProcess, stream: tuple[np.ndarray, np.ndarray]) -> int:
    for start in range(0, len(stream[0]), 20):
        state = state.update(stream[0][start : start + 20], stream[1][start : start + 20])
        if state.rejects():
            return start + 20
    return len(stream[0])


def test_wrong_at_certainty_is_strong_and_finite() -> None:
    one = EProcess.fresh().update([1.0], [False])
    assert 1.0 < one.evidence < 20
    some = EProcess.fresh().update([1.0] * 5, [False] * 5)
    assert some.rejects()
    many = EProcess.fresh().update([1.0] * 2000, [False] * 2000)
    assert math.isfinite(many.evidence)
    assert math.isfinite(many.log_evidence)
    assert EProcess.fresh().update([0.0] * 5, [True] * 5).rejects()
    right = EProcess.fresh().update([1.0, 0.0], [True, False])
    assert right.evidence == pytest.approx(1.0)


def test_edges_are_thirds_of_what_was_known_before() -> None:
    reference = (np.arange(300) + 0.5) / 300
    edges = EProcess.fresh(reference.tolist()).edges
    assert edges == pytest.approx((1 / 3, 2 / 3), abs=0.01)
    assert EProcess.fresh([0.5] * 29).edges == (0.7, 0.9)
    assert EProcess.fresh([1.0] * 100).edges == ()
    assert EProcess.fresh([0.4] * 50 + [1.0] * 50).edges == (0.4,)


def test_words() -> None:
    state = begun(EDGES).update([0.95] * 200, [True, False] * 100)
    assert state.suspect is not None
    assert state.suspect.words.startswith("overconfident")


@pytest.mark.parametrize(
    ("confidences", "outcomes", "message"),
    [
        ([0.5, 0.6], [1], "1 outcomes for 2"),
        ([math.nan], [1], "from 0 to 1"),
        ([1.1], [1], "from 0 to 1"),
        ([0.5], [2], "true or false"),
        ([0.5], [-1], "true or false"),
    ],
)
def test_nonsense_is_refused(confidences, outcomes, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        EProcess.fresh().update(confidences, outcomes)


def test_nothing_changes_nothing() -> None:
    state = EProcess.fresh().update([0.5], [True])
    assert state.update([], []) == state


def test_an_edge_below_one_is_not_said_to_be_one() -> None:
    suspect = Suspect(direction="overconfident", region="high", lower=0.99999, upper=1.0, share=0.5)
    assert suspect.words == "overconfident at confidences above 0.99999"
