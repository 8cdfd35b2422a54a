from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from carot.errors import CheckpointError
from carot.models.merging import interpolate, model_stock, uniform_soup
from tests.carot.tiny import tiny_model

SHAPES = {"matrix": (3, 4), "bias": (5,), "scale": ()}
numbers = st.floats(min_value=-1e6, max_value=1e6, width=32)


def state(seed: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    values = {n: torch.randn(s, generator=generator).to(dtype) for n, s in SHAPES.items()}
    return {**values, "count": torch.tensor(seed)}


def near(start: Mapping[str, Tensor], seed: int, towards: float = 1.0) -> dict[str, Tensor]:
    """A model some way from the start, in a direction that models share in part."""
    noise, common = state(seed), state(1000)
    return {
        n: torch.tensor(seed) if n == "count" else v + 0.1 * (noise[n] + towards * common[n])
        for n, v in start.items()
    }


@st.composite
def states(draw: Callable[..., Any], count: int) -> list[dict[str, Tensor]]:
    size = draw(st.integers(1, 4))
    lists = st.lists(numbers, min_size=size, max_size=size)
    return [{"a": torch.tensor(draw(lists)), "n": torch.tensor(k)} for k in range(count)]


# Literal formulas in NumPy's float64.


def slow_stock(start: np.ndarray, weights: Sequence[np.ndarray]) -> np.ndarray:
    k = len(weights)
    cosines = []
    for i in range(k):
        for j in range(i + 1, k):
            a, b = (weights[i] - start).ravel(), (weights[j] - start).ravel()
            lengths = np.linalg.norm(a) * np.linalg.norm(b)
            cosines.append(float(a @ b) / lengths if lengths > 0 else 0.0)
    cosine = max(0.0, math.fsum(cosines) / len(cosines))
    t = k * cosine / (1 + (k - 1) * cosine)
    mean: np.ndarray = np.mean(weights, axis=0)
    return t * mean + (1 - t) * start


def wide(tensor: Tensor) -> np.ndarray:
    return tensor.double().numpy()


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5, 0.83, 1.0])
def test_interpolation_matches_a_literal_implementation(alpha: float) -> None:
    start, finetuned = state(0), state(1)
    result = interpolate(start, finetuned, alpha)
    assert result.keys() == start.keys()
    for name in SHAPES:
        expected = (1 - alpha) * wide(start[name]) + alpha * wide(finetuned[name])
        np.testing.assert_allclose(wide(result[name]), expected, rtol=1e-6, atol=1e-7)
    assert result["count"].item() == (0 if alpha < 0.5 else 1)


def test_the_soup_matches_a_literal_implementation() -> None:
    models = [state(seed) for seed in range(5)]
    result = uniform_soup(models)
    for name in SHAPES:
        expected = np.mean([wide(m[name]) for m in models], axis=0)
        np.testing.assert_allclose(wide(result[name]), expected, rtol=1e-6, atol=1e-7)
    assert result["count"].item() == 0


@pytest.mark.parametrize("count", [2, 3, 6])
@pytest.mark.parametrize("towards", [0.0, 0.5, 3.0, -0.3])
def test_model_stock_matches_a_literal_implementation(count: int, towards: float) -> None:
    start = state(0)
    models = [near(start, seed, towards) for seed in range(1, count + 1)]
    result = model_stock(start, models)
    for name in SHAPES:
        expected = slow_stock(wide(start[name]), [wide(m[name]) for m in models])
        np.testing.assert_allclose(wide(result[name]), expected, rtol=1e-5, atol=1e-6)
    assert result["count"].item() == 1


def test_right_angles_lead_back_to_the_start_and_sharper_ones_towards_the_mean() -> None:
    """Cosine 0: t = 0. Cosine ½ and two models: t = 2 · ½ / (1 + ½) = 2/3."""
    start = {"w": torch.zeros(2)}
    right = [{"w": torch.tensor([1.0, 0.0])}, {"w": torch.tensor([0.0, 1.0])}]
    assert torch.equal(model_stock(start, right)["w"], torch.zeros(2))
    sixty = [{"w": torch.tensor([1.0, 0.0])}, {"w": torch.tensor([0.5, math.sqrt(0.75)])}]
    mean = torch.tensor([0.75, math.sqrt(0.75) / 2])
    torch.testing.assert_close(model_stock(start, sixty)["w"], mean * 2 / 3)


