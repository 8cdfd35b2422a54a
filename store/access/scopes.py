"""Scopes: what a key may allow."""

from __future__ import annotations

from collections.abc import Set
from typing import Literal, get_args

Scope = Literal["jobs:read", "jobs:write", "models:read", "predict", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


def allows(scopes: Set[str], wanted: Scope) -> bool:
    """Whether a key with `scopes` may do what `wanted` stands for; `admin` may do everything."""
    return wanted in scopes or "admin" in scopes
