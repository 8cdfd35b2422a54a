"""The scores of unseen classes against literal versions of what they say."""

from __future__ import annotations

import math

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from carot.calibration.sets.unseen_names import SCORES, Score
from carot.calibration.sets.unseen_score import UnseenScore, fit_unseen_score
from carot.errors import CalibrationError


def drawn(images: int, seed: int) -> tuple[Tensor, Tensor]:
    """Confidences, with ties, and distances."""
    generator = torch.Generator().manual_seed(seed)
    confidence = torch.rand(images, generator=generator, dtype=torch.float64).mul(30).ceil() / 30
    return confidence, 3 * torch.rand(images, generator=generator, dtype=torch.float64)


def fisher(p: float, q: float) -> float:
    return -2 * (math.log(p) + math.log(q))


@pytest.mark.parametrize("images", [1, 7, 50])
def test_every_score_is_what_it_is_said_to_be(images: int) -> None:
    own_c, own_d = drawn(images, 0)
    score = fit_unseen_score(own_c, own_d)
    new_c, new_d = drawn(40, 1)
    values = score.values(new_c, new_d)
    assert values["confidence"].tolist() == (-new_c).tolist()
    assert values["shift"].tolist() == new_d.tolist()
    for i, (c, d) in enumerate(zip(new_c.tolist(), new_d.tolist(), strict=True)):
        p = (1 + sum(each <= c for each in own_c.tolist())) / (images + 1)
        q = (1 + sum(each >= d for each in own_d.tolist())) / (images + 1)
        assert values["combined"][i].item() == pytest.approx(fisher(p, q))


def test_calibration_images_are_compared_with_the_others() -> None:
    own_c, own_d = drawn(30, 3)
    score = fit_unseen_score(own_c, own_d)
    expected = []
    for i in range(30):
        others = [j for j in range(30) if j != i]
        p = (1 + sum(own_c[j].item() <= own_c[i].item() for j in others)) / 30
        q = (1 + sum(own_d[j].item() >= own_d[i].item() for j in others)) / 30
        expected.append(fisher(p, q))
    assert score.combined_N.tolist() == pytest.approx(sorted(expected))


@pytest.mark.parametrize("name", SCORES)
def test_the_percentile_is_the_share_of_calibration_images_that_look_more_like_it(
    name: Score,
) -> None:
    own_c, own_d = drawn(50, 0)
    score = fit_unseen_score(own_c, own_d).serving(name)
    new_c, new_d = drawn(30, 1)
    own = {"confidence": -own_c, "shift": own_d, "combined": score.combined_N}[name].tolist()
    values = score.values(new_c, new_d)[name].tolist()
    expected = [sum(each < value for each in own) / 50 for value in values]
    assert score.percentiles(new_c, new_d).tolist() == expected


@pytest.mark.parametrize("name", [*SCORES, None])
def test_it_comes_back_from_its_bytes(name: Score | None) -> None:
    score = fit_unseen_score(*drawn(20, 2), split="mine").serving(name)
    again = UnseenScore.from_bytes(score.to_bytes())
    assert (again.split, again.chosen) == ("mine", name)
    for part in ("confidences_N", "distances_N", "combined_N"):
        assert torch.equal(getattr(again, part), getattr(score, part))


@pytest.mark.parametrize("change", ["torn", "other", "falling", "lengths", "chosen", "plain"])
def test_something_else_is_refused(change: str) -> None:
    rising = torch.arange(3.0)
    tensors = {name: rising.clone() for name in ("confidences", "distances", "combined")}
    about = {"method": "confidence_mahalanobis_fisher", "split": "s", "chosen": "shift"}
    UnseenScore.from_bytes(save(tensors, about))
    if change == "other":
        about["method"] = "something"
    if change == "falling":
        tensors["combined"] = rising.flip(0)
    if change == "lengths":
        tensors["distances"] = torch.arange(4.0)
    if change == "chosen":
        about["chosen"] = "best"
    if change == "plain":
        about = {}
    data = save(tensors, about)
    with pytest.raises(CalibrationError, match="no score of unseen classes"):
        UnseenScore.from_bytes(data[:-5] if change == "torn" else data)


@pytest.mark.parametrize(
    ("confidence", "distance"),
    [([0.5, 0.6], [1.0]), ([], []), ([0.5, math.nan], [1.0, 2.0]), ([0.5], [math.inf])],
)
def test_what_nothing_can_be_learned_from(confidence: list[float], distance: list[float]) -> None:
    with pytest.raises(CalibrationError):
        fit_unseen_score(torch.tensor(confidence), torch.tensor(distance))
