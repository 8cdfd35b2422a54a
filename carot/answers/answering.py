"""From logits and features to answers: confidences, prediction sets, evidence, shift, abstention.

The one place where that happens, for the service, for jobs and for the command alike. Shape
suffixes: N images, C classes, D embedding width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from carot.answers.calibrated import calibrated, carried_temperature, temperature_of
from carot.answers.class_order import ClassOrder
from carot.answers.guarantees import NO_SIMILAR, TOP_CHANGED, Guaranteed, Guarantees
from carot.answers.online_sets import with_online, without_online
from carot.answers.schemas import (
    LISTED,
    AbstainReason,
    Answer,
    Asked,
    Limits,
    NotAnswered,
    PredictionSet,
    ServedCalibrator,
    ServedVocabulary,
    Shift,
    stated,
)
from carot.answers.unseen import UnseenTeller
from carot.calibration.calibration import Calibration
from carot.calibration.calibrators.calibrator import AnyCalibrator, DomainCalibrator
from carot.calibration.label_sets import label_set_hash
from carot.calibration.sets.shift_score import METHOD as SHIFT_METHOD
from carot.calibration.sets.shift_score import ShiftScore
from carot.errors import CalibrationError, SpecError
from carot.models.classifier import Classifier
from carot.models.vocabulary import Vocabularies, Vocabulary

Scored = tuple[NDArray[np.float32], NDArray[np.float32]]
"""What a model makes of one image: logits (C) of its own classes, unit features (D)."""

NOT_FINITE = NotAnswered(reason="the model's outputs for this image are not finite numbers")
SHOWN = ("kind", "split", "n", "nll_before", "nll_after", "converged", "at_bound")


class Answering:
    """Makes answers for one checkpoint with one calibrator. Any thread may use it.

    Attributes:
        classes: C names; a logit's place is an index into them.
        calibrator: what is served; None leaves confidences as they are.
        vocabularies: what makes classes of a request's own; None where nothing can.
    """

    def __init__(
        self,
        classes: Sequence[str],
        calibration: Calibration | None,
        vocabularies: Vocabularies | None = None,
    ) -> None:
        self.classes = tuple(classes)
        self.calibrator = None if calibration is None else calibration.calibrator
        self.vocabularies = vocabularies
        self._label_set_hash = label_set_hash(self.classes)
        self._shift_score: ShiftScore | None = calibration.shift_score if calibration else None
        self._unseen = UnseenTeller.of(calibration)
        self._guarantees = Guarantees(calibration.evidence if calibration else None)

    @classmethod
    def of(cls, classifier: Classifier) -> Answering:
        """For a checkpoint, with its own calibrator."""
        vocabularies = Vocabularies(classifier.model, classifier.card)
        return cls(classifier.classes, classifier.calibration, vocabularies)

    def with_calibrator(self, calibrator: AnyCalibrator | None) -> Answering:
        """The same with another calibrator; all else is shared, so that this costs nothing.

        Raises:
            CalibrationError: it was fitted for other classes.
        """
        if calibrator is not None and calibrator.label_set_hash != self._label_set_hash:
            raise CalibrationError("the calibrator was fitted for another list of classes")
        other = copy(self)
        other.calibrator = calibrator
        return other

    def vocabulary(
        self, names: Sequence[str], templates: Sequence[str] | None = None
    ) -> Vocabulary:
        """Classes of a request's own, for `Asked`; takes a while for names that are new.

        Raises:
            SpecError: too many, or there is no text tower; `field` is `classes`.
        """
        return self._readers().of(names, templates)

    def check(
        self,
        asked: Asked,
        names: Sequence[str] | None = None,
        templates: Sequence[str] | None = None,
    ) -> None:
        """Refuse, before any image is looked at, what `vocabulary` or `answers` would.

        Args:
            asked: without vocabulary.
            names, templates: what one would be made of; None for the classifier's own classes.

        Raises:
            SpecError, CalibrationError: see there.
        """
        if names is not None:
            self._readers().check(names, templates)
        self._guaranteed(asked, own_classes=names is not None)

    def limits(self, asked: Asked) -> Limits:
        """By what sets are made and images abstained from.

        Raises:
            CalibrationError: see `answers`.
        """
        return self._guaranteed(asked, own_classes=asked.vocabulary is not None).limits

    @torch.no_grad()
    def answers(
        self, scored: Sequence[Scored], asked: Asked | None = None
    ) -> list[Answer | NotAnswered]:
        """What is said of each image, in order; none where outputs are not finite.

        Raises:
            CalibrationError: what was asked for cannot be guaranteed; `field` is that of `Asked`.
        """
        asked = asked or Asked()
        guaranteed = self._guaranteed(asked, own_classes=asked.vocabulary is not None)
        if not scored:
            return []
        logits_NC, features_ND = (np.stack(part) for part in zip(*scored, strict=True))
        finite_N = np.isfinite(logits_NC).all(axis=1) & np.isfinite(features_ND).all(axis=1)
        answers: Iterator[Answer] = iter(())
        if finite_N.any():
            good_NC, good_ND = logits_NC[finite_N], features_ND[finite_N]
            outputs = torch.from_numpy(good_NC), torch.from_numpy(good_ND)
            answers = iter(self._answers(*outputs, asked, guaranteed))
        return [next(answers) if yes else NOT_FINITE for yes in finite_N.tolist()]

    def calibrated(self, asked: Asked) -> bool:
        """Whether a calibrator was fitted for the classes that are asked about."""
        return self.calibrator is not None and asked.vocabulary is None

    def served_calibrator(self, asked: Asked, id: str | None = None) -> ServedCalibrator | None:
        """The calibrator as an answer shows it; None where there is none.

        Args:
            id: of its version, where it is not the checkpoint's own.
        """
        calibrator = self.calibrator
        if calibrator is None:
            return None
        known = isinstance(calibrator, DomainCalibrator) and asked.domain in calibrator.temperatures
        return ServedCalibrator(
            id=id,
            temperature=temperature_of(calibrator, asked.domain),
            domain=asked.domain if known else None,
            **{name: getattr(calibrator, name) for name in SHOWN},
        )

    def served_vocabulary(self, asked: Asked) -> ServedVocabulary | None:
        """The request's own classes as an answer shows them; None where it brought none."""
        vocabulary = asked.vocabulary
        if vocabulary is None:
            return None
        return ServedVocabulary(
            classes=len(vocabulary.names),
            templates=list(vocabulary.templates),
            own_head=vocabulary.own_head,
            temperature=carried_temperature(self.calibrator, vocabulary, asked.domain),
        )

    def _readers(self) -> Vocabularies:
        if self.vocabularies is None:
            raise SpecError("there is no text tower to read them", field="classes")
        return self.vocabularies

    def _guaranteed(self, asked: Asked, *, own_classes: bool) -> Guaranteed:
        keeps_ranking = self.calibrator is None or self.calibrator.keeps_ranking
        has_shift_score = self._shift_score is not None
        online = asked.online
        found = self._guarantees.of(
            asked if online is None else without_online(asked),
            own_classes=own_classes,
            keeps_ranking=keeps_ranking,
            has_shift_score=has_shift_score,
            unseen=None if self._unseen is None else self._unseen.limit,
        )
        return found if online is None else with_online(found, online, own_classes=own_classes)

    def _answers(
        self, logits_NC: Tensor, features_ND: Tensor, asked: Asked, guaranteed: Guaranteed
    ) -> list[Answer]:
        listing = self._listing(logits_NC, features_ND, asked)
        sets = _sets(listing, guaranteed)
        shifts = self._shifts(features_ND)
        unseens: list[float | None] = [None] * len(features_ND)
        if self._unseen is not None and guaranteed.limits.unseen is not None:
            unseens = self._unseen.percentiles(logits_NC, features_ND)
        raw_N, raw_top_N = listing.raw_NC.max(dim=1)
        same_N = raw_top_N == listing.order_NC[:, 0]
        answers = []
        for top, set, shift, unseen, raw, same in zip(
            listing.guesses(asked.top_k),
            sets,
            shifts,
            unseens,
            raw_N.tolist(),
            same_N.tolist(),
            strict=True,
        ):
            evidence, missing = None, guaranteed.missing
            if guaranteed.evidence is not None:
                found = guaranteed.evidence.at(min(raw, 1.0)) if same else None
                evidence = None if found is None else stated(found)
                if found is None:
                    missing = missing | {"evidence": NO_SIMILAR if same else TOP_CHANGED}
            abstain, reasons = _abstention(raw, shift, unseen, guaranteed.limits, asked)
            answers.append(
                Answer(
                    top=top,
                    set=set,
                    evidence=evidence,
                    shift=shift,
                    unseen=unseen,
                    abstain=abstain,
                    abstain_reasons=reasons,
                    missing=missing,
                )
            )
        return answers

    def _listing(self, logits_NC: Tensor, features_ND: Tensor, asked: Asked) -> ClassOrder:
        """Raw and calibrated probabilities, in order."""
        calibrator, vocabulary = self.calibrator, asked.vocabulary
        if vocabulary is not None:
            names, keeps_ranking = vocabulary.names, True
            logits_NC = features_ND @ vocabulary.head_KD.t()
            temperature = carried_temperature(calibrator, vocabulary, asked.domain)
            raw_NC = logits_NC.double().softmax(dim=1)
            calibrated_NC = (logits_NC.double() / (temperature or 1.0)).softmax(dim=1)
        else:
            names, keeps_ranking = self.classes, calibrator is None or calibrator.keeps_ranking
            raw_NC = logits_NC.double().softmax(dim=1)
            calibrated_NC = calibrated(calibrator, logits_NC, raw_NC, asked.domain)
        # Exponentials of rounded logarithms may come out a digit above 1.
        raw_NC, calibrated_NC = raw_NC.clamp_max(1.0), calibrated_NC.clamp_max(1.0)
        return ClassOrder.of(names, logits_NC, raw_NC, calibrated_NC, keeps_ranking=keeps_ranking)

    def _shifts(self, features_ND: Tensor) -> list[Shift | None]:
        score = self._shift_score
        if score is None:
            return [None] * len(features_ND)
        n = len(score.distances_N)
        percentiles = score.percentiles(features_ND).tolist()
        return [Shift(percentile=each, method=SHIFT_METHOD, n=n) for each in percentiles]


