"""What a report says of one data set, against slow literal counts."""

from __future__ import annotations

import math

import pytest
import torch

from carot.calibration.calibration import Calibration
from carot.calibration.calibrators.fitting import Sample, fit_calibrator
from carot.calibration.metrics.intervals import wilson_interval
from carot.calibration.metrics.metrics import compute_metrics
from carot.calibration.sets.calibration_evidence import fit_calibration_evidence
from carot.calibration.sets.conformal import measure_sets
from carot.calibration.sets.shift_score import fit_shift_score
from carot.data.label_space import LabelSpace
from carot.errors import CalibrationError
from carot.evaluation.evidence_figures import evidence_figures
from carot.evaluation.measuring import measure, separation, with_shift
from carot.specs import CalibrationSpec, EvaluationDataset
from tests.carot.calibration.drawn_logits import drawn, skewed

ROW = EvaluationDataset(name="test", dataset="folder:x")


def features(images: int, seed: int = 0, offset: float = 0.0) -> torch.Tensor:
    return torch.randn(images, 5, generator=torch.Generator().manual_seed(seed)) + offset


def test_sets_are_counted_as_one_by_one() -> None:
    evidence = fit_calibration_evidence(*drawn(300, 6, seed=1))
    logits, labels = drawn(20_000, 6, seed=2)  # two chunks
    asked = CalibrationSpec(coverages=(0.8, 0.95))
    found = evidence_figures(evidence, logits, labels, asked).sets
    assert len(found) == 10
    for each in found:
        sets = evidence.sets[each.method]
        members = sets.sets(logits.softmax(1), each.asked)
        assert each.measured == measure_sets(members, labels, each.asked)
        assert each.expected == sets.coverage_band(each.asked)
        assert each.reason is None
        assert each.measured.coverage >= (each.expected or (each.asked,))[0] - 0.01


def test_risks_are_counted_one_by_one() -> None:
    calibration_logits, calibration_labels = drawn(3000, 5, temperature=0.7, seed=3)
    evidence = fit_calibration_evidence(calibration_logits, calibration_labels)
    logits, labels = drawn(700, 5, temperature=0.7, seed=4)
    found = evidence_figures(
        evidence, logits, labels, CalibrationSpec(max_risks=(0.2, 0.001))
    ).risks
    reached, refused = found
    threshold = evidence.risk(0.2).threshold
    accepted = wrong = 0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        total = math.fsum(math.exp(z) for z in row)
        if math.exp(max(row)) / total >= threshold:
            accepted += 1
            wrong += row.index(max(row)) != label
    assert 0 < accepted < 700
    assert (reached.threshold, reached.accepted) == (threshold, accepted)
    assert reached.accepted_share == accepted / 700
    assert reached.risk == wrong / accepted
    assert reached.risk_interval == wilson_interval(wrong, accepted)
    assert (refused.threshold, refused.accepted, refused.risk) == (None, None, None)
    assert "no confidence threshold" in (refused.reason or "")


def test_nothing_accepted_has_no_risk() -> None:
    evidence = fit_calibration_evidence(*drawn(3000, 5, temperature=0.7, seed=3))
    [figures] = evidence_figures(
        evidence, torch.zeros(10, 5), torch.zeros(10, dtype=torch.long),
        CalibrationSpec(max_risks=(0.2,)),
    ).risks  # fmt: skip
    assert (figures.accepted, figures.accepted_share) == (0, 0.0)
    assert (figures.risk, figures.risk_interval) == (None, None)


def test_grounds_refuse_what_metrics_refuse() -> None:
    evidence = fit_calibration_evidence(*drawn(100, 5))
    logits, labels = drawn(10, 5)
    logits[3, 2] = torch.nan
    with pytest.raises(CalibrationError):
        evidence_figures(evidence, logits, labels)


@pytest.mark.parametrize("kind", ["temperature", "vector", "isotonic", "ensemble_temperature"])
def test_where_a_data_set_has_classes_of_its_own_probabilities_are_restricted(kind: str) -> None:
    calibrator = fit_calibrator(kind, Sample(*skewed(500, 5)))
    calibration = Calibration(
        calibrator, {kind: calibrator}, fit_calibration_evidence(*skewed(500, 5))
    )
    logits, _ = skewed(200, 5, seed=7)
    labels = torch.arange(200) % 2
    # Class 0 stands for the classifier's 1 and 3, class 1 for its 4.
    space = LabelSpace(("x", "y"), ((1, 3), (4,)))
    row = measure(
        ROW, logits, labels, features(200), calibration=calibration, skipped=(), space=space
    )
    whole = calibrator.probabilities(logits)
    restricted = torch.stack((whole[:, [1, 3]].amax(1), whole[:, 4]), dim=1)
    expected = compute_metrics((restricted / restricted.sum(1, keepdim=True)).log(), labels)
    [figures] = row.calibrators
    assert figures.metrics == row.calibrated
    assert row.classes == 2
    for name in ("accuracy", "ece", "nll", "brier"):
        assert getattr(figures.metrics, name) == pytest.approx(getattr(expected, name), abs=1e-9)
    assert row.raw == compute_metrics(space.project(logits), labels)
    assert max(each.measured.largest for each in row.sets) <= 2


