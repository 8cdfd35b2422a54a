"""Sets whose threshold follows labels: those that the labels are judged by, and what is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from carot.answers.answering import Answering
from carot.answers.schemas import Answer, Asked
from carot.calibration.calibration import Calibration
from carot.calibration.calibrators.temperature import fit_temperature
from carot.calibration.monitoring.online_coverage import STEP, OnlineCoverage, label_score
from carot.calibration.sets.calibration_evidence import fit_calibration_evidence
from carot.errors import CalibrationError

CLASSES = ("cat", "dog", "hen")


def drawn(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, many of them equal, and labels that they know little of."""
    generator = torch.Generator().manual_seed(7)
    logits_NC = (2 * torch.randn(count, 3, generator=generator)).round()
    return logits_NC, torch.randint(3, (count,), generator=generator)


def answered(answering: Answering, logits_NC: torch.Tensor, asked: Asked) -> list[Answer]:
    scored = [(row.numpy(), np.ones(2, dtype=np.float32)) for row in logits_NC]
    answers = answering.answers(scored, asked)
    assert all(isinstance(each, Answer) for each in answers)
    return [each for each in answers if isinstance(each, Answer)]


def test_a_label_is_held_where_the_set_before_it_has_it() -> None:
    logits_NC, labels_N = drawn(200)
    answering, online = Answering(CLASSES, None), OnlineCoverage.fresh(0.9).update([0.0])
    for logits_C, label in zip(logits_NC, labels_N.tolist(), strict=True):
        [answer] = answered(answering, logits_C[None], Asked(online=online))
        after = online.update([label_score(logits_C.double().tolist(), label)])
        assert answer.set is not None
        held = label in [member.index for member in answer.set.labels]
        assert held == (after.covered > online.covered)
        assert (answer.set.method, answer.set.n) == ("online", online.labels)
        assert answer.set.threshold == online.threshold
        online = after
    assert online.long_run is not None
    assert online.long_run >= 0.9 - online.threshold / (STEP * online.labels) - 1e-9


def test_they_need_no_calibration_images_and_leave_all_else_as_it_is() -> None:
    logits_NC, labels_N = drawn(200)
    evidence = fit_calibration_evidence(logits_NC, labels_N, classes=CLASSES)
    calibrator = fit_temperature(logits_NC, labels_N, classes=CLASSES)
    online = OnlineCoverage.fresh(0.95, 0.7).update([0.0, 3.0])
    for calibration in (None, Calibration(calibrator, evidence=evidence)):
        answering = Answering(CLASSES, calibration)
        plain = Asked(max_risk=0.9 if calibration else None)
        followed = replace(plain, online=online)
        for one, other in zip(
            answered(answering, logits_NC[:9], plain),
            answered(answering, logits_NC[:9], followed),
            strict=True,
        ):
            assert other.set is not None
            assert (other.set.coverage, other.set.n) == (0.95, 2)
            assert one.model_dump(exclude={"set", "missing"}) == other.model_dump(
                exclude={"set", "missing"}
            )
            assert "set" not in other.missing
        limits = answering.limits(followed)
        assert (limits.coverage, limits.set_method) == (0.95, "online")
        assert limits.guarantee is not None
        assert "of 2 labels so far 1 were held" in limits.guarantee
        assert ("of the answers" in limits.guarantee) == (calibration is not None)


def test_other_classes_have_no_labels_to_follow() -> None:
    asked = Asked(online=OnlineCoverage.fresh(0.9).update([1.0]))
    answering = Answering(CLASSES, None)

    class Readers:
        def check(self, names: object, templates: object) -> None: ...

    answering.vocabularies = Readers()  # type: ignore[assignment]
    with pytest.raises(CalibrationError, match="own classes") as caught:
        answering.check(asked, ["a fish", "a fowl"])
    assert caught.value.field == "set_method"