def _sets(listing: ClassOrder, guaranteed: Guaranteed) -> list[PredictionSet | None]:
    coverage, sets = guaranteed.limits.coverage, guaranteed.sets
    if coverage is None or sets is None:
        return [None] * len(listing.order_NC)
    inside_NC = sets.sets(listing.raw_NC, coverage)
    # A calibrator that turns the ranking may serve a class that the set of raw confidences lacks;
    # with it the set covers no less.
    inside_NC.scatter_(1, listing.order_NC[:, :1], True)
    threshold = sets.threshold(coverage)
    return [
        PredictionSet(
            labels=members[:LISTED],
            size=len(members),
            truncated=len(members) > LISTED,
            coverage=coverage,
            method=sets.method,
            threshold=threshold,
            n=sets.n,
        )
        for members in listing.members(inside_NC)
    ]


def _abstention(
    raw: float, shift: Shift | None, unseen: float | None, limits: Limits, asked: Asked
) -> tuple[bool | None, list[AbstainReason]]:
    """Whether to abstain, and why; None where that cannot be known."""
    against: list[AbstainReason] = []
    if limits.risk is not None and raw < limits.risk.threshold:
        against.append("low_confidence")
    if shift is not None and limits.max_shift is not None and shift.percentile > limits.max_shift:
        against.append("shifted")
    if unseen is not None and limits.unseen is not None and unseen > limits.unseen.max:
        against.append("unseen")
    if against:
        return True, against
    if asked.vocabulary is not None:
        return None, ["uncalibrated_label_set"]
    if shift is None and (asked.max_shift is None or asked.max_shift < 1):
        return None, ["no_shift_score"]
    return False, []
