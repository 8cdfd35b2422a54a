"""What requests about reports share."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import Annotated, cast

from anyio import CapacityLimiter
from cachetools import LRUCache
from fastapi import Depends, Request
from pydantic import BaseModel

from api.context import Context, SubjectState
from api.datasets.state import DatasetsState

ANSWERS = 100
"""Answers about stored logits that are cached."""
ANALYSES = 2


class ReportsState(SubjectState):
    """Answers about stored logits, which never change.

    Attributes:
        answers: by what was asked; to be used under `lock`.
        analyses: of stored logits at the same time; they take processors and memory.
    """

    def __init__(self, context: Context, datasets: DatasetsState) -> None:
        super().__init__(context)
        self.datasets = datasets
        self.answers: LRUCache[Hashable, BaseModel] = LRUCache(ANSWERS)
        self.lock = threading.Lock()
        self.analyses = CapacityLimiter(ANALYSES)


# Not in a thread, where FastAPI runs what is not async.
async def _state(request: Request) -> ReportsState:
    return cast(ReportsState, request.app.state.reports)


ReportsDep = Annotated[ReportsState, Depends(_state)]
