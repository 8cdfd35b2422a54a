"""Records of JSON as rows of a table: values as text, and Label Studio's tasks flattened."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]
CHOICE = "choice"
"""What Label Studio calls the chosen class where it writes tables."""


def flattened(record: Record) -> Record:
    """A task of Label Studio (`data` and `annotations`) as a plain record; others as they are."""
    data, annotations = record.get("data"), record.get("annotations")
    if not isinstance(data, dict) or not isinstance(annotations, list):
        return record
    return {**data, CHOICE: _choices(annotations)}


def cells(record: Record, header: Sequence[str]) -> list[str]:
    """The values of a record as text, in the order of `header`; "" where there is none."""
    return [_text(record.get(name)).strip() for name in header]


def _choices(annotations: Sequence[Any]) -> list[Any]:
    """Every distinct choice that was made and not cancelled."""
    found: list[Any] = []
    for annotation in annotations:
        if not isinstance(annotation, dict) or annotation.get("was_cancelled"):
            continue
        results = annotation.get("result")
        for result in results if isinstance(results, list) else ():
            value = result.get("value") if isinstance(result, dict) else None
            choices = value.get("choices") if isinstance(value, dict) else None
            if isinstance(choices, list):
                found += [each for each in choices if each not in found]
    return found


def _text(value: object) -> str:
    if isinstance(value, list) and len(value) <= 1:
        value = value[0] if value else None
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
