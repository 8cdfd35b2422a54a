"""Faults in what is guaranteed of answers: prediction sets, risks, evidence, the shift score."""

from __future__ import annotations

from tests.faults.fault import Fault

CONFORMAL = ("carot/test_conformal", "carot/test_calibration_evidence|test_grounds")
RISK = ("carot/test_risk", "carot/test_binomial", "carot/test_calibration_evidence|test_grounds")


def sets(name: str, old: str, new: str) -> Fault:
    """In conformal prediction."""
    return Fault(name, "sets", old, new, CONFORMAL)


def risk(name: str, old: str, new: str, *otherwise: tuple[str, str]) -> Fault:
    """In thresholds that are proved to keep a risk."""
    return Fault(name, "risk", old, new, RISK, otherwise=otherwise)


def evidence(name: str, old: str, new: str, *tests: str) -> Fault:
    """In what stands beside an answer."""
    return Fault(name, "evidence", old, new, (*tests, "carot/test_answering"))


FAULTS = (
    sets(
        "coverage takes no account of the new image",
        "math.ceil((n + 1) * _fraction(coverage))",
        "math.ceil(n * _fraction(coverage))",
    ),
    sets(
        "a coverage is what a float makes of it",
        "return Fraction(repr(float(coverage)))",
        "return Fraction(coverage)",
    ),
    sets(
        "the threshold itself is left out",
        "scores_NC <= threshold_C + TOLERANCE * threshold_C.clamp_min(1.0)",
        "scores_NC < threshold_C - TOLERANCE * threshold_C.clamp_min(1.0)",
    ),
    sets(
        "one rank more goes free",
        "beyond_NC = (ranked.rank_NC + 1 - rule.free_ranks).clamp_min(0)",
        "beyond_NC = (ranked.rank_NC - rule.free_ranks).clamp_min(0)",
    ),
    sets(
        "ties go by the order of the classes",
        "new_NC[:, 1:] = sorted_NC[:, 1:] < sorted_NC[:, :-1]",
        "new_NC[:, 1:] = sorted_NC[:, 1:] <= sorted_NC[:, :-1]",
    ),
    sets(
        "the top class may be missing",
        "SCORES[method](ranked, rule).masked_fill(top_NC, 0.0)",
        "SCORES[method](ranked, rule)",
    ),
    sets(
        "small probabilities are all alike",
        "return -ranked.probability_NC.clamp_min(SMALLEST).log()",
        "return 1 - ranked.probability_NC",
    ),
    sets(
        "a class with few images has the threshold of those it has",
        "if place <= len(scores) and label < classes:",
        "if label < classes:\n                place = min(place, len(scores))",
    ),
    risk(
        "every start has the whole level",
        "    level = delta / len(STARTS)\n",
        "    level = delta\n",
    ),
    risk(
        "the first image that is refused is accepted",
        "math.nextafter(confidences[m], math.inf)",
        "confidences[m]",
    ),
    risk(
        "some of equally confident images are accepted",
        "while place > 0 and confidences[place - 1] == edge:",
        "while place > 0 and confidences[place - 1] < edge:",
    ),
    risk(
        "the upper bound is two-sided",
        "betaincinv(successes + 1, count - successes, 1 - delta)",
        "betaincinv(successes + 1, count - successes, 1 - delta / 2)",
        (
            "return _chance_at(successes, count, delta, successes / count, 1.0)",
            "return _chance_at(successes, count, delta / 2, successes / count, 1.0)",
        ),
    ),
    evidence(
        "the farthest neighbours are cut off",
        "end = bisect_right(values, radius, key=lambda value: value - confidence)",
        "end = bisect_left(values, radius, key=lambda value: value - confidence)",
        "carot/test_evidence",
    ),
    evidence(
        "neighbours lie anywhere",
        "end = min(end, bisect_right(self.confidences, confidence + WIDTH + ROUNDING))",
        "end = min(end, len(self.confidences))",
        "carot/test_evidence",
    ),
    evidence(
        "calibration images are seen from themselves",
        "distances_N = grown * (square_N / (1 - own_N).clamp_min(1e-12)).sqrt()",
        "distances_N = square_N.sqrt()",
        "carot/test_shift_score",
    ),
    evidence(
        "a calibrator that turns the ranking is promised a risk",
        "            if not keeps_ranking:\n                raise CalibrationError(",
        "            if not keeps_ranking and asked.coverage is not None:\n"
        "                raise CalibrationError(",
        "carot/test_answering", "api/test_predict",
    ),
)  # fmt: skip
