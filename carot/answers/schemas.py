"""What is asked of a classifier and what it answers for an image, as data. Loads no torch.

Calibrated confidences come from the calibrator that is served. Prediction sets, evidence and risk
thresholds rest on the raw confidence instead, see `carot.calibration.sets.calibration_evidence`, so
that they hold for every calibrator alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from carot.calibration.metrics.numbers import Numbers
from carot.calibration.sets.evidence import Evidence
from carot.calibration.sets.risk import RiskThreshold
from carot.calibration.sets.unseen_names import Score

if TYPE_CHECKING:
    from carot.calibration.monitoring.online_coverage import OnlineCoverage
    from carot.models.vocabulary import Vocabulary

SplitMethod = Literal["lac", "aps", "raps", "saps", "mondrian"]
"""Of the sets that rest on the calibration images alone."""
SetMethod = Literal["lac", "aps", "raps", "saps", "mondrian", "online"]
AbstainReason = Literal[
    "low_confidence", "shifted", "uncalibrated_label_set", "no_shift_score", "unseen"
]
MissingCode = Literal[
    "no_calibration_images",
    "no_shift_score",
    "no_similar_confidence",
    "split_too_small",
    "top_class_changed",
    "uncalibrated_label_set",
]
COVERAGE = 0.9
SET_METHOD: SplitMethod = "raps"
MAX_SHIFT = 0.99
LISTED = 1000
"""Most labels that are listed of one prediction set."""


@dataclass(frozen=True)
class Asked:
    """What is wanted of every image of a request. What is None takes a default, if it can be met.

    Attributes:
        top_k: most classes listed, 1 or more.
        coverage: of prediction sets, in (0, 1); by default `COVERAGE`.
        set_method: how sets are made.
        max_risk: share of wrong answers, in (0, 1), among those not abstained from; by default
            none is low enough in confidence to abstain.
        max_shift: percentile, 0 to 1, above which to abstain; by default `MAX_SHIFT`.
        max_unseen: percentile of the score of unseen classes, 0 to 1, above which to abstain; by
            default that of the checkpoint, where it has such a score.
        domain: where the images come from, for calibrators that tell domains apart.
        vocabulary: classes of the request's own in the place of the classifier's.
        online: the threshold that follows the labels of a model, after the first of them, to make
            sets by in the place of `set_method` and `coverage`.
    """

    top_k: int = 5
    coverage: float | None = None
    set_method: SplitMethod = SET_METHOD
    max_risk: float | None = None
    max_shift: float | None = None
    max_unseen: float | None = None
    domain: str | None = None
    vocabulary: Vocabulary | None = None
    online: OnlineCoverage | None = None


class Guess(Numbers):
    """One class and how sure the model is of it."""

    label: str
    index: int = Field(ge=0, description="Its place among the classes.")
    confidence: float = Field(
        ge=0, le=1, description="Calibrated; the raw one where there is no calibrator."
    )
    raw_confidence: float = Field(ge=0, le=1, description="Softmax of the logits as they are.")
    logit: float = Field(
        description="Logit scale times cosine. Without the bias that SigLIP adds to every logit "
        "alike, which changes no confidence."
    )


class Member(Numbers):
    """A class in a prediction set."""

    label: str
    index: int = Field(ge=0)
    confidence: float = Field(ge=0, le=1, description="Calibrated.")


class PredictionSet(Numbers):
    """Classes among which the right one is, as often as asked: see `guarantee` of the answer."""

    labels: list[Member] = Field(
        description="The most probable first; the first of `top` is always among them."
    )
    size: int = Field(ge=1, description="Classes in the set, also where not all are listed.")
    truncated: bool = Field(
        description=f"Whether only the first {LISTED} are listed; what is promised holds for the "
        "whole set."
    )
    coverage: float = Field(gt=0, lt=1, description="Asked for, or the default.")
    method: SetMethod = Field(
        description="Which score decides, taken from the raw confidences: deterministic versions "
        "of LAC, APS, RAPS and SAPS; `mondrian` keeps the coverage for each class; `online` is LAC "
        "with a threshold that follows the labels of the model."
    )
    threshold: float | None = Field(
        description="Score that a member has at most; null for `mondrian`, where each class has "
        "its own."
    )
    n: int = Field(
        ge=1, description="Calibration images that the threshold comes from; labels for `online`."
    )


class StatedEvidence(Evidence):
    """Of the calibration images whose raw confidence was nearest to this one, how many were right.

    `lowest` and `highest` are the raw confidences between which those images lie, none farther
    than 0.05 from the image's own.
    """

    text: str = Field(description="The same in words.")


class Shift(Numbers):
    """How far the image's features lie from those of the calibration images."""

    percentile: float = Field(
        ge=0,
        le=1,
        description="Share of calibration images that lie nearer; 1: it is farther than all. Of "
        "images like them, about one in a hundred is above 0.99.",
    )
    method: str = Field(description="How distance is measured.")
    n: int = Field(ge=1, description="Calibration images.")


