from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, betabinom
from torch import Tensor

from carot.calibration.sets.conformal import (
    RULES,
    ConformalSets,
    class_coverages,
    fit_conformal,
    images_needed,
    measure_sets,
)
from carot.calibration.sets.conformal_scores import Regularisation, conformal_scores
from carot.calibration.sets.coverage import Method
from carot.errors import CalibrationError
from tests.carot.calibration.drawn_logits import drawn

METHODS: tuple[Method, ...] = ("lac", "aps", "raps", "saps")  # with one threshold for all


def literal(p: list[float], k: int, method: str, penalty: float, free: int) -> float:
    """The definitions, class by class; ties are above nobody."""
    above = [each for each in p if each > p[k]]
    rank = len(above) + 1
    if rank == 1:
        return 0.0
    if method == "lac":
        return -math.log(p[k]) if p[k] else 744.4400719213812
    if method == "aps":
        rest = math.fsum(each for each in p if each <= p[k])
        return -math.log(rest) if rest else 744.4400719213812
    if method == "raps":
        return math.fsum(above) + penalty * max(0, rank - free)
    return max(p) + penalty * (rank - 2)


@pytest.mark.parametrize("method", METHODS)
@given(data=st.data())
@settings(max_examples=40)
def test_scores_are_the_definitions(method: Method, data: st.DataObject) -> None:
    """Weights from a small range, so that there are many ties."""
    classes = data.draw(st.integers(1, 6))
    weights = st.lists(st.integers(0, 4), min_size=classes, max_size=classes).filter(any)
    rows = data.draw(st.lists(weights, min_size=1, max_size=5))
    rule = Regularisation(data.draw(st.sampled_from([0.0, 0.1, 1.0])), data.draw(st.integers(1, 3)))
    p = torch.tensor(rows, dtype=torch.float64)
    p = p / p.sum(1, keepdim=True)
    scores = conformal_scores(p, method, rule)
    for row, found in zip(p.tolist(), scores.tolist(), strict=True):
        expected = [float(literal(row, k, method, *rule)) for k in range(classes)]
        np.testing.assert_allclose(found, expected, atol=1e-12)
    # Equal probabilities score exactly alike, and the order of the classes does not matter.
    alike = p[:, :, None] == p[:, None, :]
    assert bool((scores[:, :, None] == scores[:, None, :])[alike].all())
    turned = conformal_scores(p.flip(1), method, rule).flip(1)
    torch.testing.assert_close(turned, scores, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
def test_coverage_on_exchangeable_images_is_within_its_band(
    method: Method, coverage: float
) -> None:
    """250 splits of 200 images: the share of held labels is within what theory gives.

    For scores without ties, how many of m test labels a split's sets hold is beta-binomial with
    k = ⌈(n + 1) c⌉: exact mean k / (n + 1), from c to c + 1 / (n + 1). Where the top class alone
    covers more, all scores are tied at 0, and only the lower end holds.
    """
    n, m, splits = 200, 200, 250
    logits, labels = drawn(20_000, 8, temperature=0.4)
    p = (logits * 1.5).softmax(1)  # miscalibrated: coverage does not hang on it
    generator = torch.Generator().manual_seed(5)
    held = []
    for _ in range(splits):
        index = torch.randint(20_000, (n + m,), generator=generator)
        fitted = fit_conformal(p[index[:n]], labels[index[:n]], method)
        sets = fitted.sets(p[index[n:]], coverage)
        held.append(int(sets[torch.arange(m), labels[index[n:]]].sum()))
    place = math.ceil((n + 1) * Fraction(str(coverage)))
    law = betabinom(m, place, n + 1 - place)
    error = law.std() / math.sqrt(splits)
    mean = float(np.mean(held))
    assert mean >= law.mean() - 4 * error
    accuracy = float((p.argmax(1) == labels).double().mean())
    tied = coverage < accuracy + 0.15
    if not tied:
        # Images drawn twice tie.
        assert mean <= law.mean() + 4 * error + 0.005 * m
        assert np.std(held) == pytest.approx(law.std(), rel=0.15)


@pytest.mark.parametrize("method", METHODS)
@given(seed=st.integers(0, 1000), coverage=st.floats(0.02, 0.98), classes=st.integers(2, 12))
@settings(max_examples=30)
def test_sets_hold_the_top_class_and_grow_with_coverage(
    method: Method, seed: int, coverage: float, classes: int
) -> None:
    logits, labels = drawn(120, classes, seed=seed)
    p = logits.softmax(1)
    fitted = fit_conformal(p[:60], labels[:60], method)
    sets = fitted.sets(p, coverage)
    assert bool(sets[torch.arange(120), p.argmax(1)].all())
    more = fitted.sets(p, min(0.98, coverage + 0.01))
    assert bool((sets <= more).all())
    # Nothing less probable than what is outside is inside.
    lowest_in = p.masked_fill(~sets, 2.0).amin(1)
    highest_out = p.masked_fill(sets, -1.0).amax(1)
    assert bool((highest_out < lowest_in).all())
    again = ConformalSets.model_validate_json(fitted.model_dump_json())
    assert again == fitted
    assert torch.equal(again.sets(p, coverage), sets)
    # An image's set does not hang on the others.
    alone = torch.cat([fitted.sets(row[None], coverage) for row in p[:10]])
    assert torch.equal(alone, sets[:10])


def slow_sets(
    cal: list[list[float]], labels: list[int], test: list[list[float]], coverage: str, method: str
) -> list[set[int]]:
    """By counting: a class is in unless too few calibration labels score as high or higher."""
    rule = RULES[method]  # type: ignore[index]
    scores = [literal(p, y, method, *rule) for p, y in zip(cal, labels, strict=True)]
    place = math.ceil((len(scores) + 1) * Fraction(coverage))
    found: list[set[int]] = []
    for p in test:
        found.append(set())
        for k in range(len(p)):
            below = sum(score < literal(p, k, method, *rule) - 1e-12 for score in scores)
            if below < place:
                found[-1].add(k)
    return found


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("coverage", ["0.1", "0.7", "0.9", "0.95"])
def test_sets_are_those_of_a_slow_implementation(method: Method, coverage: str) -> None:
    p = drawn(60, 6)[0].softmax(1)
    p = ((p * 20).round() + 0.5) / ((p * 20).round() + 0.5).sum(1, keepdim=True)  # with ties
    labels = torch.randint(6, (60,), generator=torch.Generator().manual_seed(0))
    fitted = fit_conformal(p[:40], labels[:40], method)
    sets = fitted.sets(p[40:], float(coverage))
    expected = slow_sets(p[:40].tolist(), labels[:40].tolist(), p[40:].tolist(), coverage, method)
    assert [set(row.nonzero()[:, 0].tolist()) for row in sets] == expected


@pytest.mark.parametrize(
    ("coverage", "needed"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99), (0.999, 999)]
)
def test_as_many_images_as_coverage_needs(coverage: float, needed: int) -> None:
    """Decimal numbers are taken as such: 0.9 of 10 is 9, whatever a float64 makes of it."""
    assert images_needed(coverage) == needed
    logits, labels = drawn(needed, 4)
    enough = fit_conformal(logits.softmax(1), labels)
    assert enough.place(coverage) == needed
    assert enough.threshold(coverage) == max(enough.scores)
    if needed > 1:
        few = fit_conformal(logits[1:].softmax(1), labels[1:])
        with pytest.raises(
            CalibrationError, match=f"needs {needed} .* there are {needed - 1}"
        ) as e:
            few.sets(logits.softmax(1), coverage)
        assert e.value.field == "coverage"


