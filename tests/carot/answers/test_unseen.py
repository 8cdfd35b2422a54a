"""Abstaining from images of none of the classes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from carot.answers.answering import Answering
from carot.answers.schemas import Asked
from carot.calibration.calibration import Calibration
from carot.calibration.calibrators.no_calibrator import no_calibrator
from carot.calibration.sets.shift_score import own_distances
from carot.calibration.sets.unseen_names import SCORES, Score
from carot.calibration.sets.unseen_score import fit_unseen_score
from carot.errors import CalibrationError
from tests.carot.answers.test_answering import (
    CLASSES,
    N,
    answered,
    calibration,
    outputs,
    rows,
    vocabulary,
)


def compared(score: Score, kind: str = "temperature") -> Calibration:
    """What a run that measured unseen classes stores."""
    logits_NC, features_ND, _ = outputs(N, seed=1)
    known = calibration(kind)
    confidence_N = known.calibrator.probabilities(logits_NC).amax(dim=1)
    usual = fit_unseen_score(confidence_N, own_distances(features_ND))
    return replace(known, unseen_score=usual.serving(score))


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("kind", ["temperature", "isotonic"])
def test_it_abstains_above_the_limit_of_the_chosen_score(score: Score, kind: str) -> None:
    known = compared(score, kind)
    assert known.unseen_score is not None
    assert known.shift_score is not None
    answering = Answering(CLASSES, known)
    logits_NC, features_ND, _ = outputs(200, seed=2)
    features_ND[::2] += 0.4  # some lie farther
    limit = answering.limits(Asked()).unseen
    assert limit is not None
    assert (limit.score, limit.max, limit.n) == (score, 0.95, N)
    confidence_N = known.calibrator.probabilities(logits_NC).amax(dim=1)
    distance_N = known.shift_score.distances(features_ND)
    expected = known.unseen_score.percentiles(confidence_N, distance_N).tolist()
    answers = answered(answering, rows(logits_NC, features_ND))
    assert [each.unseen for each in answers] == expected
    taken = ["unseen" in each.abstain_reasons for each in answers]
    assert taken == [share > 0.95 for share in expected]
    assert 0 < sum(taken) < 200
    assert all(each.abstain for each, unseen in zip(answers, taken, strict=True) if unseen)
    stricter = answered(answering, rows(logits_NC, features_ND), max_unseen=0.5)
    assert ["unseen" in each.abstain_reasons for each in stricter] == [s > 0.5 for s in expected]


def test_everything_else_is_as_without_it() -> None:
    """The other reasons, confidences, sets and evidence; and all of it with `max_unseen: 1`."""
    known = compared("combined")
    with_score, plain = Answering(CLASSES, known), Answering(CLASSES, calibration())
    logits_NC, features_ND, _ = outputs(100, seed=2)
    scored = rows(logits_NC, features_ND)
    for asked in ({}, {"max_risk": 0.3, "max_shift": 0.5}, {"max_shift": 1.0}):
        off = answered(with_score, scored, max_unseen=1.0, **asked)
        on = answered(with_score, scored, **asked)
        before = answered(plain, scored, **asked)
        assert [each.model_copy(update={"unseen": None}) for each in off] == before
        for a, b in zip(on, before, strict=True):
            assert [r for r in a.abstain_reasons if r != "unseen"] == b.abstain_reasons
            same = {"unseen", "abstain", "abstain_reasons"}
            assert a.model_dump(exclude=same) == b.model_dump(exclude=same)
    assert all(each.unseen is None for each in answered(plain, scored))
    assert plain.limits(Asked()).unseen is None


def test_another_calibrator_that_is_served_changes_nothing_of_it() -> None:
    answering = Answering(CLASSES, compared("confidence"))
    logits_NC, features_ND, labels_N = outputs(100, seed=2)
    scored = rows(logits_NC, features_ND)
    other = answering.with_calibrator(
        no_calibrator(logits_NC, labels_N, classes=CLASSES, logit_scale=1.0)
    )
    before, after = answered(answering, scored), answered(other, scored)
    assert [each.unseen for each in before] == [each.unseen for each in after]
    assert before[0].top[0].confidence != after[0].top[0].confidence


def test_classes_of_the_requests_own_have_none() -> None:
    answering = Answering(CLASSES, compared("shift"))
    logits_NC, features_ND, _ = outputs(5, seed=2)
    scored, own = rows(logits_NC, features_ND), vocabulary()
    answers = answered(answering, scored, vocabulary=own)
    assert [each.unseen for each in answers] == [None] * 5
    assert answering.limits(Asked(vocabulary=own)).unseen is None
    with pytest.raises(CalibrationError, match="classes of the request's own") as caught:
        answering.answers(scored, Asked(vocabulary=own, max_unseen=0.9))
    assert caught.value.field == "max_unseen"
    assert answered(answering, scored, vocabulary=own, max_unseen=1.0)


def test_a_limit_without_a_score_is_refused() -> None:
    answering = Answering(CLASSES, calibration())
    with pytest.raises(CalibrationError, match="it knows no unseen classes") as caught:
        answering.check(Asked(max_unseen=0.95))
    assert caught.value.field == "max_unseen"
    answering.check(Asked(max_unseen=1.0))
