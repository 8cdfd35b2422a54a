from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from safetensors.torch import save
from sklearn.covariance import LedoitWolf
from torch import Tensor

from carot.calibration.sets.shift_score import ShiftScore, fit_shift_score, ledoit_wolf_shrinkage
from carot.errors import CalibrationError


def features(images: int, width: int = 8, seed: int = 0) -> Tensor:
    """Correlated, of unequal spread, away from 0."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(width, width, generator=torch.Generator().manual_seed(99)).double()
    x = torch.randn(images, width, generator=generator).double() @ mix
    return x * torch.linspace(0.1, 2, width) + 3


@pytest.mark.parametrize(("images", "width"), [(3, 2), (40, 8), (500, 8), (30, 60)])
def test_distances_are_those_of_scikit_learns_covariance(images: int, width: int) -> None:
    x, new = features(images, width), features(50, width, seed=1)
    model = LedoitWolf().fit(x.numpy())
    score = fit_shift_score(x)
    expected = np.sqrt(model.mahalanobis(new.numpy()))
    np.testing.assert_allclose(score.distances(new), expected, rtol=1e-8)
    centred = x - x.mean(0)
    assert ledoit_wolf_shrinkage(centred) == pytest.approx(model.shrinkage_, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("images", "width"), [(5, 2), (40, 8), (12, 20)])
def test_calibration_images_are_seen_from_the_others(images: int, width: int) -> None:
    """By taking each out in turn, with shrinkage and target as they are."""
    x = features(images, width)
    centred = (x - x.mean(0)).numpy()
    shrinkage = ledoit_wolf_shrinkage(torch.from_numpy(centred))
    target = float((centred**2).mean()) * np.eye(width)
    expected = []
    for i in range(images):
        others = np.delete(x.numpy(), i, axis=0)
        covariance = (1 - shrinkage) * np.cov(others.T, bias=True) + shrinkage * target
        away = x[i].numpy() - others.mean(0)
        expected.append(math.sqrt(away @ np.linalg.solve(covariance, away)))
    np.testing.assert_allclose(fit_shift_score(x).distances_N, sorted(expected), rtol=1e-7)


def test_the_score_is_the_share_of_images_that_are_nearer() -> None:
    score = fit_shift_score(features(200))
    new = features(100, seed=1)
    expected = [
        sum(1 for own in score.distances_N.tolist() if own < distance) / 200
        for distance in score.distances(new).tolist()
    ]
    assert score.percentiles(new).tolist() == expected
    assert score.percentiles(score.mean_D[None]).tolist() == [0.0]
    assert score.percentiles(new[:1] + 1e6).tolist() == [1.0]


def test_images_like_the_calibration_images_score_evenly() -> None:
    """As many above 0.9 as there should be, though dimensions are many: in-sample far more are."""
    above, in_sample = [], []
    for seed in range(20):
        score = fit_shift_score(features(80, 30, seed=seed))
        new = features(200, 30, seed=100 + seed)
        above.append(float((score.percentiles(new) > 0.9).double().mean()))
        own = score.distances(features(80, 30, seed=seed)).sort().values
        in_sample.append(float((score.distances(new) > own[72]).double().mean()))
    assert np.mean(above) == pytest.approx(0.1, abs=0.03)
    assert np.mean(in_sample) > 0.3


def test_shifted_images_score_high() -> None:
    score = fit_shift_score(features(300))
    new = features(300, seed=1)
    assert float(score.percentiles(new).median()) == pytest.approx(0.5, abs=0.1)
    assert float(score.percentiles(new + 2.0).median()) > 0.95


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_lower_precision_is_raised_first(dtype: torch.dtype) -> None:
    x = features(50).to(dtype)
    score, raised = fit_shift_score(x), fit_shift_score(x.double())
    assert torch.equal(score.percentiles(x), raised.percentiles(x.double()))


def test_a_constant_coordinate_does_no_harm() -> None:
    x = torch.cat([features(60), torch.ones(60, 1)], dim=1)
    score = fit_shift_score(x)
    assert bool(score.distances(x).isfinite().all())
    moved = x.clone()
    moved[:, 8] += 10.0
    assert float(score.percentiles(moved).amin()) > 0.9


def test_bytes_keep_it_whole() -> None:
    x, new = features(50), features(20, seed=1)
    score = fit_shift_score(x, split="held-out")
    again = ShiftScore.from_bytes(score.to_bytes())
    assert again.split == "held-out"
    assert torch.equal(again.percentiles(new), score.percentiles(new))
    assert torch.equal(again.distances(new), score.distances(new))


def test_torn_bytes_are_refused() -> None:
    whole = fit_shift_score(features(50)).to_bytes()
    tensors = {"mean": torch.zeros(3), "whitening": torch.eye(2), "distances": torch.ones(4)}
    about = {"method": "mahalanobis_ledoit_wolf", "split": "calibration"}
    falling = {**tensors, "whitening": torch.eye(3), "distances": torch.tensor([2.0, 1.0])}
    for data in (
        b"",
        b"nonsense of some length",
        whole[:-10],
        save({"mean": torch.zeros(3)}),
        save(tensors, about),
        save(falling, about),
        save({**falling, "distances": torch.ones(4)}, {**about, "method": "other"}),
    ):
        with pytest.raises(CalibrationError, match="no shift score"):
            ShiftScore.from_bytes(data)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.ones(2, 3), "3 calibration images or more, not 2"),
        (torch.full((9, 3), 0.1), "do not vary"),
        (torch.zeros(9, 3), "do not vary"),
        (torch.tensor([[1.0, math.nan]] * 5), "not finite"),
        (torch.zeros(0, 3), "shape"),
        (torch.zeros(5), "shape"),
        (torch.ones(5, 2, dtype=torch.int64), "shape"),
    ],
)
def test_nonsense_is_refused(x: Tensor, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        fit_shift_score(x)


def test_features_of_another_width_are_refused() -> None:
    with pytest.raises(CalibrationError, match="width 8, not 5"):
        fit_shift_score(features(20)).percentiles(features(3, 5))
