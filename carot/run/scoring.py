"""What a checkpoint answers for many images at once, as columns of a table.

Confidences are the calibrator's; sets, evidence and the threshold of a risk rest on the raw ones
(`carot.calibration.grounds`), and so does which class comes first. Shape suffixes: N images,
C classes, D embedding width, K classes listed.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from carot.calibration.evidence import EvidenceTable
from carot.classifier import Classifier
from carot.errors import CalibrationError
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
    ]
)
COLUMNS = [
    ("prediction", pa.string()),
    ("prediction_index", pa.int32()),
    ("confidence", pa.float64()),
    ("raw_confidence", pa.float64()),
    ("top", pa.list_(GUESS)),
    ("set", WORDS),
    ("evidence_count", pa.int32()),
    ("evidence_right", pa.int32()),
    ("evidence_share", pa.float64()),
    ("evidence_low", pa.float64()),
    ("evidence_high", pa.float64()),
    ("shift", pa.float64()),
    ("abstain", pa.bool_()),
    ("reasons", WORDS),
]
LOW_CONFIDENCE = "confidence"
SHIFTED = "shift"


@dataclass(frozen=True)
class Confidences:
    """Of each image in each class; rows sum to one. All float64, (N, C)."""

    raw_NC: Tensor
    calibrated_NC: Tensor


class Scoring:
    """Answers as a spec wants them.

    Attributes:
        schema: of what `answers` gives, with the metadata that the file is to have.

    Raises:
        CalibrationError: the checkpoint knows too little for the coverage, risk or shift that is
            asked for; `field` says which.
    """

    def __init__(self, classifier: Classifier, spec: PredictSpec, checkpoint: str) -> None:
        self._classifier = classifier
        self._spec = spec
        calibration = classifier.calibration
        self._grounds = None if calibration is None else calibration.grounds
        self._shift_score = None if calibration is None else calibration.shift_score
        self._names = pa.array(classifier.classes, pa.string())
        self._least = 0.0
        if spec.coverage is not None:
            _needed(self._grounds, "coverage").sets[spec.set_method].threshold(spec.coverage)
        if spec.max_risk is not None:
            self._least = _needed(self._grounds, "max_risk").risk(spec.max_risk).threshold
        if spec.max_shift is not None:
            _needed(self._shift_score, "max_shift")
        columns = [*COLUMNS, ("logits", pa.list_(pa.float32()))] if spec.logits else COLUMNS
        about = json.dumps(self._about(checkpoint), ensure_ascii=False)
        self.schema = pa.schema(columns, metadata={METADATA: about.encode("utf-8")})

    @torch.no_grad()
    def answers(self, logits_NC: Tensor, features_ND: Tensor) -> pa.RecordBatch:
        """One row for each image, on the CPU.

        Raises:
            CalibrationError: logits or features that are not finite.
        """
        if not bool(logits_NC.isfinite().all()):
            raise CalibrationError("logits that are not finite")
        images = len(logits_NC)
        found = Confidences(*self._classifier.confidences(logits_NC))
        order_NC = found.raw_NC.argsort(dim=1, descending=True, stable=True)
        first_N1 = order_NC[:, :1]
        raw_N = found.raw_NC.gather(1, first_N1).squeeze(1)
        shift_N = self._shift(features_ND)
        reasons = self._reasons(raw_N, shift_N)
        columns: list[Any] = [
            self._names.take(pa.array(first_N1.squeeze(1).numpy())),
            pa.array(first_N1.squeeze(1).int().numpy()),
            pa.array(found.calibrated_NC.gather(1, first_N1).squeeze(1).numpy()),
            pa.array(raw_N.numpy()),
            self._top(found, order_NC),
            self._sets(found.raw_NC, order_NC),
            *_evidence(None if self._grounds is None else self._grounds.evidence, raw_N.tolist()),
            pa.nulls(images, pa.float64()) if shift_N is None else pa.array(shift_N.numpy()),
            pa.array([bool(each) for each in reasons], pa.bool_()),
            pa.array(reasons, WORDS),
        ]
        if self._spec.logits:
            offsets = range(0, logits_NC.numel() + 1, logits_NC.shape[1])
            flat = pa.array(logits_NC.float().flatten().numpy())
            columns.append(_lists(offsets, flat))
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _shift(self, features_ND: Tensor) -> Tensor | None:
        if self._shift_score is None:
            return None
        return self._shift_score.percentiles(features_ND)

    def _reasons(self, raw_N: Tensor, shift_N: Tensor | None) -> list[list[str]]:
        """Why to abstain from each image, if there is reason to."""
        farthest = math.inf if self._spec.max_shift is None else self._spec.max_shift
        shifts = [0.0] * len(raw_N) if shift_N is None else shift_N.tolist()
        return [
            [LOW_CONFIDENCE] * (raw < self._least) + [SHIFTED] * (shift > farthest)
            for raw, shift in zip(raw_N.tolist(), shifts, strict=True)
        ]

    def _top(self, found: Confidences, order_NC: Tensor) -> pa.ListArray:
        order_NK = order_NC[:, : self._spec.top_k]
        flat = order_NK.flatten().numpy()
        guesses = [
            self._names.take(pa.array(flat)),
            pa.array(flat.astype("int32")),
            pa.array(found.calibrated_NC.gather(1, order_NK).flatten().numpy()),
            pa.array(found.raw_NC.gather(1, order_NK).flatten().numpy()),
        ]
        structs = pa.StructArray.from_arrays(guesses, fields=list(GUESS))
        return _lists(range(0, len(flat) + 1, order_NK.shape[1]), structs)

    def _sets(self, raw_NC: Tensor, order_NC: Tensor) -> pa.Array:
        """The members of each image's set, the likeliest first; null where none is asked for."""
        if self._spec.coverage is None or self._grounds is None:
            return pa.nulls(len(raw_NC), WORDS)
        fitted = self._grounds.sets[self._spec.set_method]
        members_NC = fitted.sets(raw_NC, self._spec.coverage).gather(1, order_NC)
        offsets = [0, *members_NC.sum(dim=1).cumsum(0).tolist()]
        return _lists(offsets, self._names.take(pa.array(order_NC[members_NC].numpy())))

    def _about(self, checkpoint: str) -> dict[str, Any]:
        card, calibrator = self._classifier.card, self._classifier.calibrator
        asked = self._spec.model_dump(
            mode="json",
            include={"split", "shift", "severity", "coverage", "set_method", "max_risk"}
            | {"max_shift", "top_k"},
        )
        return {
            "version": VERSION,
            "checkpoint": checkpoint,
            "architecture": card.architecture,
            "method": card.method,
            "classes": list(card.classes),
            "calibrator": None if calibrator is None else calibrator.kind,
            "temperature": getattr(calibrator, "temperature", None),
            "least_raw_confidence": self._least if self._spec.max_risk is not None else None,
            **asked,
        }


def _evidence(table: EvidenceTable | None, raw: list[float]) -> list[pa.Array]:
    kinds = [kind for name, kind in COLUMNS if name.startswith("evidence_")]
    if table is None:
        return [pa.nulls(len(raw), kind) for kind in kinds]
    # A softmax may exceed 1 by rounding.
    found = [table.at(min(1.0, confidence)) for confidence in raw]
    rows = [(e.count, e.right, e.share, *e.interval) for e in found]
    columns = zip(*rows, strict=True) if rows else [()] * len(kinds)
    return [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]


def _lists(offsets: Any, values: pa.Array) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def _needed(part: Any, field: str) -> Any:
    if part is None:
        raise CalibrationError(
            "the checkpoint keeps nothing of a calibration split that could answer for it; "
            "fine-tune it anew on a data set with one, or leave this out",
            field=field,
        )
    return part
