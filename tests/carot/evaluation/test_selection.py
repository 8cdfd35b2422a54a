from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from carot.errors import CalibrationError
from carot.evaluation.bound import bound_terms
from carot.evaluation.selection import Judgement, score
from carot.run.segment import closest_to_start


def drawn(images: int = 200, classes: int = 4, width: int = 6) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(images, classes, generator=generator)
    labels = torch.randint(classes, (images,), generator=generator)
    features = torch.randn(images, width, generator=generator)
    return logits, labels, features


def judgement(**changes: float) -> Judgement:
    values = {"accuracy": 0.9, "nll": 0.3, "calibration_error": 0.01, "sigma_min": 0.1, **changes}
    return Judgement(**values)


def test_a_judgement_against_numpy() -> None:
    logits, labels, features = drawn()
    found = Judgement.of(logits, labels, features)
    z = logits.double().numpy()
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    assert found.accuracy == np.mean(z.argmax(axis=1) == labels.numpy())
    assert found.nll == pytest.approx(-np.mean(np.log(p[np.arange(len(p)), labels.numpy()])))
    terms = bound_terms(logits, labels, features)
    assert (found.calibration_error, found.sigma_min) == (terms.calibration_error, terms.sigma_min)
    correlation = np.corrcoef(features.double().numpy(), rowvar=False)
    assert found.sigma_min == pytest.approx(np.linalg.svd(correlation)[1][-1])


def test_nothing_can_be_said_of_nothing() -> None:
    with pytest.raises(CalibrationError):
        Judgement.of(torch.empty(0, 3), torch.empty(0, dtype=torch.int64), torch.empty(0, 2))


def test_each_rule_prefers_what_it_is_named_after() -> None:
    assert score("accuracy", judgement(accuracy=0.95)) < score("accuracy", judgement())
    assert score("nll", judgement(nll=0.2)) < score("nll", judgement())
    assert score("bound", judgement(sigma_min=0.2)) < score("bound", judgement())
    lower = judgement(calibration_error=0.0)
    assert score("bound", lower) < score("bound", judgement())
    # What a rule is not named after does not move it.
    assert score("accuracy", judgement(nll=9.0, sigma_min=0.5)) == score("accuracy", judgement())
    assert score("nll", judgement(accuracy=0.1, sigma_min=0.5)) == score("nll", judgement())
    assert score("bound", judgement(accuracy=0.1, nll=9.0)) == score("bound", judgement())


def test_features_that_do_not_span_their_space_are_never_preferred() -> None:
    assert score("bound", judgement(sigma_min=0.0)) == math.inf


@given(st.lists(st.sampled_from([0.8, 0.9, 1.0]), min_size=1, max_size=8), st.randoms())
def test_of_equal_alphas_the_one_nearest_to_the_start_is_taken(
    accuracies: list[float], random: object
) -> None:
    alphas = [i / len(accuracies) for i in range(len(accuracies))]
    random.shuffle(alphas)  # type: ignore[attr-defined]
    judged = [judgement(accuracy=a) for a in accuracies]
    best = closest_to_start("accuracy", alphas, judged)
    top = max(accuracies)
    assert accuracies[best] == top
    assert alphas[best] == min(a for a, acc in zip(alphas, accuracies, strict=True) if acc == top)
