"""What requests about models share."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Request

from api.context import Context, SubjectState
from api.inference.cache import CheckpointCache
from api.models.calibrators import CalibratorCache
from api.models.targets import ModelTargets


class ModelsState(SubjectState):
    """Checkpoints on this machine, and what answers are made with beside them."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.checkpoints = CheckpointCache(context.settings, context.database, context.artifacts)
        self.calibrators = CalibratorCache(context.database, self.checkpoints)
        self.targets = ModelTargets(context.database)

    def close(self) -> None:
        """End the threads that look things up."""
        self.targets.close()


# Not in a thread, where FastAPI runs what is not async.
async def _state(request: Request) -> ModelsState:
    return cast(ModelsState, request.app.state.models)


ModelsDep = Annotated[ModelsState, Depends(_state)]
