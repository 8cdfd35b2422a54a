"""Answers as tensors: a row for each image of the request.

The protocol knows no errors of single images. One that cannot be read has its reason in `error` and
values that nobody can take for an answer: no label, index -1, confidence 0, to be abstained from.
So the other images of the request are answered all the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from api.predict.schemas import Prediction
from api.protocol_v2.schemas import TensorMetadata
from api.protocol_v2.tensors import Datatype, Tensor

PROBABILITIES = "probabilities"
UNKNOWN_SHIFT = -1.0


@dataclass(frozen=True)
class Output:
    """A tensor of shape [N]: what it is called, and its value for one image."""

    name: str
    datatype: Datatype
    value: Callable[[Prediction], Any]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _shift(answer: Prediction) -> float:
    return UNKNOWN_SHIFT if answer.shift is None else answer.shift.percentile


def _set(answer: Prediction) -> str:
    return _json(None if answer.set is None else [each.label for each in answer.set.labels])


def _abstain(answer: Prediction) -> bool:
    return answer.error is not None or bool(answer.abstain)


COLUMNS = (
    Output("label", "BYTES", lambda a: a.top[0].label if a.top else ""),
    Output("index", "INT32", lambda a: a.top[0].index if a.top else -1),
    Output("confidence", "FP64", lambda a: a.top[0].confidence if a.top else 0.0),
    Output("raw_confidence", "FP64", lambda a: a.top[0].raw_confidence if a.top else 0.0),
    Output("set", "BYTES", _set),
    Output("shift", "FP64", _shift),
    Output("abstain", "BOOL", _abstain),
    Output("error", "BYTES", lambda a: a.error.message if a.error else ""),
    Output("answer", "BYTES", lambda a: a.model_dump_json()),
)
NAMES = (*(column.name for column in COLUMNS[:-1]), PROBABILITIES, COLUMNS[-1].name)
BY_DEFAULT = tuple(column.name for column in COLUMNS[:-1])
"""The others are large, or say the same again."""


def metadata(classes: int) -> list[TensorMetadata]:
    """Every output there is, of a model with so many classes."""
    kinds = {column.name: column.datatype for column in COLUMNS}
    return [
        TensorMetadata(name=name, datatype="FP64", shape=[-1, classes])
        if name == PROBABILITIES
        else TensorMetadata(name=name, datatype=kinds[name], shape=[-1])
        for name in NAMES
    ]


def tensors(answers: Sequence[Prediction], names: Sequence[str], classes: int) -> list[Tensor]:
    """The outputs of these names, for the answers of a model with so many classes.

    Probabilities need answers that list all classes; a row that has none is all zeros.
    """
    known = {column.name: column for column in COLUMNS}
    made = []
    for name in names:
        if name == PROBABILITIES:
            made.append(_probabilities(answers, classes))
            continue
        column = known[name]
        values = [column.value(answer) for answer in answers]
        made.append(Tensor(name, column.datatype, (len(answers),), values))
    return made


def _probabilities(answers: Sequence[Prediction], classes: int) -> Tensor:
    values: list[float] = []
    for answer in answers:
        row = [0.0] * classes
        for guess in answer.top:
            row[guess.index] = guess.confidence
        values += row
    return Tensor(PROBABILITIES, "FP64", (len(answers), classes), values)
