"""From logits and features to answers, against slow literal versions of what they say.

Shape suffixes: N images, C classes, D width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from carot.answers.answering import Answering, Scored
from carot.answers.calibrated import carried_temperature
from carot.answers.schemas import Answer, Asked, NotAnswered, SetMethod, SplitMethod
from carot.calibration.calibration import Calibration
from carot.calibration.calibrators.calibrator import AnyCalibrator
from carot.calibration.calibrators.domain_temperature import fit_domain_temperature
from carot.calibration.calibrators.fitting import Sample, fit_calibrator
from carot.calibration.calibrators.temperature import fit_temperature
from carot.calibration.sets.calibration_evidence import fit_calibration_evidence
from carot.calibration.sets.conformal_scores import SCORES
from carot.calibration.sets.risk import fit_risk
from carot.calibration.sets.shift_score import fit_shift_score
from carot.errors import CalibrationError, SpecError
from carot.models.vocabulary import Vocabulary
from tests.carot.calibration.drawn_logits import drawn, skewed

CLASSES = ("a", "b", "c", "d", "e")
N, WIDTH = 400, 8
KINDS = ("temperature", "smoothed_temperature", "top_versus_all", "ensemble_temperature",
         "isotonic", "vector")  # fmt: skip


def features(images: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(images, WIDTH, generator=generator), dim=1)


def outputs(images: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    logits_NC, labels_N = drawn(images, len(CLASSES), temperature=1.6, seed=seed)
    return logits_NC.float(), features(images, seed), labels_N


def rows(logits_NC: Tensor, features_ND: Tensor) -> list[Scored]:
    return list(zip(logits_NC.numpy(), features_ND.numpy(), strict=True))


def calibration(kind: str = "temperature", images: int = N, seed: int = 1) -> Calibration:
    logits_NC, features_ND, labels_N = outputs(images, seed)
    return Calibration(
        fit_calibrator(kind, Sample(logits_NC, labels_N), classes=CLASSES, logit_scale=1.0),
        evidence=fit_calibration_evidence(
            logits_NC, labels_N, classes=CLASSES, split="calibration"
        ),
        shift_score=fit_shift_score(features_ND),
    )


def answered(answering: Answering, scored: Sequence[Scored], **asked: Any) -> list[Answer]:
    found = answering.answers(scored, Asked(**asked))
    answers = [each for each in found if isinstance(each, Answer)]
    assert len(answers) == len(found)
    return answers


def softmax(row: Sequence[float]) -> list[float]:
    highest = max(row)
    shares = [math.exp(z - highest) for z in row]
    return [share / math.fsum(shares) for share in shares]


@pytest.mark.parametrize("kind", KINDS)
def test_each_number_is_what_it_is_said_to_be(kind: str) -> None:
    known = calibration(kind)
    answering = Answering(CLASSES, known)
    logits_NC, features_ND, _ = outputs(60, seed=2)
    calibrated_NC = known.calibrator.probabilities(logits_NC)
    cal_NC, _, cal_N = outputs(N, seed=1)
    raw_cal = [softmax(row) for row in cal_NC.tolist()]
    answers = answered(answering, rows(logits_NC, features_ND), top_k=3)
    for i, answer in enumerate(answers):
        raw = softmax(logits_NC[i].tolist())
        p = calibrated_NC[i].tolist()
        order = sorted(range(5), key=lambda c: (-p[c], -logits_NC[i, c].item()))
        assert [guess.index for guess in answer.top] == order[:3]
        for guess in answer.top:
            assert guess.label == CLASSES[guess.index]
            assert guess.confidence == pytest.approx(p[guess.index])
            assert guess.raw_confidence == pytest.approx(raw[guess.index])
            assert guess.logit == pytest.approx(logits_NC[i, guess.index].item())
        if raw.index(max(raw)) != order[0]:
            assert (answer.evidence, answer.missing["evidence"].code) == (None, "top_class_changed")
            continue
        gap = [abs(max(row) - max(raw)) for row in raw_cal]
        near = [j for j in range(N) if gap[j] <= min(sorted(gap)[49], 0.05) + 1e-12]
        if len(near) < 5:
            assert answer.evidence is None
            assert answer.missing["evidence"].code == "no_similar_confidence"
            continue
        assert answer.evidence is not None
        right = sum(raw_cal[j].index(max(raw_cal[j])) == cal_N[j] for j in near)
        assert (answer.evidence.count, answer.evidence.right) == (len(near), right)
        assert answer.missing == {}


def raps(row: Sequence[float], label: int) -> float:
    """What lies above, and a tenth for each rank beyond the second; 0 on top."""
    above = [p for p in row if p > row[label]]
    return round(math.fsum(above) + 0.1 * max(0, len(above) + 1 - 2), 12) if above else 0.0


@pytest.mark.parametrize("kind", ["temperature", "vector"])
@pytest.mark.parametrize("coverage", [0.7, 0.95])
def test_sets_are_those_of_the_raw_confidence(kind: str, coverage: float) -> None:
    answering = Answering(CLASSES, calibration(kind))
    cal_NC, _, cal_N = outputs(N, seed=1)
    scores = sorted(raps(softmax(cal_NC[j].tolist()), int(cal_N[j])) for j in range(N))
    q = scores[math.ceil((N + 1) * coverage - 1e-9) - 1]
    logits_NC, features_ND, _ = outputs(60, seed=3)
    answers = answered(answering, rows(logits_NC, features_ND), coverage=coverage, top_k=5)
    for i, answer in enumerate(answers):
        found = answer.set
        assert found is not None
        assert found.threshold == pytest.approx(q)
        raw = softmax(logits_NC[i].tolist())
        top = answer.top[0].index
        expected = {c for c in range(5) if raps(raw, c) <= q} | {top}
        assert {member.index for member in found.labels} == expected
        place = {guess.index: j for j, guess in enumerate(answer.top)}
        assert found.labels == sorted(found.labels, key=lambda m: place[m.index])
        for member in found.labels:
            assert member.confidence == answer.top[place[member.index]].confidence
            assert member.label == CLASSES[member.index]
        assert (found.size, found.truncated, found.n) == (len(expected), False, N)
        assert (found.coverage, found.method) == (coverage, "raps")


def test_the_top_class_is_a_member_also_where_the_calibrator_turned_the_ranking() -> None:
    logits_NC, labels_N = skewed(600, 5, seed=4)
    logits_NC, features_ND = logits_NC.float(), features(600)
    known = Calibration(
        fit_calibrator("vector", Sample(logits_NC, labels_N), classes=CLASSES),
        evidence=fit_calibration_evidence(logits_NC, labels_N, classes=CLASSES),
    )
    answers = answered(Answering(CLASSES, known), rows(logits_NC, features_ND), coverage=0.5)
    turned = [a for a in answers if "evidence" in a.missing]
    assert len(turned) > 20
    for answer in answers:
        assert answer.set is not None
        assert answer.set.labels[0].index == answer.top[0].index
        chances = [guess.confidence for guess in answer.top]
        assert chances == sorted(chances, reverse=True)


def test_a_calibrator_that_may_turn_the_ranking_proves_no_risk() -> None:
    answering = Answering(CLASSES, calibration("vector"))
    with pytest.raises(CalibrationError, match="another class on top") as refused:
        answering.answers([], Asked(max_risk=0.5))
    assert refused.value.field == "max_risk"


def test_who_is_not_sure_enough_is_abstained_from() -> None:
    known = calibration(images=2000)
    cal_NC, _, cal_N = outputs(2000, seed=1)
    raw_NC = cal_NC.double().softmax(1)
    risk = fit_risk(raw_NC.amax(1), raw_NC.argmax(1) == cal_N, 0.2)
    answering = Answering(CLASSES, known)
    logits_NC, features_ND, _ = outputs(200, seed=5)
    asked = Asked(max_risk=0.2, max_shift=1.0)
    assert answering.limits(asked).risk == risk
    answers = answered(answering, rows(logits_NC, features_ND), max_risk=0.2, max_shift=1.0)
    sure_N = logits_NC.double().softmax(1).amax(1) >= risk.threshold
    assert 20 < int(sure_N.sum()) < 180
    for answer, sure in zip(answers, sure_N.tolist(), strict=True):
        assert answer.abstain is not sure
        assert answer.abstain_reasons == ([] if sure else ["low_confidence"])


def test_images_far_from_the_calibration_images_are_abstained_from() -> None:
    known = calibration()
    assert known.shift_score is not None
    answering = Answering(CLASSES, known)
    logits_NC, features_ND, _ = outputs(100, seed=6)
    features_ND[50:] *= 5
    percentile_N = known.shift_score.percentiles(features_ND)
    for limit in (None, 0.8, 1.0):
        answers = answered(answering, rows(logits_NC, features_ND), max_shift=limit)
        assert answering.limits(Asked(max_shift=limit)).max_shift == (limit or 0.99)
        for answer, percentile in zip(answers, percentile_N.tolist(), strict=True):
            assert answer.shift is not None
            assert answer.shift.percentile == percentile
            assert answer.shift.n == N
            assert answer.abstain is (percentile > (limit or 0.99))
            assert answer.abstain_reasons == (["shifted"] if answer.abstain else [])
    assert all(answer.shift and answer.shift.percentile == 1 for answer in answers[50:])


def test_nothing_is_kept_of_calibration_images() -> None:
    logits_NC, features_ND, labels_N = outputs(40, seed=7)
    calibrator = fit_temperature(logits_NC, labels_N, classes=CLASSES)
    for known in (None, Calibration(calibrator)):
        answering = Answering(CLASSES, known)
        answer = answered(answering, rows(logits_NC, features_ND))[0]
        assert (answer.set, answer.evidence, answer.shift) == (None, None, None)
        assert {m.code for m in answer.missing.values()} == {"no_calibration_images"}
        assert set(answer.missing) == {"set", "evidence", "shift"}
        assert (answer.abstain, answer.abstain_reasons) == (None, ["no_shift_score"])
        assert answering.limits(Asked()).guarantee is None
        same = answer.top[0].confidence == answer.top[0].raw_confidence
        assert same is (known is None)
        # Who never wants to abstain for it misses nothing.
        assert answered(answering, rows(logits_NC, features_ND), max_shift=1.0)[0].abstain is False
        for field, value in (("coverage", 0.5), ("max_risk", 0.5), ("max_shift", 0.5)):
            with pytest.raises(CalibrationError) as refused:
                answering.answers(rows(logits_NC, features_ND), Asked(**{field: value}))  # type: ignore[arg-type]
            assert refused.value.field == field


def test_a_split_too_small_for_the_default_says_so_and_refuses_what_was_asked() -> None:
    answering = Answering(CLASSES, calibration(images=6))
    logits_NC, features_ND, _ = outputs(3, seed=8)
    answer = answered(answering, rows(logits_NC, features_ND))[0]
    assert answer.set is None
    assert answer.missing["set"].code == "split_too_small"
    assert "9 calibration images, and there are 6" in answer.missing["set"].message
    assert answer.evidence is None
    assert answer.missing["evidence"].code == "no_similar_confidence"
    assert answered(answering, rows(logits_NC, features_ND), coverage=0.8)[0].set is not None
    with pytest.raises(CalibrationError, match="there are 6") as refused:
        answering.answers(rows(logits_NC, features_ND), Asked(coverage=0.9))
    assert refused.value.field == "coverage"
    for _ in range(2):  # the second is remembered
        with pytest.raises(CalibrationError, match="no confidence threshold") as refused:
            answering.answers(rows(logits_NC, features_ND), Asked(max_risk=0.1))
        assert refused.value.field == "max_risk"


def test_outputs_that_are_no_numbers_get_no_confidence() -> None:
    answering = Answering(CLASSES, calibration())
    logits_NC, features_ND, _ = outputs(4, seed=9)
    expected = answered(answering, rows(logits_NC, features_ND))
    logits_NC[1, 2] = math.nan
    features_ND[2, 0] = math.inf
    found = answering.answers(rows(logits_NC, features_ND))
    assert [isinstance(each, NotAnswered) for each in found] == [False, True, True, False]
    assert [found[0], found[3]] == [expected[0], expected[3]]
    none = answering.answers(rows(logits_NC, features_ND)[1:3])
    assert all(isinstance(each, NotAnswered) for each in none)
    assert answering.answers([]) == []


def test_another_calibrator_changes_confidences_alone() -> None:
    answering = Answering(CLASSES, calibration("temperature"))
    other = calibration("isotonic").calibrator
    turned = answering.with_calibrator(other)
    logits_NC, features_ND, _ = outputs(30, seed=10)
    before = answered(answering, rows(logits_NC, features_ND))
    after = answered(turned, rows(logits_NC, features_ND))
    for a, b in zip(before, after, strict=True):
        assert a.top[0].confidence != b.top[0].confidence
        assert a.top[0].raw_confidence == b.top[0].raw_confidence
        assert (a.evidence, a.shift) == (b.evidence, b.shift)
        assert a.set is not None
        assert b.set is not None
        assert {m.index for m in a.set.labels} == {m.index for m in b.set.labels}
    assert answering.calibrator is not other
    foreign = other.model_copy(update={"label_set_hash": "0" * 64})
    with pytest.raises(CalibrationError, match="another list of classes"):
        answering.with_calibrator(foreign)
    served = turned.served_calibrator(Asked(), id="cal_1")
    assert served is not None
    assert (served.id, served.kind, served.temperature) == ("cal_1", "isotonic", None)
    assert (served.n, served.nll_before, served.nll_after) == (N, other.nll_before, other.nll_after)


def domains() -> AnyCalibrator:
    logits_NC, labels_N = drawn(400, 5, temperature=3.0, seed=11)
    more_NC, more_N = drawn(400, 5, temperature=1.5, seed=12)
    return fit_domain_temperature(
        torch.cat((logits_NC, more_NC)),
        torch.cat((labels_N, more_N)),
        ["porch"] * 400 + ["yard"] * 400,
        classes=CLASSES,
    )


def test_a_domain_has_its_own_temperature_and_others_the_pooled_one() -> None:
    calibrator = domains()
    answering = Answering(CLASSES, Calibration(calibrator))
    logits_NC, features_ND, _ = outputs(3, seed=13)
    own = calibrator.temperatures["porch"]
    pooled = calibrator.pooled
    assert own > 1.2 * pooled
    for domain, shown, temperature in (
        ("porch", "porch", own),
        ("cellar", None, pooled),
        (None, None, pooled),
    ):
        served = answering.served_calibrator(Asked(domain=domain))
        assert served is not None
        assert (served.domain, served.temperature) == (shown, temperature)
        answer = answered(answering, rows(logits_NC, features_ND), domain=domain)[0]
        expected = softmax([z / temperature for z in logits_NC[0].tolist()])
        assert answer.top[0].confidence == pytest.approx(max(expected))


def vocabulary(**changes: Any) -> Vocabulary:
    head_KD = features(3, seed=20)
    given: dict[str, Any] = {
        "names": ("x", "y", "z"),
        "templates": ("{}",),
        "head_KD": head_KD,
        "logit_scale": 1.0,
        "own_head": "text",
    }
    return Vocabulary(**given | changes)


def test_classes_of_the_requests_own_carry_no_evidence() -> None:
    known = calibration()
    answering = Answering(CLASSES, known)
    logits_NC, features_ND, _ = outputs(20, seed=14)
    features_ND[1] *= 5
    asked = Asked(vocabulary=vocabulary())
    answers = answered(answering, rows(logits_NC, features_ND), vocabulary=vocabulary(), top_k=9)
    assert answering.calibrated(asked) is False
    assert answering.calibrated(Asked()) is True
    temperature = known.calibrator.temperature
    served = answering.served_vocabulary(asked)
    assert served is not None
    assert served.temperature == temperature
    scores_NK = features_ND.double() @ features(3, seed=20).double().t()
    for answer, scores in zip(answers, scores_NK.tolist(), strict=True):
        assert (answer.set, answer.evidence) == (None, None)
        assert {m.code for m in answer.missing.values()} == {"uncalibrated_label_set"}
        expected = softmax([z / temperature for z in scores])
        assert [g.label for g in answer.top] == ["xyz"[c] for c in np.argsort(scores)[::-1]]
        assert answer.top[0].confidence == pytest.approx(max(expected), rel=1e-6)
        assert answer.top[0].raw_confidence == pytest.approx(max(softmax(scores)), rel=1e-6)
        assert answer.shift is not None
        if answer.shift.percentile <= 0.99:
            assert answer.abstain is None
            assert answer.abstain_reasons == ["uncalibrated_label_set"]
    assert (answers[1].abstain, answers[1].abstain_reasons) == (True, ["shifted"])
    for field in ("coverage", "max_risk"):
        with pytest.raises(CalibrationError, match="request's own") as refused:
            answering.limits(Asked(vocabulary=vocabulary(), **{field: 0.5}))  # type: ignore[arg-type]
        assert refused.value.field == field


def test_only_a_temperature_of_the_same_logits_is_carried_over() -> None:
    known = {kind: calibration(kind).calibrator for kind in KINDS}
    for kind, calibrator in known.items():
        carried = carried_temperature(calibrator, vocabulary())
        fits = kind in ("temperature", "smoothed_temperature", "top_versus_all")
        assert carried == (calibrator.temperature if fits else None)
    plain = known["temperature"]
    assert carried_temperature(plain, vocabulary(own_head="trained")) is None
    assert carried_temperature(plain, vocabulary(logit_scale=2.0)) is None
    assert carried_temperature(plain.model_copy(update={"at_bound": True}), vocabulary()) is None
    assert carried_temperature(None, vocabulary()) is None
    by_domain = domains()
    own, pooled = by_domain.temperatures["yard"], by_domain.pooled
    assert carried_temperature(by_domain, vocabulary(), "yard") == own
    assert carried_temperature(by_domain, vocabulary(), "attic") == pooled


def test_without_a_text_tower_there_are_no_other_classes() -> None:
    with pytest.raises(SpecError) as refused:
        Answering(CLASSES, None).vocabulary(["x", "y"])
    assert refused.value.field == "classes"


def test_the_guarantee_names_what_was_asked_and_of_which_images() -> None:
    answering = Answering(CLASSES, calibration(images=2000))
    said = answering.limits(Asked(coverage=0.95, max_risk=0.25)).guarantee
    assert said is not None
    for words in ("2000 images", "'calibration'", "95 % of the sets", "25 % of the answers",
                  "nor under shift"):  # fmt: skip
        assert words in said


def test_long_sets_are_cut_and_say_so() -> None:
    names = [str(i) for i in range(1500)]
    logits_NC, labels_N = torch.zeros(30, 1500), torch.arange(30)
    known = Calibration(
        fit_temperature(torch.randn(30, 1500), labels_N, classes=names),
        evidence=fit_calibration_evidence(logits_NC, labels_N, classes=names),
    )
    answer = answered(Answering(names, known), rows(logits_NC[:1], features(1)))[0]
    assert answer.set is not None
    assert (answer.set.size, answer.set.truncated, len(answer.set.labels)) == (1500, True, 1000)


def test_methods_are_those_that_there_are() -> None:
    assert set(get_args(SplitMethod)) == set(SCORES)
    assert {*get_args(SplitMethod), "online"} == set(get_args(SetMethod))
