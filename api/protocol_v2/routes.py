"""The Open Inference Protocol V2: health, metadata and inference for clients that speak it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Request, Response

from api.access.callers import AnyKey, Anyone, Predicting
from api.models.routes import known_alias
from api.operations.routes import ready as check_ready
from api.operations.state import OperationsDep
from api.predict.deadlines import Deadline
from api.predict.routes import answered
from api.predict.state import PredictionsDep, PredictionsState
from api.protocol_v2.outputs import metadata
from api.protocol_v2.requests import INPUT, Inference, parse, read_raw
from api.protocol_v2.responses import answer
from api.protocol_v2.schemas import (
    InferenceRequest,
    InferenceResponse,
    ModelMetadata,
    ModelReady,
    ServerLive,
    ServerMetadata,
    ServerReady,
    TensorMetadata,
)
from api.web.identifiers import RequestId
from api.web.version import version as own_version
from store.errors import NotFound
from store.models.aliases import alias_history, get_alias
from store.models.checkpoints import get_checkpoint
from store.retention.deletion import check_there

router = APIRouter(prefix="/v2", tags=["inference protocol"])
EXTENSIONS = ["binary_tensor_data"]
BINARY = {"schema": {"type": "string", "format": "binary"}}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": InferenceRequest.model_json_schema()},
            "application/octet-stream": BINARY,
        },
    }
}
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "model": InferenceResponse,
        "description": "With binary data behind the JSON where it was asked for.",
        "content": {"application/octet-stream": BINARY},
    }
}


@dataclass(frozen=True)
class Model:
    """An alias and one of its versions.

    Attributes:
        checkpoint: the version.
        classes: how many it tells apart.
        current: whether the alias points to it.
        versions: all that are there, the one that the alias points to first.
    """

    alias: str
    checkpoint: str
    classes: int
    current: bool
    versions: list[str]


def _model(state: PredictionsState, project: str, alias: str, version: str | None) -> Model:
    with state.database.reading() as session:
        row = get_alias(session, project, known_alias(alias))
        past = [change.checkpoint_id for change in alias_history(session, project, alias)]
        known = dict.fromkeys([row.checkpoint_id, *(each for each in past if each is not None)])
        wanted = version or row.checkpoint_id
        if wanted not in known:
            raise NotFound(f"version of model {alias!r}", ascii(wanted[:100])[1:-1])
        rows = {each: get_checkpoint(session, project, each) for each in known}
        check_there(rows[wanted])
        return Model(
            alias,
            wanted,
            len(rows[wanted].classes),
            wanted == row.checkpoint_id,
            [each for each, found in rows.items() if found.deleted_at is None],
        )


def _newest(alias: str, state: PredictionsDep, caller: Predicting) -> Model:
    """The model of a path, looked up before anything of a body is read.

    Raises:
        NotFound: no such alias.
        Gone: its checkpoint was deleted.
    """
    return _model(state, caller.project, alias, None)


def _of_version(alias: str, version: str, state: PredictionsDep, caller: Predicting) -> Model:
    """The same, of a checkpoint that the alias points to or has pointed to.

    Raises:
        NotFound: no such alias, or it never pointed to this one.
        Gone: the checkpoint was deleted.
    """
    return _model(state, caller.project, alias, version)


Newest = Annotated[Model, Depends(_newest)]
OfVersion = Annotated[Model, Depends(_of_version)]


@router.get("")
def server(caller: AnyKey) -> ServerMetadata:
    """What this server is, and which extensions of the protocol it knows."""
    return ServerMetadata(version=own_version(), extensions=EXTENSIONS)


@router.get("/health/live", dependencies=[Anyone])
async def live() -> ServerLive:
    """The process answers."""
    return ServerLive(live=True)


@router.get("/health/ready", dependencies=[Anyone])
def ready(state: OperationsDep) -> ServerReady:
    """As `/health/ready`: 503 where requests cannot be answered."""
    check_ready(state)
    return ServerReady(ready=True)


@router.get("/models/{alias}")
def describe(model: Newest, caller: Predicting) -> ModelMetadata:
    """What a model takes and gives, and its versions, which are checkpoints."""
    return _metadata(model)


@router.get("/models/{alias}/versions/{version}")
def describe_version(model: OfVersion, caller: Predicting) -> ModelMetadata:
    """What a version takes and gives."""
    return _metadata(model)


@router.get("/models/{alias}/ready")
def model_ready(model: Newest, caller: Predicting) -> ModelReady:
    """A model that is there can be asked; the first request may wait until it is in memory."""
    return ModelReady(name=model.alias, ready=True)


@router.get("/models/{alias}/versions/{version}/ready")
def version_ready(model: OfVersion, caller: Predicting) -> ModelReady:
    """The same of a version."""
    return ModelReady(name=model.alias, ready=True)


@router.post("/models/{alias}/infer", openapi_extra=BODY, responses=ANSWERS)
async def infer(
    request: Request,
    model: Newest,
    state: PredictionsDep,
    caller: Predicting,
    request_id: RequestId,
    deadline: Deadline = None,
) -> Response:
    """Classify images as `POST /predict` does; answers come as tensors.

    An image that cannot be read has its reason in `error`, no label and confidence 0; if none can
    be read, the request is refused.
    """
    started = time.perf_counter()
    asked = await _parsed(request, state)
    body = asked.body(model=model.alias)
    found = await answered(request, state, caller, body, request_id, started, deadline)
    classes = model.classes
    if found.checkpoint != model.checkpoint:  # just before or after the alias moved
        classes = await to_thread.run_sync(_classes, state, caller.project, found.checkpoint)
    return await to_thread.run_sync(answer, found, asked, model.alias, classes)


@router.post("/models/{alias}/versions/{version}/infer", openapi_extra=BODY, responses=ANSWERS)
async def infer_version(
    request: Request,
    model: OfVersion,
    state: PredictionsDep,
    caller: Predicting,
    request_id: RequestId,
    deadline: Deadline = None,
) -> Response:
    """The same of a version: by the alias where it points to it, else of the checkpoint itself."""
    started = time.perf_counter()
    asked = await _parsed(request, state)
    subject = {"model": model.alias} if model.current else {"checkpoint": model.checkpoint}
    body = asked.body(**subject)
    found = await answered(request, state, caller, body, request_id, started, deadline)
    if found.checkpoint != model.checkpoint:
        # While an alias moves, what it pointed to before may answer; here a version was named.
        body = asked.body(checkpoint=model.checkpoint)
        found = await answered(request, state, caller, body, request_id, started, deadline)
    return await to_thread.run_sync(answer, found, asked, model.alias, model.classes)


def _metadata(model: Model) -> ModelMetadata:
    return ModelMetadata(
        name=model.alias,
        versions=model.versions,
        inputs=[TensorMetadata(name=INPUT, datatype="BYTES", shape=[-1])],
        outputs=metadata(model.classes),
    )


async def _parsed(request: Request, state: PredictionsState) -> Inference:
    raw, length = await read_raw(request)
    settings = state.settings
    return await to_thread.run_sync(
        lambda: parse(raw, length, most=settings.max_images, largest=settings.max_image_bytes)
    )


def _classes(state: PredictionsState, project: str, checkpoint: str) -> int:
    with state.database.reading() as session:
        return len(get_checkpoint(session, project, checkpoint).classes)
