"""What a checkpoint answers for many images at once, as columns of a table.

Shape suffixes: N images, C classes, D embedding width.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
from torch import Tensor

from carot.answers.answering import Answering
from carot.answers.schemas import Answer, Asked, NotAnswered
from carot.models.classifier import Classifier
from carot.specs import PredictSpec

VERSION = 1
METADATA = b"carot"
"""Key in the schema's metadata under which a JSON document says what answered, and how."""

WORDS = pa.list_(pa.string())
GUESS = pa.struct(
    [
        ("label", pa.string()),
        ("index", pa.int32()),
        ("confidence", pa.float64()),
        ("raw_confidence", pa.float64()),
        ("logit", pa.float64()),
    ]
)
Column = tuple[str, Any, Callable[[Answer], Any]]
COLUMNS: list[Column] = [
    ("prediction", pa.string(), lambda a: a.top[0].label),
    ("prediction_index", pa.int32(), lambda a: a.top[0].index),
    ("confidence", pa.float64(), lambda a: a.top[0].confidence),
    ("raw_confidence", pa.float64(), lambda a: a.top[0].raw_confidence),
    ("top", pa.list_(GUESS), lambda a: [dict(guess) for guess in a.top]),
    ("set", WORDS, lambda a: [member.label for member in a.set.labels] if a.set else None),
    ("set_size", pa.int32(), lambda a: a.set.size if a.set else None),
    ("evidence_count", pa.int32(), lambda a: a.evidence.count if a.evidence else None),
    ("evidence_right", pa.int32(), lambda a: a.evidence.right if a.evidence else None),
    ("evidence_share", pa.float64(), lambda a: a.evidence.share if a.evidence else None),
    ("evidence_low", pa.float64(), lambda a: a.evidence.interval[0] if a.evidence else None),
    ("evidence_high", pa.float64(), lambda a: a.evidence.interval[1] if a.evidence else None),
    ("shift", pa.float64(), lambda a: a.shift.percentile if a.shift else None),
    ("unseen", pa.float64(), lambda a: a.unseen),
    ("abstain", pa.bool_(), lambda a: a.abstain),
    ("abstain_reasons", WORDS, lambda a: list(a.abstain_reasons)),
]
LIMITS = {"max_risk", "max_shift", "max_unseen"}
BESIDE: dict[str, Any] = {"transductive": {"split", "coverage"}}
"""Without where the labelled images lie, which is another place in every attempt."""
LOGITS = ("logits", pa.list_(pa.float32()))


class Scoring:
    """Answers as a spec wants them.

    Attributes:
        schema: of what `rows` gives, with the metadata that the file is to have.

    Raises:
        CalibrationError: the calibration images do not allow the coverage, risk or limit of the
            shift that is asked for; `field` says which.
    """

    def __init__(self, classifier: Classifier, spec: PredictSpec, checkpoint: str) -> None:
        self._answering = Answering.of(classifier)
        # Sets of all images at once are made of them.
        self._logits = spec.logits or spec.transductive is not None
        self._asked = Asked(
            top_k=spec.top_k,
            coverage=spec.coverage,
            set_method=spec.set_method,
            max_risk=spec.max_risk,
            max_shift=spec.max_shift,
            max_unseen=spec.max_unseen,
            domain=spec.domain,
        )
        columns = [("error", pa.string()), *((name, kind) for name, kind, _ in COLUMNS)]
        columns += [LOGITS] * self._logits
        about = json.dumps(self._about(classifier, spec, checkpoint))
        self.schema = pa.schema(columns, metadata={METADATA: about.encode("utf-8")})

    def rows(self, logits_NC: Tensor, features_ND: Tensor) -> pa.Table:
        """One row for each image; with `error` and nothing else where there is no answer."""
        scored = list(zip(logits_NC.float().numpy(), features_ND.float().numpy(), strict=True))
        answers = self._answering.answers(scored, self._asked)
        arrays = [
            pa.array([_reason(answer) for answer in answers], pa.string()),
            *(_array(answers, kind, of) for _, kind, of in COLUMNS),
        ]
        if self._logits:
            kept = [
                None if _reason(a) else row for a, (row, _) in zip(answers, scored, strict=True)
            ]
            arrays.append(pa.array(kept, LOGITS[1]))
        return pa.Table.from_arrays(arrays, schema=self.schema)

    def _about(self, classifier: Classifier, spec: PredictSpec, checkpoint: str) -> dict[str, Any]:
        calibrator = self._answering.served_calibrator(self._asked)
        asked = {"split", "shift", "severity", "top_k", "domain", "coverage", "set_method"}
        return {
            "version": VERSION,
            "checkpoint": checkpoint,
            "architecture": classifier.card.architecture,
            "method": classifier.card.method,
            "classes": list(classifier.classes),
            "calibrator": None if calibrator is None else calibrator.model_dump(mode="json"),
            "asked": spec.model_dump(
                mode="json", include=dict.fromkeys(asked | LIMITS, True) | BESIDE
            ),
            "limits": self._answering.limits(self._asked).model_dump(mode="json"),
        }


def _array(
    answers: Sequence[Answer | NotAnswered], kind: pa.DataType, of: Callable[[Answer], Any]
) -> pa.Array:
    return pa.array([of(a) if isinstance(a, Answer) else None for a in answers], kind)


def _reason(answer: Answer | NotAnswered) -> str | None:
    return answer.reason if isinstance(answer, NotAnswered) else None
