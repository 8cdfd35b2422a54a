"""The sentences that are said of an answer, with calibration splits of the unluckiest kinds."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import pytest
import torch

from carot.answers.answering import Answering
from carot.answers.schemas import Asked, stated
from carot.calibration.calibration import Calibration
from carot.calibration.calibrators.temperature import fit_temperature
from carot.calibration.sets.calibration_evidence import fit_calibration_evidence
from carot.calibration.sets.evidence import Evidence
from carot.errors import CalibrationError
from tests.carot.answers.test_answering import (
    CLASSES,
    answered,
    calibration,
    features,
    outputs,
    rows,
)


def words(right: int, count: int, interval: tuple[float, float], *near: float) -> str:
    lowest, highest = near
    return stated(Evidence(count=count, right=right, share=right / count, interval=interval,
                           lowest=lowest, highest=highest)).text  # fmt: skip


def test_evidence_in_words_rounds_its_ends_outwards() -> None:
    assert words(47, 50, (0.8378, 0.9794), 0.91237, 0.9701) == (
        "right on 47 of 50 calibration images with a raw confidence from 0.912 to 0.971 "
        "(83 to 98 %)"
    )
    assert "(29 to 57 %)" in words(1, 2, (0.29, 0.57), 0.1, 0.2)
    assert "from 0.29 to 0.57 " in words(1, 2, (0.1, 0.9), 0.29, 0.57)
    # Never 1 where none was that confident, nor one value where there are several.
    assert "from 0.999 to 1 " in words(9, 9, (0.7, 1.0), 0.99996, 0.99997)
    assert "confidence of 1 " in words(9, 9, (0.7, 1.0), 1.0, 1.0)
    assert "confidence of 0.5 " in words(9, 9, (0.7, 1.0), 0.5, 0.5)


def hostile(confidences: Sequence[float], right: Sequence[bool]) -> Answering:
    """Of calibration images of two classes with these confidences in the first."""
    p_N = torch.tensor(confidences, dtype=torch.float64)
    logits_NC = torch.stack((p_N.log(), (1 - p_N).log()), dim=1).clamp_min(-700)
    labels_N = torch.tensor([int(not each) for each in right])
    evidence = fit_calibration_evidence(logits_NC, labels_N, classes=("a", "b"))
    return Answering(("a", "b"), Calibration(fit_temperature(logits_NC, labels_N, classes="ab"),
                                             evidence=evidence))  # fmt: skip


SPLITS = {
    "spread": ([0.51 + i * 0.0049 for i in range(100)], [i % 4 > 0 for i in range(100)]),
    "a gap": ([0.55] * 30 + [0.97] * 70, [i % 5 > 0 for i in range(100)]),
    "ties": ([0.8] * 60, [i % 2 > 0 for i in range(60)]),
    "all right": ([0.9 + i / 1000 for i in range(60)], [True] * 60),
    "all wrong": ([0.9 + i / 1000 for i in range(60)], [False] * 60),
    "one image": ([0.9], [True]),
    "two images": ([0.6, 0.99], [True, False]),
    "certain": ([1.0] * 40, [True] * 40),
}


@pytest.mark.parametrize("split", SPLITS)
def test_what_evidence_says_is_so_of_any_split(split: str) -> None:
    """Every number of the sentence, counted again; and none where no image was near."""
    confidences, right = SPLITS[split]
    answering = hostile(confidences, right)
    for asked in (0.5001, 0.55, 0.6, 0.75, 0.8, 0.9, 0.93, 0.97, 0.999, 1 - 1e-12):
        z_NC = torch.tensor([[math.log(asked), math.log1p(-asked)]])
        [answer] = answered(answering, rows(z_NC, features(1)), max_shift=1.0)
        raw = answer.top[0].raw_confidence
        near = [i for i, c in enumerate(confidences) if abs(c - raw) <= 0.05]
        if answer.evidence is None:
            assert answer.missing["evidence"].code == "no_similar_confidence"
            assert len(near) < 5
            continue
        said = re.fullmatch(
            r"right on (\d+) of (\d+) calibration images with a raw confidence "
            r"(?:of (\S+)|from (\S+) to (\S+)) \((\d+) to (\d+) %\)",
            answer.evidence.text,
        )
        assert said is not None
        low, high = float(said[4] or said[3]), float(said[5] or said[3])
        assert raw - 0.051 <= low <= high <= raw + 0.051
        meant = [i for i in near if answer.evidence.lowest - 1e-9 <= confidences[i]
                 <= answer.evidence.highest + 1e-9]  # fmt: skip
        assert len(meant) == int(said[2]) >= 5
        assert sum(right[i] for i in meant) == int(said[1])
        assert int(said[6]) <= 100 * int(said[1]) / int(said[2]) <= int(said[7])


def test_a_checkpoint_with_evidence_and_no_shift_score_does_not_say_that_it_has_nothing() -> None:
    answering = hostile(*SPLITS["two images"])
    [answer] = answered(answering, rows(torch.tensor([[2.0, 0.0]]), features(1)))
    assert answer.missing["shift"].code == "no_shift_score"
    assert answer.missing["set"].code == "split_too_small"


def test_a_guarantee_rounds_nothing_up() -> None:
    said = Answering(CLASSES, calibration(images=3000)).limits(Asked(coverage=0.9996, max_risk=0.3))
    assert said.guarantee is not None
    assert "99.96 % of the sets" in said.guarantee
    assert said.risk is not None
    exact = f"raw confidence of {said.risk.threshold!r} or more"
    assert (exact in said.guarantee) is (said.risk.threshold > 0)
    everything = hostile([0.9 + i / 10_000 for i in range(600)], [True] * 600)
    risk = everything.limits(Asked(max_risk=0.05)).guarantee
    assert risk is not None
    assert "at most 5 % of the answers are wrong" in risk


def test_mondrian_sets_promise_each_class_what_they_hold() -> None:
    answering = Answering(CLASSES, calibration(images=300))
    limits = answering.limits(Asked(set_method="mondrian", coverage=0.8))
    assert limits.guarantee is not None
    for words in ("for each class by itself", "fewer than 4 of", "not for each image nor"):
        assert words in limits.guarantee
    logits_NC, features_ND, _ = outputs(5, seed=2)
    for answer in answered(answering, rows(logits_NC, features_ND), set_method="mondrian"):
        assert answer.set is not None
        assert (answer.set.threshold, answer.set.method) == (None, "mondrian")


def test_a_checkpoint_from_before_mondrian_sets_says_so() -> None:
    known = calibration()
    assert known.evidence is not None
    older = known.evidence.model_copy(
        update={"sets": {k: v for k, v in known.evidence.sets.items() if k != "mondrian"}}
    )
    answering = Answering(CLASSES, Calibration(known.calibrator, evidence=older))
    with pytest.raises(CalibrationError, match="before there were mondrian sets") as refused:
        answering.limits(Asked(set_method="mondrian"))
    assert refused.value.field == "set_method"
