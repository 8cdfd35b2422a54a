"""Redaction: values that no log may contain, found by their shape or by their name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"
MAX_DEPTH = 8

NAMES = re.compile(
    r"(?i)(^|[_.-])(password|passwd|passphrase|secret|token|csrf|cookie|authorization|api[_-]?key)$"
)
"""Names of fields whose values are hidden whole."""

SHAPES = (
    # A key's secret behind its id, which is no secret and says whose line this is.
    (re.compile(r"\b(key_[0-9a-z]{26})\.[A-Za-z0-9_-]+"), rf"\1.{HIDDEN}"),
    # The password of a URL. It may hold an @ of its own, so everything up to the last one goes.
    (re.compile(r"(?i)([a-z][a-z0-9+.-]*://[^\s/:@'\"]*):[^\s'\"<>]+@"), rf"\1:{HIDDEN}@"),
    # A user without a password can be a token.
    (re.compile(r"(?i)(https?://)[^\s/:@'\"]+@"), rf"\1{HIDDEN}@"),
    # Secrets of webhooks, as Standard Webhooks writes them.
    (re.compile(r"\bwhsec_[A-Za-z0-9+/_-]+=*"), f"whsec_{HIDDEN}"),
    # Headers, in the ways that they are printed: `Cookie: a=b; c=d`, `b'cookie', b'a=b'`.
    (
        re.compile(
            r"(?i)\b(authorization|cookie|x-csrf-token)(b?['\"]?\s*[:=,]\s*b?)"
            r"(?:'[^']*'|\"[^\"]*\"|[^\r\n'\"]+)"
        ),
        rf"\1\2{HIDDEN}",
    ),
    (re.compile(r"(?i)\b(bearer)\s+[A-Za-z0-9._~+/=-]+"), rf"\1 {HIDDEN}"),
    # Parameters of a connection string or a URL: `password=…`.
    (
        re.compile(
            r"(?i)\b((?:[a-z]+_)*(?:password|passwd|secret|token|api_?key))"
            r"(=|\\*['\"]\s*:\s*)(?:\\*'[^']*'|\\*\"[^\"]*\"|[^\s&;,'\"\\]+)"
        ),
        rf"\1\2{HIDDEN}",
    ),
)


HINT = re.compile(
    "key|://|whsec_|authorization|cookie|csrf|bearer|passw|secret|token", re.IGNORECASE
)
"""Every one of these shapes has one of these in it, in some case."""


def redacted(text: str) -> str:
    """The same text without what looks like a secret."""
    if text.isascii() and not HINT.search(text):  # cases of other letters are less simple
        return text
    for shape, instead in SHAPES:
        text = shape.sub(instead, text)
    return text


def without_secrets(value: Any, name: str = "", depth: int = 0) -> Any:
    """A value as it may be written down: redacted all the way, and made of what JSON has.

    Args:
        name: what it goes under, which can be reason enough to hide it.
        depth: how far down it lies; what lies deeper than `MAX_DEPTH` is written as text.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if NAMES.search(name):
        return HIDDEN
    if isinstance(value, str):
        return redacted(value)
    if depth < MAX_DEPTH and isinstance(value, Mapping):
        return {
            redacted(str(key)): without_secrets(inner, str(key), depth + 1)
            for key, inner in value.items()
        }
    if depth < MAX_DEPTH and isinstance(value, list | tuple | set | frozenset):
        return [without_secrets(inner, "", depth + 1) for inner in value]
    return redacted(value.decode("utf-8", "replace") if isinstance(value, bytes) else repr(value))
