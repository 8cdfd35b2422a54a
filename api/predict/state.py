"""What requests for predictions share."""

from __future__ import annotations

from typing import Annotated, cast

from anyio import CapacityLimiter
from fastapi import Depends, Request

from api.context import Context, SubjectState
from api.inference.defaults import best_batch, best_wait, models_share
from api.inference.engine import Engine
from api.models.state import ModelsState
from api.predict.prediction_log import PredictionLog
from api.predict.prometheus import PredictionMeasures
from api.settings import ApiSettings
from carot.data.decoding.decoder_client import DecodeLimits


class PredictionsState(SubjectState):
    """The engine that runs models, and the log of what it answered.

    Attributes:
        texts: one request's classes after the other go through a text tower.
    """

    def __init__(self, context: Context, models: ModelsState) -> None:
        super().__init__(context)
        self.models = models
        self.measures = PredictionMeasures(context.registry)
        self.engine = _engine(context.settings, models, self.measures)
        self.log = PredictionLog(context.database, context.artifacts, context.registry)
        self.texts = CapacityLimiter(1)

    def close(self) -> None:
        """End the engine's processes and threads, and write what waits to be logged."""
        self.engine.close()
        self.log.close()


def _engine(settings: ApiSettings, models: ModelsState, measures: PredictionMeasures) -> Engine:
    def memory_bytes() -> int:
        return settings.predict_memory_bytes or models_share(settings.device)

    def batch() -> int:
        return settings.predict_batch or best_batch(settings.device)

    def wait_seconds(pass_seconds: float) -> float:
        chosen = settings.predict_wait_seconds
        return best_wait(settings.device, pass_seconds) if chosen is None else chosen

    return Engine(
        models.checkpoints.load,
        memory_bytes=memory_bytes,
        batch=batch,
        wait_seconds=wait_seconds,
        capacity=settings.predict_queue,
        deadline_seconds=settings.predict_deadline_seconds,
        decoders=settings.decode_processes,
        decoding=DecodeLimits(settings.decode_memory_bytes, settings.decode_seconds),
        on_batch=measures.batch,
        on_wait=measures.wait_seconds.observe,
        on_load=measures.load,
    )


def predictions_state(request: Request) -> PredictionsState:
    """The state. A route that has no time for dependencies asks this."""
    return cast(PredictionsState, request.app.state.predictions)


# Not in a thread, where FastAPI runs what is not async.
async def _state(request: Request) -> PredictionsState:
    return predictions_state(request)


PredictionsDep = Annotated[PredictionsState, Depends(_state)]
