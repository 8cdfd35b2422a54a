"""Routes for operators: liveness, readiness, metrics, index."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Response
from pydantic import BaseModel, Field

from api.access.callers import Admin, AnyKey, Anyone
from api.operations.collector import page
from api.operations.readiness import ESSENTIAL, OK
from api.operations.state import OperationsDep
from api.web.problems import Problem
from api.web.version import version
from store.tables import DEFAULT_PROJECT

router = APIRouter(tags=["service"])
PROMETHEUS = "text/plain; version=1.0.0; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
ASKS_FOR_OPENMETRICS = re.compile(
    r"(^|,)\s*application/openmetrics-text\s*(?![^,]*;\s*q=0(\.0*)?\s*(?:[,;]|$))(?=[,;]|$)",
    re.IGNORECASE,
)


class Live(BaseModel):
    """The event loop answers."""

    status: Literal["live"] = "live"


class Ready(BaseModel):
    """What was looked at, and that all that is needed is well."""

    status: Literal["ready"] = "ready"
    checks: dict[str, str] = Field(description="`ok`, or what is wrong, by the name of the check.")
    degraded: list[str] = Field(
        description="Checks that fail although this process can do its work: without the broker "
        "predictions are answered, and jobs are kept and rung for once it is back."
    )
    models: dict[str, int] = Field(description="Checkpoints in memory: `loaded` and `loading`.")


class Most(BaseModel):
    """How much one request to `/predict` may hold."""

    images: int
    image_bytes: int = Field(description="Of one encoded image; a larger one gets an `error`.")
    body_bytes: int = Field(description="Of all of it.")


class Index(BaseModel):
    """Where to go from here."""

    name: str = "carot"
    version: str
    links: dict[str, str]
    predict: Most


@router.get("/index", summary="Index")
async def index(state: OperationsDep, caller: AnyKey) -> Index:
    """Where to go from here."""
    nouns = ("datasets", "jobs", "checkpoints", "reports", "models", "predict")
    more = ("keys", "session", "metrics", "v2")
    links = {noun: f"/{noun}" for noun in (*nouns, *more)}
    known = state.settings
    most = Most(
        images=known.max_images, image_bytes=known.max_image_bytes, body_bytes=known.max_body_bytes
    )
    return Index(version=version(), links=links | {"openapi": "/openapi.json"}, predict=most)


@router.get("/health/live", dependencies=[Anyone])
async def live() -> Live:
    """The process answers."""
    return Live()


@router.get("/health/ready", dependencies=[Anyone])
def ready(state: OperationsDep) -> Ready:
    """Database and disk can be used, and nobody told this process to stop; else 503 says what."""
    checks = state.readiness.check()
    if state.context.leaving():
        checks["process"] = "stopping"
    wrong = [(name, state) for name, state in checks.items() if state != OK]
    needed = [each for each in wrong if each[0] in ESSENTIAL or each[0] == "process"]
    if needed:
        detail = "; ".join(f"{name}: {state}" for name, state in needed)
        raise Problem(503, "unavailable", detail, errors=wrong, headers={"Retry-After": "5"})
    loaded, loading = state.predictions.engine.models()
    return Ready(
        checks=checks,
        degraded=[name for name, _ in wrong],
        models={"loaded": loaded, "loading": loading},
    )


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {
            "description": "Prometheus' text format, or OpenMetrics for who accepts it.",
            "content": {PROMETHEUS: {}, OPENMETRICS: {}},
        }
    },
)
def metrics(
    state: OperationsDep,
    caller: Admin,
    accept: Annotated[str, Header(max_length=1000, include_in_schema=False)] = "",
) -> Response:
    """Measurements for Prometheus, of all projects: only for `admin` in the project `default`."""
    if caller.project != DEFAULT_PROJECT:
        detail = "the measurements are of all projects; they need `admin` in the project `default`"
        raise Problem(403, "forbidden", detail)
    openmetrics = ASKS_FOR_OPENMETRICS.search(accept) is not None
    media_type = OPENMETRICS if openmetrics else PROMETHEUS
    return Response(
        page(state, openmetrics=openmetrics), headers={"Vary": "Accept"}, media_type=media_type
    )
