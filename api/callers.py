"""Who asks, and what they may do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends

from store.tables import DEFAULT_PROJECT

Scope = Literal["jobs:read", "jobs:write", "models:read", "predict", "admin"]


@dataclass(frozen=True)
class Caller:
    """Somebody who may use a route, and the project that they see."""

    project: str
    key_id: str | None


def needs(scope: Scope) -> Callable[..., Caller]:
    """A dependency that lets only callers with `scope` pass."""

    def caller() -> Caller:
        return Caller(DEFAULT_PROJECT, None)

    return caller


JobsReader = Annotated[Caller, Depends(needs("jobs:read"))]
JobsWriter = Annotated[Caller, Depends(needs("jobs:write"))]
ModelsReader = Annotated[Caller, Depends(needs("models:read"))]
Predicting = Annotated[Caller, Depends(needs("predict"))]
Admin = Annotated[Caller, Depends(needs("admin"))]
