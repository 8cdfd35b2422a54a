"""Conf-OT: the transport literally, coverage within its limits, smaller sets than LAC's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from carot.calibration.sets import transported as module
from carot.calibration.sets.conformal import fit_conformal
from carot.calibration.sets.transported import Shares, transported, transported_sets
from carot.errors import CalibrationError

N, ASKED = 400, 2000


def drifted(images: int, classes: int, seed: int) -> tuple[Tensor, Tensor]:
    """A zero-shot model's logits: right but for offsets that favour some classes."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (images,), generator=generator)
    logits = torch.randn(images, classes, generator=generator, dtype=torch.float64)
    logits[torch.arange(images), labels] += 3.0
    return logits + 2 * torch.linspace(-1, 1, classes, dtype=torch.float64), labels


def test_it_is_sinkhorns_iteration_written_out() -> None:
    logits, _ = drifted(40, 5, 0)
    share = np.array([0.1, 0.3, 0.2, 0.15, 0.25])
    plan = np.exp(logits.numpy())
    for _ in range(3):
        for k in range(5):
            plan[:, k] *= share[k] / math.fsum(plan[:, k])
        for i in range(40):
            plan[i] /= math.fsum(plan[i])
    found = transported(logits, torch.from_numpy(share)).exp().numpy()
    np.testing.assert_allclose(found, plan, rtol=1e-11)
    # Far beyond what exponentials can show.
    far = transported(logits * 500, torch.from_numpy(share))
    assert bool(far.isfinite().all())


def splits(shares: Shares, coverage: float) -> tuple[list[int], list[float], list[float]]:
    """Of 200 splits: images covered, mean sizes of sets, and of LAC's on the same split."""
    logits, labels = drifted(N + ASKED, 10, 1)
    generator = torch.Generator().manual_seed(2)
    covered, sizes, plain = [], [], []
    for _ in range(200):
        order = torch.randperm(N + ASKED, generator=generator)
        fit, rest = order[:N], order[N:]
        sets = transported_sets(logits[fit], labels[fit], logits[rest], coverage, shares)
        covered.append(int(sets.gather(1, labels[rest][:, None]).sum()))
        sizes.append(float(sets.sum(dim=1).double().mean()))
        lac = fit_conformal(logits[fit].softmax(dim=1), labels[fit], "lac")
        others = lac.sets(logits[rest].softmax(dim=1), coverage)
        plain.append(float(others.sum(dim=1).double().mean()))
    return covered, sizes, plain


def test_200_splits_cover_within_their_limits_with_smaller_sets_than_lacs() -> None:
    """Coverage over splits is distributed as Beta(k, n + 1 - k), and images have their chance."""
    covered, sizes, plain = splits("equal", 0.95)
    place = math.ceil((N + 1) * 0.95)
    law = stats.betabinom(ASKED, place, N + 1 - place)
    outside = [not law.ppf(0.025) <= held <= law.ppf(0.975) for held in covered]
    assert np.mean(outside) <= 0.09
    assert np.mean(covered) / ASKED == pytest.approx(law.mean() / ASKED, abs=0.004)
    assert np.mean(sizes) < 0.9 * np.mean(plain)


def test_shares_of_the_calibration_labels_cost_some_coverage() -> None:
    """They favour the calibration images: what is promised is missed, by less than a point."""
    covered, sizes, plain = splits("observed", 0.95)
    assert 0.94 < np.mean(covered) / ASKED < 0.949
    assert np.mean(sizes) < np.mean(plain)


def test_a_class_without_calibration_images_stays_possible() -> None:
    logits, labels = drifted(200, 4, 3)
    kept = labels != 3
    asked = torch.tensor([[0.0, 0.0, 0.0, 30.0]], dtype=torch.float64)
    sets = transported_sets(logits[kept], labels[kept], asked, 0.9)
    assert sets.tolist() == [[False, False, False, True]]


def test_what_is_too_much_or_no_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = drifted(50, 4, 0)
    for share in (torch.ones(4), torch.tensor([0.5, 0.5, 0.0, 0.0]), torch.ones(3) / 3):
        with pytest.raises(CalibrationError):
            transported(logits, share)
    with pytest.raises(CalibrationError):
        transported_sets(logits, labels, logits[:, :3], 0.9)
    with pytest.raises(CalibrationError, match="needs 99 calibration images"):
        transported_sets(logits, labels, logits, 0.99)
    monkeypatch.setattr(module, "MOST_NUMBERS", 399)
    with pytest.raises(CalibrationError, match="with 4 classes at most 99") as told:
        transported_sets(logits, labels, logits, 0.9)
    assert told.value.field == "images"
