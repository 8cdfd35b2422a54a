"""What can be guaranteed of answers, given the calibration evidence and what is asked.

What was asked for and cannot be guaranteed is refused; a default that cannot be met is left out,
and the answer says why.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from decimal import Decimal
from operator import attrgetter
from typing import Protocol

from cachetools import LRUCache, cachedmethod
from torch import Tensor

from carot.answers.schemas import (
    COVERAGE,
    MAX_SHIFT,
    Asked,
    Limits,
    Missing,
    SetMethod,
    SplitMethod,
    UnseenLimit,
)
from carot.calibration.sets.calibration_evidence import CalibrationEvidence
from carot.calibration.sets.conformal import ConformalSets, images_needed
from carot.calibration.sets.evidence import LEAST_NEAR, WIDTH, EvidenceTable
from carot.calibration.sets.risk import RiskThreshold
from carot.errors import CalibrationError

MOST_RISKS = 64
"""Whose thresholds stay in memory; each takes some milliseconds to find."""

NO_IMAGES = Missing(
    code="no_calibration_images",
    message="the checkpoint keeps nothing of calibration images; evaluate it with a calibration "
    "split to have it",
)
OTHER_CLASSES = Missing(
    code="uncalibrated_label_set",
    message="classes of the request's own: no calibration image had one of them",
)
NO_SHIFT_SCORE = Missing(
    code="no_shift_score",
    message="the checkpoint has no shift score: its calibration images were too few, or their "
    "features do not vary",
)
NO_SIMILAR = Missing(
    code="no_similar_confidence",
    message=f"fewer than {LEAST_NEAR} calibration images had a raw confidence within {WIDTH:g} of "
    "this one",
)
TOP_CHANGED = Missing(
    code="top_class_changed",
    message="the calibrator put another class on top than the raw confidences, of which the "
    "calibration images say nothing",
)


class Sets(Protocol):
    """What makes prediction sets: `ConformalSets`, or `OnlineSets`."""

    @property
    def method(self) -> SetMethod: ...
    @property
    def n(self) -> int: ...
    def threshold(self, coverage: float) -> float | None: ...
    def sets(self, probabilities_NC: Tensor, coverage: float) -> Tensor: ...


@dataclass(frozen=True)
class Guaranteed:
    """What one request gets.

    Attributes:
        sets, evidence: None where they cannot be had.
        missing: why, by the name of the answer's field.
        of_risk: the sentence of `limits.guarantee` without what it says of sets.
    """

    limits: Limits
    sets: Sets | None = None
    evidence: EvidenceTable | None = None
    missing: dict[str, Missing] = field(default_factory=dict)
    of_risk: str | None = None


def _by_risk(self: object, evidence: object, max_risk: float) -> float:
    """The key of a threshold: there is one evidence for each `Guarantees`."""
    return max_risk


class Guarantees:
    """Of one checkpoint, whichever calibrator is served; any thread may ask.

    Args:
        evidence: what the calibration images show; None where none is stored.
    """

    def __init__(self, evidence: CalibrationEvidence | None) -> None:
        self._evidence = evidence
        self._risks: LRUCache[float, RiskThreshold | CalibrationError] = LRUCache(MOST_RISKS)
        self._lock = threading.Lock()

    def of(
        self,
        asked: Asked,
        *,
        own_classes: bool,
        keeps_ranking: bool,
        has_shift_score: bool,
        unseen: UnseenLimit | None = None,
    ) -> Guaranteed:
        """What can be guaranteed of answers to this.

        Args:
            own_classes: whether the request brings classes of its own.
            keeps_ranking: whether the calibrator does.
            unseen: what unseen classes are told by, if anything.

        Raises:
            CalibrationError: a coverage or risk was asked for that the calibration images do not
                allow, or a limit of a score that is not there; `field` is `coverage`,
                `set_method`, `max_risk`, `max_shift` or `max_unseen`.
        """
        missing: dict[str, Missing] = {}
        max_shift = MAX_SHIFT if asked.max_shift is None else asked.max_shift
        if not has_shift_score:
            missing["shift"] = NO_IMAGES if self._evidence is None else NO_SHIFT_SCORE
            if asked.max_shift is not None and max_shift < 1:
                raise CalibrationError("the checkpoint has no shift score", field="max_shift")
        unseen = _unseen(asked, unseen, own_classes)
        evidence = None if own_classes else self._evidence
        if evidence is None:
            found = _nothing(asked, max_shift if has_shift_score else None, missing, own_classes)
            return replace(found, limits=found.limits.model_copy(update={"unseen": unseen}))
        sets = _sets(evidence, asked.set_method)
        coverage: float | None = asked.coverage or COVERAGE
        try:
            sets.threshold(asked.coverage or COVERAGE)
        except CalibrationError as error:
            if asked.coverage is not None:
                raise
            missing["set"] = Missing(code="split_too_small", message=error.message)
            coverage = None
        risk = None
        if asked.max_risk is not None:
            if not keeps_ranking:
                raise CalibrationError(
                    "nothing can be proved of a calibrator that may put another class on top; "
                    "leave max_risk out, or serve another calibrator",
                    field="max_risk",
                )
            risk = self._risk(evidence, asked.max_risk)
        limits = Limits(
            coverage=coverage,
            set_method=asked.set_method,
            risk=risk,
            max_shift=max_shift if has_shift_score else None,
            unseen=unseen,
            guarantee=_guarantee(evidence, coverage, risk, asked.set_method),
        )
        of_risk = _guarantee(evidence, None, risk, asked.set_method)
        return Guaranteed(limits, sets, evidence.evidence, missing, of_risk)

    def _risk(self, evidence: CalibrationEvidence, max_risk: float) -> RiskThreshold:
        found = self._found(evidence, max_risk)
        if isinstance(found, CalibrationError):
            # A new one each time: one that is raised again and again collects tracebacks.
            raise CalibrationError(found.message, field=found.field)
        return found

    @cachedmethod(attrgetter("_risks"), key=_by_risk, lock=attrgetter("_lock"))
    def _found(
        self, evidence: CalibrationEvidence, max_risk: float
    ) -> RiskThreshold | CalibrationError:
        try:
            return evidence.risk(max_risk)
        except CalibrationError as error:
            return error


def _unseen(asked: Asked, limit: UnseenLimit | None, own_classes: bool) -> UnseenLimit | None:
    """The limit that is asked for, or the default one.

    Raises:
        CalibrationError: one was asked for that has no score.
    """
    if own_classes:
        limit = None
    most = asked.max_unseen
    if limit is None:
        if most is not None and most < 1:
            why = "classes of the request's own" if own_classes else "it knows no unseen classes"
            raise CalibrationError(f"no score tells unseen classes: {why}", field="max_unseen")
        return None
    return limit if most is None else limit.model_copy(update={"max": most})


def _nothing(
    asked: Asked, max_shift: float | None, missing: dict[str, Missing], own_classes: bool
) -> Guaranteed:
    """Where no calibration image says anything of these classes.

    Raises:
        CalibrationError: a coverage or a risk was asked for.
    """
    why = OTHER_CLASSES if own_classes else NO_IMAGES
    for name in ("coverage", "max_risk"):
        if getattr(asked, name) is not None:
            raise CalibrationError(f"cannot be guaranteed: {why.message}", field=name)
    limits = Limits(
        coverage=None,
        set_method=asked.set_method,
        risk=None,
        max_shift=max_shift,
        guarantee=None,
    )
    return Guaranteed(limits, missing=missing | {"set": why, "evidence": why})


def _sets(evidence: CalibrationEvidence, method: SplitMethod) -> ConformalSets:
    if method not in evidence.sets:
        raise CalibrationError(
            f"the checkpoint is from before there were {method} sets; evaluate it with "
            "calibration.refit to have them",
            field="set_method",
        )
    return evidence.sets[method]


def _guarantee(
    evidence: CalibrationEvidence,
    coverage: float | None,
    risk: RiskThreshold | None,
    method: SplitMethod,
) -> str | None:
    """In words; None where nothing is guaranteed."""
    parts = []
    if coverage is not None:
        held = f"at least {percent(coverage)} % of the sets hold the right class"
        if method == "mondrian":
            held += (
                f", for each class by itself (a class of fewer than {images_needed(coverage)} of "
                "those images is in every set)"
            )
        parts.append(held)
    if risk is not None:
        accepted = f" with a raw confidence of {risk.threshold!r} or more" if risk.threshold else ""
        parts.append(
            f"with {100 * (1 - risk.delta):g} % confidence at most {percent(risk.max_risk)} % of "
            f"the answers{accepted} are wrong"
        )
    if not parts:
        return None
    scope = "each image" if method == "mondrian" and risk is None else "each image or class"
    return (
        f"For images exchangeable with the {evidence.n} images of {evidence.split!r}, on average "
        f"over them and over such splits, not for {scope} nor under shift: "
        f"{'; '.join(parts)}."
    )


def percent(share: float) -> str:
    """A hundred times a decimal number, with all its digits: 0.9999999 is no 100 %."""
    return f"{(100 * Decimal(repr(share))).normalize():f}"
