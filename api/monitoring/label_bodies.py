"""Many labels in one body: a JSON array, a line of JSON for each, or CSV with a header."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from api.monitoring.label_schemas import MAX_LABELS, LabelItem
from api.web.problems import FieldError, Problem, invalid

JSON = "application/json"
LINES = "application/x-ndjson"
CSV = "text/csv"
COLUMNS = {"id", "label", "index", "replace"}
TYPES = (JSON, LINES, CSV)
Read = LabelItem | FieldError


def read_labels(content: bytes, media_type: str) -> list[tuple[str | None, Read]]:
    """Each label with the id that it names, or what is wrong with it.

    Raises:
        Problem: 400 or 422, there are no labels to be found in it, or more than `MAX_LABELS`; 415,
            another media type.
    """
    match media_type:
        case "application/json":
            items = _array(content)
        case "application/x-ndjson":
            items = _lines(content)
        case "text/csv":
            items = _table(content)
        case _:
            raise Problem(415, "unsupported_media_type", f"send {', '.join(TYPES)}")
    if not 1 <= len(items) <= MAX_LABELS:
        raise invalid("body", f"1 to {MAX_LABELS} labels in one request, not {len(items)}")
    return [_read(i, item) for i, item in enumerate(items)]


def _array(content: bytes) -> list[Any]:
    try:
        items = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Problem(400, "invalid_json", f"the body is not JSON: {error}") from error
    if not isinstance(items, list):
        raise invalid("body", "an array of labels is needed")
    return items


def _lines(content: bytes) -> list[Any]:
    def parsed() -> Iterator[Any]:
        for i, line in enumerate(content.splitlines()):
            if not line.strip():
                continue
            try:
                yield json.loads(line)
            except (ValueError, RecursionError) as error:
                yield FieldError(field=str(i), message=f"not JSON: {error}")

    return list(parsed())


def _table(content: bytes) -> list[Any]:
    """A column `label` holds names, a column `index` numbers: a class may be called "7"."""
    try:
        rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig")), strict=True)
        header = set(rows.fieldnames or ())
        if not ({"id"} < header <= COLUMNS and ("label" in header) != ("index" in header)):
            raise invalid("body", "the header names id, label or index, and perhaps replace")
        return [_row(row) for row in rows]
    except (UnicodeDecodeError, csv.Error) as error:
        raise invalid("body", f"not CSV: {error}") from error


def _row(row: dict[str | Any, str | Any]) -> Any:
    if None in row or None in row.values():
        return FieldError(field="row", message="not as many values as the header has")
    item: dict[str, Any] = {key: value for key, value in row.items() if key != "index"}
    if "index" in row:
        digits = row["index"].strip()
        item["label"] = int(digits) if digits.isdecimal() and len(digits) < 10 else digits
        if isinstance(item["label"], str):
            return FieldError(field="index", message=f"no number: {digits[:100]!a}")
    if item.get("replace") == "":
        del item["replace"]
    return item


def _read(place: int, item: Any) -> tuple[str | None, Read]:
    if isinstance(item, FieldError):
        return None, FieldError(field=f"{place}.{item.field}", message=item.message)
    named = item.get("id") if isinstance(item, dict) else None
    identity = named[:100] if isinstance(named, str) else None
    try:
        return identity, LabelItem.model_validate(item)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else ""
        return identity, FieldError(field=f"{place}.{field}".rstrip("."), message=first["msg"])