@pytest.mark.parametrize("coverage", [0.0, 1.0, -0.1, 1.5, math.nan, math.inf])
def test_a_coverage_outside_its_range_is_refused(coverage: float) -> None:
    p, labels = drawn(30)[0].softmax(1), drawn(30)[1]
    fitted = fit_conformal(p, labels)
    for call in (
        lambda: fitted.sets(p, coverage),
        lambda: images_needed(coverage),
        lambda: measure_sets(p > 0.5, labels, coverage),
    ):
        with pytest.raises(CalibrationError, match="between 0 and 1") as caught:
            call()
        assert caught.value.field == "coverage"


def test_the_band_is_that_of_the_beta_distribution() -> None:
    logits, labels = drawn(1000, 4)
    fitted = fit_conformal(logits.softmax(1), labels, "aps")
    place = 901  # of 1001 · 0.9 = 900.9
    expected = beta.ppf([0.025, 0.975], place, 1001 - place)
    assert fitted.coverage_band(0.9) == pytest.approx(tuple(expected), rel=1e-9)


def test_what_sets_hold_is_measured() -> None:
    sets = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=torch.bool)
    found = measure_sets(sets, torch.tensor([0, 2, 2, 1]), 0.9)
    assert (found.images, found.coverage, found.asked) == (4, 0.75, 0.9)
    assert found.coverage_interval[0] < 0.75 < found.coverage_interval[1]
    assert (found.mean_size, found.largest, found.single) == (1.75, 3, 0.5)
    half = 1.959964 * float(np.std([1, 2, 3, 1], ddof=1)) / 2
    assert found.mean_size_interval == pytest.approx((1.75 - half, 1.75 + half))
    alone = measure_sets(sets[:1], torch.tensor([0]), 0.9)
    assert alone.mean_size_interval == (0.0, 3.0)


