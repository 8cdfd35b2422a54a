"""What the requests of all subjects share; the `state.py` of a subject has what its own share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, cast

from fastapi import Depends, Request
from prometheus_client import CollectorRegistry

from api.settings import ApiSettings
from store.artifacts import ArtifactStore
from store.database import Database


@dataclass
class Context:
    """What every subject of one API process shares.

    Attributes:
        registry: of measurements; one per application, so that two in one process do not collide.
        draining: whether it will stop soon; only readiness says so.
        stopping: whether it is ending what is under way.
    """

    settings: ApiSettings
    database: Database
    artifacts: ArtifactStore
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    draining: Callable[[], bool] = lambda: False
    stopping: Callable[[], bool] = lambda: False

    def leaving(self) -> bool:
        """Whether this process was told to stop."""
        return self.draining() or self.stopping()

    @property
    def scratch(self) -> Path:
        """Where bodies of requests wait to be looked at."""
        return self.settings.data_dir / "scratch"


class SubjectState:
    """What the requests about one subject share, on top of what all of them do."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.settings = context.settings
        self.database = context.database
        self.artifacts = context.artifacts


# Not in a thread, where FastAPI runs what is not async.
async def _context(request: Request) -> Context:
    return cast(Context, request.app.state.context)


ContextDep = Annotated[Context, Depends(_context)]
