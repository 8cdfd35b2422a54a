from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from torch import Tensor

from carot.calibration.calibrators.isotonic import fit_isotonic, pooled
from carot.calibration.calibrators.rising_map import interpolated, with_confidence
from carot.calibration.metrics.classes_and_mistakes import class_details
from carot.calibration.metrics.metrics import compute_metrics, top_label
from tests.carot.calibration.drawn_logits import drawn


def scikit_learn(logits: Tensor, labels: Tensor, at: np.ndarray) -> np.ndarray:
    confidence, correct = top_label(logits, labels)
    n = len(labels)
    model = IsotonicRegression(y_min=1 / (n + 2), y_max=(n + 1) / (n + 2), out_of_bounds="clip")
    model.fit(confidence.numpy(), correct.numpy().astype(float))
    return np.asarray(model.predict(at))


@pytest.mark.parametrize("images", [1, 2, 50, 2000])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_map_is_scikit_learns(images: int, temperature: float) -> None:
    logits, labels = drawn(images, 5, temperature=temperature)
    fitted = fit_isotonic(logits, labels)
    at = np.linspace(0, 1, 501)
    ours = interpolated(torch.from_numpy(at), fitted.confidences, fitted.values)
    np.testing.assert_allclose(ours, scikit_learn(logits, labels, at), atol=1e-12)


@given(data=st.data())
@settings(max_examples=60)
def test_pooling_minimises_squares_and_never_falls(data: st.DataObject) -> None:
    """Against the min-max formula of isotonic regression, by brute force."""
    n = data.draw(st.integers(1, 12))
    places = data.draw(st.lists(st.integers(0, 6), min_size=n, max_size=n))
    right = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    blocks = pooled(torch.tensor(places).double() / 6, torch.tensor(right))
    assert [low for low, _, _ in blocks] == sorted(low for low, _, _ in blocks)
    assert all(a[1] < b[0] and a[2] < b[2] for a, b in itertools.pairwise(blocks))
    for place in set(places):
        expected = max(
            min(
                float(np.mean([r for p, r in zip(places, right, strict=True) if a <= p <= b]))
                for b in range(place, 7)
            )
            for a in range(place + 1)
            if any(a <= p <= place for p in places)
        )
        value = next(share for low, high, share in blocks if low <= place / 6 <= high)
        assert value == pytest.approx(expected, abs=1e-12)


def test_the_order_of_tied_images_does_not_matter() -> None:
    logits = drawn(300, 3)[0].round()
    labels = torch.randint(3, (300,), generator=torch.Generator().manual_seed(1))
    order = torch.randperm(300, generator=torch.Generator().manual_seed(2))
    fitted, again = fit_isotonic(logits, labels), fit_isotonic(logits[order], labels[order])
    assert (fitted.confidences, fitted.values) == (again.confidences, again.values)


def test_the_others_share_the_rest_in_proportion() -> None:
    logits, labels = drawn(500, 6, temperature=3.0)
    fitted = fit_isotonic(logits, labels)
    raw, mapped = logits.softmax(1), fitted.probabilities(logits)
    for before, after in zip(raw.numpy(), mapped.numpy(), strict=True):
        top = before.argmax()
        value = float(interpolated(torch.tensor([before[top]]), fitted.confidences, fitted.values))
        second = np.sort(before)[-2] / (1 - before[top])
        value = max(value, second / (1 + second))
        expected = before * (1 - value) / (1 - before[top])
        expected[top] = value
        np.testing.assert_allclose(after, expected, rtol=1e-9)


def test_a_map_that_would_turn_the_ranking_ties_the_first_two() -> None:
    logits = torch.tensor([[0.5, 0.48, 0.02], [0.9, 0.06, 0.04]]).double().log()
    mapped = with_confidence(logits, (0.5,), (0.2,)).exp()
    # Of 1 − c, the second has 0.96: c = 0.96 (1 − c).
    torch.testing.assert_close(mapped[0, :2], torch.full((2,), 0.96 / 1.96).double())
    # Of 1 − c, the second has 0.6: c = 0.6 (1 − c).
    torch.testing.assert_close(mapped[1], torch.tensor([0.375, 0.375, 0.25]).double())


def test_certainty_leaves_the_others_their_shares() -> None:
    """Where softmax says 1 and 0, the logits still say in which proportion."""
    logits = torch.tensor([[900.0, 1.0, 0.0]]).double()
    mapped = with_confidence(logits, (0.0, 1.0), (0.1, 0.7)).exp()[0]
    assert float(mapped[0]) == pytest.approx(0.7)
    assert float(mapped[1] / mapped[2]) == pytest.approx(np.e)


def test_no_finite_split_shows_certainty() -> None:
    logits = drawn(98, 4)[0]
    right, wrong = fit_isotonic(logits, logits.argmax(1)), fit_isotonic(logits, logits.argmin(1))
    assert set(right.values) == {0.99}
    assert set(wrong.values) == {0.01}


@given(
    x=st.lists(st.floats(0, 1), min_size=1, max_size=20),
    knots=st.lists(st.floats(0, 1), min_size=1, max_size=6, unique=True),
)
@settings(max_examples=60)
def test_interpolation_is_numpys(x: list[float], knots: list[float]) -> None:
    knots = sorted(knots)
    values = [i / 7 for i in range(len(knots))]
    ours = interpolated(torch.tensor(x, dtype=torch.float64), knots, values)
    np.testing.assert_allclose(ours, np.interp(x, knots, values), atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("classes", [3, 10, 50])
def test_answers_are_those_of_the_logits(classes: int, seed: int) -> None:
    """Where the map would put the second class first, the first still has more than any other."""
    logits, labels = drawn(3000, classes, temperature=3.0, seed=seed)
    fitted = fit_isotonic(logits[:1000], labels[:1000])
    held, held_labels = logits[1000:], labels[1000:]
    log = fitted.log_probabilities(held)
    assert torch.equal(log.argmax(1), held.argmax(1))
    top = log.topk(2, dim=1).values
    assert bool((top[:, 0] > top[:, 1]).all())
    assert int((top[:, 0] - top[:, 1] < 1e-9).sum()) > 0  # of those that would have tied
    raw, after = compute_metrics(held, held_labels), compute_metrics(log, held_labels)
    assert raw.accuracy == after.accuracy
    # Halves of float32 tie again; then the logits say who is on top.
    kept = log.float()
    again = compute_metrics(kept, held_labels, ranked_by=held)
    assert again.accuracy == raw.accuracy
    assert [each.right for each in class_details(kept, held_labels, ranked_by=held)] == [
        each.right for each in class_details(held, held_labels)
    ]