def test_a_separable_model_needs_one_class() -> None:
    """Certain, and right: with confidences of exactly 1 and 0."""
    p = torch.eye(5)[torch.arange(100) % 5]
    fitted = fit_conformal(p, torch.arange(100) % 5, "raps")
    assert torch.equal(fitted.sets(p, 0.95), p == 1)


def test_two_and_many_classes_and_half_precision() -> None:
    for classes in (2, 1000):
        logits, labels = drawn(60, classes, temperature=0.5)
        for dtype in (torch.float16, torch.bfloat16, torch.float32):
            p = logits.softmax(1).to(dtype)
            for method in METHODS:
                fitted = fit_conformal(p, labels, method)
                assert measure_sets(fitted.sets(p, 0.9), labels, 0.9).coverage >= 0.9


def test_uniform_probabilities_hold_all_classes() -> None:
    p = torch.full((20, 4), 0.25)
    for method in METHODS:
        assert bool(fit_conformal(p, torch.arange(20) % 4, method).sets(p, 0.5).all())


@pytest.mark.parametrize(
    ("p", "labels", "message"),
    [
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), "shape"),
        (torch.zeros(3), torch.zeros(3, dtype=torch.int64), "shape"),
        (torch.ones(2, 3), torch.zeros(2, dtype=torch.int64), "sum to one"),
        (torch.tensor([[1.5, -0.5]]), torch.tensor([0]), "sum to one"),
        (torch.tensor([[math.nan, 0.5]]), torch.tensor([0]), "sum to one"),
        (torch.tensor([[1, 0]]), torch.tensor([0]), "int64"),
        (torch.tensor([[0.5, 0.5]]), torch.tensor([2]), "labels must be 0 to 1"),
        (torch.tensor([[0.5, 0.5]]), torch.tensor([0, 1]), "1 class indices"),
        (torch.tensor([[0.5, 0.5]]), torch.tensor([0.0]), "1 class indices"),
    ],
)
def test_nonsense_is_refused(p: Tensor, labels: Tensor, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        fit_conformal(p, labels)


def test_unknown_methods_and_rules_are_refused() -> None:
    p, labels = drawn(10)[0].softmax(1), drawn(10)[1]
    with pytest.raises(CalibrationError, match="there are lac, aps") as caught:
        fit_conformal(p, labels, "naive")  # type: ignore[arg-type]
    assert caught.value.field == "method"
    for rule in (Regularisation(-1.0, 1), Regularisation(0.1, 0), Regularisation(math.nan, 1)):
        with pytest.raises(CalibrationError, match="penalty"):
            fit_conformal(p, labels, "raps", rule)
    with pytest.raises(CalibrationError, match="booleans"):
        measure_sets(p, labels, 0.9)


@pytest.mark.parametrize("classes", [10, 200])
def test_sets_of_a_very_confident_model_are_those_of_the_logarithms(classes: int) -> None:
    """1 - p is 1 for nearly all classes, whatever p is: its logarithm still tells them apart."""
    logits, labels = drawn(3000, classes, temperature=1 / 3)
    logits = 8 * logits
    for coverage in (0.9, 0.99):
        place = math.ceil(1001 * Fraction(str(coverage)))
        own = -logits[:1000].log_softmax(1).gather(1, labels[:1000, None]).squeeze(1)
        top = logits[:1000].argmax(1) == labels[:1000]
        q = own.masked_fill(top, 0.0).sort().values[place - 1]
        exact = -logits[1000:].log_softmax(1) <= q
        exact.scatter_(1, logits[1000:].argmax(1, keepdim=True), True)
        for method in ("lac", "aps"):
            p = logits.softmax(1)
            sets = fit_conformal(p[:1000], labels[:1000], method).sets(p[1000:], coverage)
            found = measure_sets(sets, labels[1000:], coverage)
            assert found.coverage >= coverage - 0.02
            assert found.mean_size < 0.75 * classes
            if method == "lac":
                assert torch.equal(sets, exact)


def test_probabilities_that_vanish_altogether_are_in_or_out_together() -> None:
    logits = torch.tensor([[0.0, -5.0, -2000.0, -3000.0]], dtype=torch.float64).repeat(60, 1)
    labels = torch.tensor([0] * 30 + [1] * 26 + [2] * 4)
    p = logits.softmax(1)
    for method in ("lac", "aps"):
        fitted = fit_conformal(p, labels, method)
        assert fitted.sets(p[:1], 0.8)[0].tolist() == [True, True, False, False]
        assert fitted.sets(p[:1], 0.95)[0].tolist() == [True] * 4
        assert ConformalSets.model_validate_json(fitted.model_dump_json()) == fitted


@pytest.mark.parametrize("method", ["lac", "aps", "raps", "saps"])
def test_scores_of_the_first_version_give_the_sets_that_they_gave(method: Method) -> None:
    logits, labels = drawn(400, 8, temperature=0.5)
    p = logits.softmax(1)
    now = fit_conformal(p[:200], labels[:200], method)
    old = [-math.expm1(-each) if method in ("lac", "aps") else each for each in now.scores]
    document = now.model_dump(mode="json", exclude={"version", "labels"})
    document["scores"] = [round(each, 12) for each in old]
    read = ConformalSets.model_validate(document)
    assert read.version == 2
    for coverage in (0.5, 0.9, 0.95):
        before, after = read.sets(p[200:], coverage), now.sets(p[200:], coverage)
        assert bool((before >= after).all())
        assert int((before & ~after).sum()) == 0
    # What was rounded to 1 lets every class in, as it did.
    saturated = read.model_copy(update={}).model_dump(mode="json", exclude={"version"})
    if method in ("lac", "aps"):
        worst = ConformalSets.model_validate({**saturated, "scores": [1.0] * 200})
        assert bool(worst.sets(p[200:], 0.5).all())


def imbalanced(images: int, seed: int) -> tuple[Tensor, Tensor]:
    """Classes of 90, 9 and 1 %; the rare ones look like the frequent one."""
    generator = torch.Generator().manual_seed(seed)
    share = torch.tensor([0.9, 0.09, 0.01])
    labels = torch.multinomial(share, images, replacement=True, generator=generator)
    logits = torch.randn(images, 3, generator=generator, dtype=torch.float64)
    logits[torch.arange(images), labels] += 1.5
    return logits + share.double().log(), labels


def test_mondrian_sets_cover_each_class() -> None:
    logits, labels = imbalanced(60_000, seed=0)
    p = logits.softmax(1)
    held = {
        method: fit_conformal(p[:5000], labels[:5000], method).sets(p[5000:], 0.9)
        for method in ("lac", "mondrian")
    }
    covered = {
        method: {
            each.name: each
            for each in class_coverages(
                sets.gather(1, labels[5000:, None]).squeeze(1), labels[5000:], "abc", 3
            )
        }
        for method, sets in held.items()
    }
    assert covered["lac"]["a"].coverage > 0.95
    assert covered["lac"]["c"].coverage < 0.3
    # 5000 images hold some 50 of the rarest: its share lies within their Beta distribution.
    for name, slack in (("a", 0.02), ("b", 0.05), ("c", 0.12)):
        assert covered["mondrian"][name].coverage >= 0.9 - slack
    assert list(covered["lac"]) == ["c", "b", "a"]
    assert covered["lac"]["c"].images == int((labels[5000:] == 2).sum())


def test_a_class_with_too_few_images_is_in_every_mondrian_set() -> None:
    logits, labels = drawn(200, 4)
    few = (labels == 3).cumsum(0) <= 8
    keep = (labels != 3) | few
    p = logits.softmax(1)
    fitted = fit_conformal(p[keep], labels[keep], "mondrian")
    assert fitted.threshold(0.9) is None
    assert fitted.coverage_band(0.9) is None
    assert fitted.thresholds(0.9, 4).isinf().tolist() == [False, False, False, True]
    assert bool(fitted.sets(p, 0.9)[:, 3].all())
    assert not bool(fitted.sets(p, 0.85)[:, 3].all())
    assert ConformalSets.model_validate_json(fitted.model_dump_json()) == fitted
    with pytest.raises(CalibrationError, match="each class needs 99 calibration") as caught:
        fitted.sets(p, 0.99)
    assert caught.value.field == "coverage"


def test_labels_belong_to_mondrian_sets_alone() -> None:
    logits, labels = drawn(30, 3)
    document = fit_conformal(logits.softmax(1), labels, "lac").model_dump(mode="json")
    for change in ({"labels": [0] * 30}, {"method": "mondrian"},
                   {"method": "mondrian", "labels": [0] * 29}):  # fmt: skip
        with pytest.raises(ValueError, match=r"labels belong|one label"):
            ConformalSets.model_validate({**document, **change})