def test_separation_is_the_share_of_pairs() -> None:
    higher, lower = [1.0, 2.0, 2.0, 5.0], [0.0, 2.0, 5.0]
    pairs = [(a > b) + (a == b) / 2 for a in higher for b in lower]
    found = separation(torch.tensor(higher), torch.tensor(lower))
    assert found == pytest.approx(sum(pairs) / len(pairs), abs=1e-15)


def test_how_far_each_data_set_lies() -> None:
    score = fit_shift_score(features(400).double())
    sets = {"far": features(300, 1, offset=2.0), "own": features(200, 2)}
    rows = [
        measure(
            ROW.model_copy(update={"name": name, "in_distribution": name == "own"}),
            *drawn(len(each), 4),
            each,
            calibration=None,
            skipped=(),
        )
        for name, each in sets.items()
    ]
    distances = [score.distances(each) for each in sets.values()]
    far, own = with_shift(rows, distances, score)
    assert own.shift_score.auroc is None
    assert far.shift_score.auroc == separation(*distances)
    assert far.shift_score.auroc > 0.9
    percentiles = score.percentiles(sets["far"])
    assert far.shift_score.beyond == pytest.approx(float((percentiles > 0.99).double().mean()))
    assert far.shift_score.median_percentile == float(percentiles.median())
    assert own.shift_score.beyond < 0.05 < 0.5 < far.shift_score.beyond
    [alone] = with_shift(rows[:1], distances[:1], score)
    assert alone.shift_score.auroc is None


def test_accuracy_is_the_same_after_every_calibrator_that_keeps_the_ranking() -> None:
    """Also where `isotonic` would put the second class level with the first."""
    logits, labels = drawn(1500, 10, temperature=1 / 3)
    sample = Sample(logits[:500], labels[:500])
    kinds = ("temperature", "smoothed_temperature", "top_versus_all", "ensemble_temperature",
             "isotonic", "vector")  # fmt: skip
    fitted = {kind: fit_calibrator(kind, sample) for kind in kinds}
    for served in kinds:
        calibration = Calibration(fitted[served], fitted)
        row = measure(
            ROW, logits[500:], labels[500:], features(1000), calibration=calibration, skipped=()
        )
        for each in row.calibrators:
            if fitted[each.kind].keeps_ranking:
                assert each.metrics.accuracy == row.raw.accuracy
        right = sum((bin.accuracy or 0) * bin.count for bin in row.reliability_calibrated or ())
        assert row.calibrated is not None
        assert right == pytest.approx(1000 * row.calibrated.accuracy)
        assert row.worst_classes is not None
        matrix = row.worst_classes.confusion or ()
        assert sum(matrix[k][k] for k in range(10)) == round(1000 * row.calibrated.accuracy)


def test_what_sets_hold_of_each_class_is_told() -> None:
    logits, labels = drawn(4000, 3)
    rare = (labels == 2) & (torch.arange(4000) % 8 > 0)
    logits, labels = logits[~rare], labels[~rare]
    logits[:, 2] -= 1.5
    evidence = fit_calibration_evidence(logits[:1500], labels[:1500])
    space = LabelSpace(("a", "b", "c"))
    found = evidence_figures(evidence, logits[1500:], labels[1500:], space=space).sets
    for each in found:
        if each.asked != 0.9:
            continue
        members = evidence.sets[each.method].sets(logits[1500:].softmax(1), 0.9)
        held = members.gather(1, labels[1500:, None]).squeeze(1)
        for one in each.classes:
            of_it = labels[1500:] == "abc".index(one.name)
            assert one.images == int(of_it.sum())
            assert one.coverage == pytest.approx(float(held[of_it].double().mean()))
        assert sorted(one.name for one in each.classes) == ["a", "b", "c"]
        worst = each.classes[0]
        assert (worst.coverage_interval[1] < 0.9) is (each.method != "mondrian")


def test_a_class_of_a_data_set_has_the_highest_threshold_of_those_it_stands_for() -> None:
    logits, labels = drawn(2000, 4)
    evidence = fit_calibration_evidence(logits[:1000], labels[:1000])
    space = LabelSpace(("x", "y"), ((0, 2), (3,)))
    truth = labels[1000:] // 3
    raw = space.project(logits[1000:])
    asked = CalibrationSpec(coverages=(0.8,))
    [found] = [
        each
        for each in evidence_figures(evidence, raw, truth, asked, space).sets
        if each.method == "mondrian"
    ]
    own = evidence.sets["mondrian"].thresholds(0.8, 4).tolist()
    limits = torch.tensor([max(own[0], own[2]), own[3]], dtype=torch.float64)
    p = raw.double().softmax(1)
    members = (-p.log() <= limits + 1e-9).scatter(1, p.argmax(1, keepdim=True), True)
    assert found.measured == measure_sets(members, truth, 0.8)


def test_what_is_only_compared_with_says_nothing_of_single_classes() -> None:
    logits, labels = drawn(400, 4)
    fitted = fit_calibrator("temperature", Sample(logits, labels))
    known = Calibration(fitted, evidence=fit_calibration_evidence(logits, labels))
    row = measure(ROW, logits, labels, features(400), calibration=known, skipped=())
    bare = row.without_classes()
    assert row.worst_classes is not None
    assert bare.worst_classes is None
    assert {each.classes for each in bare.sets} == {()}
    assert [each.measured for each in bare.sets] == [each.measured for each in row.sets]
    assert bare.raw == row.raw