def test_model_stock_where_the_formula_says_nothing() -> None:
    start = {"w": torch.tensor([1.0, 2.0]), "s": torch.tensor(3.0)}
    moved = {"w": torch.tensor([2.0, 2.0]), "s": torch.tensor(4.0)}
    back = {"w": torch.tensor([0.0, 2.0]), "s": torch.tensor(2.0)}
    # Nobody moved; one moved; two moved apart, where the denominator is zero.
    for models in ([start, start], [start, moved], [moved, back]):
        result = model_stock(start, models)
        for name, value in start.items():
            assert torch.equal(result[name], value)
    # A scalar has but two directions: forward together, it is the mean.
    further = {"w": moved["w"], "s": torch.tensor(6.0)}
    assert model_stock(start, [moved, further])["s"].item() == 5.0


@given(states(2))
def test_interpolation_is_exact_at_its_ends(pair: list[dict[str, Tensor]]) -> None:
    start, finetuned = pair
    for alpha, expected in ((0.0, start), (1.0, finetuned)):
        result = interpolate(start, finetuned, alpha)
        for name, value in expected.items():
            assert torch.equal(result[name], value)


@given(states(2), st.floats(0.0, 1.0))
def test_interpolation_stays_between(pair: list[dict[str, Tensor]], alpha: float) -> None:
    start, finetuned = pair
    value = interpolate(start, finetuned, alpha)["a"]
    low = torch.minimum(start["a"], finetuned["a"])
    high = torch.maximum(start["a"], finetuned["a"])
    assert bool(((low <= value) & (value <= high)).all())
    same = interpolate(start, start, alpha)
    assert torch.equal(same["a"], start["a"])


@given(states(2), st.integers(2, 6))
def test_equal_models_are_returned_as_they_are(pair: list[dict[str, Tensor]], count: int) -> None:
    start, model = pair
    for result in (uniform_soup([model] * count), model_stock(start, [model] * count)):
        for name, value in model.items():
            assert torch.equal(result[name], value)


@given(states(4))
def test_the_order_of_models_does_not_matter(models: list[dict[str, Tensor]]) -> None:
    start, *rest = models
    for merge in (uniform_soup, lambda m: model_stock(start, m)):
        forth, back = merge(rest)["a"], merge(rest[::-1])["a"]
        torch.testing.assert_close(forth, back, rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_sums_are_wide_and_the_type_is_the_first_models(dtype: torch.dtype) -> None:
    start, others = state(0, dtype), [state(seed) for seed in (1, 2, 3)]
    results = [
        interpolate(start, others[0], 0.3),
        uniform_soup([start, *others]),
        model_stock(start, others),
    ]
    for result in results:
        for name in SHAPES:
            assert result[name].dtype == dtype
    # 4097 is no float16: added in it one after the other, the ones would be lost.
    ones = [{"w": torch.tensor([1.0]).half()}] * 3
    soup = uniform_soup([{"w": torch.tensor([4096.0]).half()}, *ones])
    assert soup["w"].item() == torch.tensor(4099.0 / 4).half().item()


def test_nothing_given_is_changed_or_shared() -> None:
    start, model = state(0), state(1)
    before = {n: v.clone() for n, v in start.items()}
    for result in (interpolate(start, model, 0.0), uniform_soup([start, start])):
        for value in result.values():
            value.zero_()
    for name, value in start.items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(
    "merge",
    [
        lambda a, b: interpolate(a, b, 0.5),
        lambda a, b: uniform_soup([a, a, b]),
        lambda a, b: model_stock(a, [a, b]),
        lambda a, b: model_stock(b, [a, a]),
    ],
)
def test_models_that_do_not_fit_are_refused(merge: Callable[..., object]) -> None:
    start, other = state(0), state(1)
    del other["bias"]
    with pytest.raises(CheckpointError, match="bias"):
        merge(start, other)
    other = {**state(1), "more": torch.zeros(1)}
    with pytest.raises(CheckpointError, match="more"):
        merge(start, other)
    other = {**state(1), "matrix": torch.zeros(4, 3)}
    with pytest.raises(CheckpointError, match=r"matrix \((3×4 and 4×3|4×3 and 3×4)\)"):
        merge(start, other)


def test_too_few_models_are_refused() -> None:
    with pytest.raises(CheckpointError, match="no checkpoints"):
        uniform_soup([])
    for models in ([], [state(1)]):
        with pytest.raises(CheckpointError, match="two checkpoints or more"):
            model_stock(state(0), models)


def test_a_merged_model_can_be_loaded() -> None:
    first, second = tiny_model(), tiny_model()
    with torch.no_grad():
        for parameter in second.module.parameters():
            parameter.add_(0.5)
    start, moved = first.module.state_dict(), second.module.state_dict()
    for merged in (interpolate(start, moved, 0.5), model_stock(start, [moved, moved])):
        first.module.load_state_dict(merged)
    torch.testing.assert_close(first.visual_projection(), second.visual_projection())