class Missing(Numbers):
    """Why a field is null."""

    code: MissingCode
    message: str


class Answer(Numbers):
    """What is said of one image."""

    top: list[Guess] = Field(
        description="Most probable classes first, by calibrated confidence; equal ones by logit."
    )
    set: PredictionSet | None
    evidence: StatedEvidence | None
    shift: Shift | None
    unseen: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Share of calibration images that look more like the classes, by the score in "
        "`limits.unseen`; null where the checkpoint was not compared with unseen classes, or the "
        "classes are the request's own.",
    )
    abstain: bool | None = Field(
        description="True: do not act on this answer, `abstain_reasons` say why. False: nothing "
        "speaks against it in what was asked. Null: nothing does in what could be looked at, but "
        "something could not, as `abstain_reasons` say."
    )
    abstain_reasons: list[AbstainReason] = Field(
        description="`low_confidence`: the raw confidence is below `limits.risk.threshold`. "
        "`shifted`: the shift score is above `limits.max_shift`. `uncalibrated_label_set`: classes "
        "of the request's own have no calibration images. `no_shift_score`: the checkpoint has "
        "none. `unseen`: the image may be of none of the classes, its `unseen` is above "
        "`limits.unseen.max`."
    )
    missing: dict[str, Missing] = Field(
        description="For `set`, `evidence` and `shift`, why they are null."
    )


class NotAnswered(Numbers):
    """Why there is no answer for an image that could be read: a fault of the model, not of it."""

    reason: str


class UnseenLimit(Numbers):
    """By what images are taken for none of the classes."""

    score: Score = Field(
        description="`confidence`: how low the calibrated confidence is (by the checkpoint's own "
        "calibrator); `shift`: the shift score; `combined`: both, by Fisher's method. Chosen when "
        "the checkpoint was made, see `unseen` of its report."
    )
    max: float = Field(ge=0, le=1, description="Percentile above which to abstain; 1: never.")
    n: int = Field(ge=1, description="Calibration images that percentiles are among.")


class Limits(Numbers):
    """By what sets are made and images abstained from; the same for all images of a request."""

    coverage: float | None = Field(description="Of prediction sets; null where there are none.")
    set_method: SetMethod
    risk: RiskThreshold | None = Field(
        description="The raw confidence that `max_risk` takes; null where it was not asked for."
    )
    max_shift: float | None = Field(
        description="Shift score above which to abstain; null where there is no score."
    )
    unseen: UnseenLimit | None = Field(
        default=None,
        description="Null where the checkpoint was not compared with unseen classes, or the "
        "classes are the request's own.",
    )
    guarantee: str | None = Field(
        description="What is promised, and for which images; null where nothing is."
    )


class ServedCalibrator(Numbers):
    """What makes confidences of logits, and where it comes from."""

    kind: str
    id: str | None = Field(
        description="Of a version that was fitted later; null: the checkpoint's own."
    )
    temperature: float | None = Field(
        description="What logits are divided by, if that is among what it does."
    )
    domain: str | None = Field(
        description="Whose temperature this is; null: that of all images, also where the domain "
        "asked for has none."
    )
    split: str = Field(description="Which images it was fitted on.")
    n: int = Field(description="How many.")
    nll_before: float = Field(description="Mean negative log-likelihood on them in nats, raw.")
    nll_after: float = Field(description="The same, calibrated.")
    converged: bool
    at_bound: bool = Field(description="Whether those images do not determine it.")


class ServedVocabulary(Numbers):
    """Classes of the request's own, and what their confidences come from."""

    classes: int = Field(description="How many.")
    templates: list[str] = Field(description="Captions that the text tower read, `{}` for a name.")
    own_head: Literal["text", "trained"] = Field(
        description="Of the checkpoint's own classes. The request's come from the text tower in "
        "any case: where the own head was trained, they may be worse than its accuracy suggests."
    )
    temperature: float | None = Field(
        description="That of the checkpoint's calibrator, carried over to these classes; null: "
        "confidences are raw. No calibration image shows how good it is for them."
    )


def stated(evidence: Evidence) -> StatedEvidence:
    """Evidence with the sentence that says it; ends of ranges are rounded outwards."""
    low, high = evidence.interval
    # Of products such as 100 × 0.29, which is a digit below 29.
    shown = math.floor(round(100 * low, 9)), math.ceil(round(100 * high, 9))
    text = (
        f"right on {evidence.right} of {evidence.count} calibration images with a raw confidence "
        f"{_range(evidence.lowest, evidence.highest)} ({shown[0]} to {shown[1]} %)"
    )
    return StatedEvidence(**dict(evidence), text=text)


def _range(lowest: float, highest: float) -> str:
    """Such as `from 0.93 to 0.971`, to three decimals."""
    if lowest == highest and round(lowest, 3) == lowest:
        return f"of {lowest:g}"
    low, high = math.floor(round(1000 * lowest, 9)), math.ceil(round(1000 * highest, 9))
    return f"from {low / 1000:g} to {high / 1000:g}"
