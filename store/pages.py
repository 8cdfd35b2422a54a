"""Pages of a list, newest first, by keyset: what is added meanwhile moves nothing."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, or_
from sqlalchemy.orm import InstrumentedAttribute, Session

from store.errors import BadCursor

Row = TypeVar("Row")
KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Some rows, and the cursor of those that follow, or None at the end."""

    data: Sequence[Row]
    next_cursor: str | None


def fetch_page(
    session: Session,
    query: Select[Row],
    key: InstrumentedAttribute[str],
    *,
    cursor: str | None,
    limit: int,
    newest_first: bool = True,
) -> Page[Row]:
    """A page of `query`, ordered by `key`.

    Raises:
        BadCursor: not a cursor of ours.
    """
    if cursor is not None:
        last = decode_cursor(cursor)
        query = query.where(key < last if newest_first else key > last)
    query = query.order_by(key.desc() if newest_first else key.asc()).limit(limit + 1)
    rows = list(session.scalars(query).unique())
    more = len(rows) > limit
    rows = rows[:limit]
    next_cursor = encode_cursor(_key_of(rows[-1], key)) if more else None
    return Page(rows, next_cursor)


def has_in(text: str, *places: InstrumentedAttribute[Any]) -> ColumnElement[bool]:
    """Whether a text stands in one of these columns, in whatever case; `%` and `_` are letters."""
    return or_(*(place.icontains(text, autoescape=True) for place in places))


def _key_of(row: Any, key: InstrumentedAttribute[str]) -> str:
    return str(getattr(row, key.key))


def encode_cursor(key: str) -> str:
    """A cursor behind what has this key."""
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def offset_of(cursor: str | None) -> int:
    """How many rows of a list come before a page, where a cursor is made of just that.

    Raises:
        BadCursor: not a cursor of ours.
    """
    if cursor is None:
        return 0
    text = decode_cursor(cursor)
    if not text.isdecimal() or len(text) > 12:
        raise BadCursor("not a cursor that this service handed out")
    return int(text)


def decode_cursor(cursor: str) -> str:
    """The key that a cursor was made of.

    Raises:
        BadCursor: not a cursor of ours.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        key = base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True).decode(
            "ascii"
        )
    except (UnicodeError, binascii.Error) as error:
        raise BadCursor("not a cursor that this service handed out") from error
    if not KEY.fullmatch(key):
        raise BadCursor("not a cursor that this service handed out")
    return key
