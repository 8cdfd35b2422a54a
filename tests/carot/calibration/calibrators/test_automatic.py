from __future__ import annotations

import numpy as np
import pytest
import torch

from carot.calibration.calibrators.automatic import FOR_FEW, choose_calibrator, compared
from carot.calibration.calibrators.choice import Choice
from carot.calibration.calibrators.fitting import FITS, Sample, fit_calibrator, fold_of
from carot.calibration.calibrators.temperature import fit_temperature
from carot.errors import CalibrationError
from tests.carot.calibration.drawn_logits import contaminated, drawn, skewed


def test_folds_are_equal_parts_of_the_images() -> None:
    folds = fold_of(torch.arange(103) % 4, 5)
    assert sorted(folds.bincount().tolist()) == [20, 20, 21, 21, 21]
    assert torch.equal(folds, fold_of(torch.arange(103) % 4, 5))
    assert not torch.equal(folds, torch.arange(103) % 5)


def test_the_simplest_wins_where_nothing_else_is_needed() -> None:
    logits, labels = drawn(2000, 5, temperature=2.0)
    choice = choose_calibrator(Sample(logits, labels), split="calibration")
    assert choice.calibrator == fit_temperature(logits, labels)
    assert [score.kind for score in choice.scores] == list(FITS)
    reasons = {score.kind: score.reason for score in choice.scores if score.reason}
    assert set(reasons) == {"perturbed_temperature", "domain_temperature"}
    assert "domain of every image" in reasons["domain_temperature"]
    assert choice.raw_nll > choice.calibrator.nll_after
    assert Choice.model_validate_json(choice.model_dump_json()) == choice


def test_the_one_that_is_needed_wins() -> None:
    assert choose_calibrator(Sample(*skewed(1500))).calibrator.kind == "vector"
    assert choose_calibrator(Sample(*contaminated(0))).calibrator.kind in (
        "ensemble_temperature",
        "smoothed_temperature",
    )
    parts = [drawn(500, 5, temperature=0.5), drawn(500, 5, temperature=4.0, seed=1)]
    logits, labels = (torch.cat(each) for each in zip(*parts, strict=True))
    sample = Sample(logits, labels, ["day"] * 500 + ["night"] * 500)
    assert choose_calibrator(sample).calibrator.kind == "domain_temperature"


def test_scores_are_those_of_a_literal_cross_validation() -> None:
    logits, labels = drawn(150, 4, temperature=2.0)
    choice = choose_calibrator(Sample(logits, labels), ("isotonic", "temperature"), folds=3)
    losses: dict[str, list[float]] = {}
    for kind in ("temperature", "isotonic"):
        losses[kind] = [0.0] * 150
        folds = fold_of(labels, 3).tolist()
        for fold in range(3):
            seen = [i for i in range(150) if folds[i] != fold]
            fitted = fit_calibrator(kind, Sample(logits[seen], labels[seen]))
            for i in (i for i in range(150) if folds[i] == fold):
                p = fitted.probabilities(logits[i : i + 1])[0, labels[i]]
                losses[kind][i] = -float(p.log())
    for score in choice.scores:
        assert score.nll == pytest.approx(np.mean(losses[score.kind]), rel=1e-9)
    best = min(losses, key=lambda kind: np.mean(losses[kind]))
    other = next(score for score in choice.scores if score.kind != best)
    difference = np.array(losses[other.kind]) - np.array(losses[best])
    assert other.behind == pytest.approx(difference.mean(), rel=1e-7)
    error = difference.std(ddof=1) / np.sqrt(150)
    assert other.behind_standard_error == pytest.approx(error, rel=1e-7)
    assert [score.kind for score in choice.scores] == ["temperature", "isotonic"]


def test_only_a_clear_lead_beats_the_simpler_one() -> None:
    base = torch.linspace(0.1, 1.0, 100, dtype=torch.float64)
    noise = torch.tensor([1.0, -1.0] * 50, dtype=torch.float64)
    near = compared({"a": base + 0.01, "b": base + 0.2 * noise})
    far = compared({"a": base + 0.1, "b": base + 0.2 * noise})
    assert (near[1].behind, near[1].behind_standard_error) == (0.0, 0.0)
    assert near[0].behind is not None
    assert near[0].behind_standard_error is not None
    assert 0 < near[0].behind < near[0].behind_standard_error
    assert far[0].behind is not None
    assert far[0].behind_standard_error is not None
    assert far[0].behind > far[0].behind_standard_error


def test_few_images_are_not_compared() -> None:
    logits, labels = drawn(9, 3)
    choice = choose_calibrator(Sample(logits, labels))
    assert (choice.calibrator.kind, choice.folds) == (FOR_FEW, 0)
    assert {score.nll for score in choice.scores} == {None}
    assert "9 images are too few for 5 folds" in str(choice.scores[0].reason)
    only = choose_calibrator(Sample(logits, labels), ("isotonic",))
    assert only.calibrator.kind == "isotonic"


@pytest.mark.parametrize(("kinds", "folds"), [(("platt",), 5), ((), 5), (("isotonic",), 1)])
def test_nonsense_is_refused(kinds: tuple[str, ...], folds: int) -> None:
    with pytest.raises(CalibrationError, match="two folds or more") as caught:
        choose_calibrator(Sample(*drawn(50)), kinds, folds=folds)
    assert caught.value.field == "calibrator"


def test_nothing_to_choose_from_says_why() -> None:
    with pytest.raises(CalibrationError, match="at most 100 classes"):
        choose_calibrator(Sample(*drawn(50, 101)), ("vector",))
