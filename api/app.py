"""The application: its parts, its middleware, its routes, its OpenAPI document."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware

from api import logs, openapi, problems
from api.context import Context
from api.doorbell import Doorbell
from api.inference.cache import CheckpointCache
from api.inference.engine import Engine
from api.measures import Measures
from api.middleware import LOOPBACK, BodyLimit, HostCheck, RequestContext
from api.routes import (
    checkpoints,
    datasets,
    health,
    jobs,
    models,
    predictions,
    presets,
    reports,
    streams,
    webhooks,
)
from api.settings import ApiSettings
from api.webhooks.addresses import Allowed
from api.webhooks.sender import Sender
from api.webhooks.targets import Targets
from store.artifacts import open_store
from store.database import Database
from store.settings import Settings
from store.sweeper import Sweeper

NOUNS = (
    datasets, jobs, streams, presets, checkpoints, reports, models, predictions, webhooks, health,
)  # fmt: skip
WILDCARDS = ("0.0.0.0", "::")
MULTIPART_ROOM = 1 << 16


def create_app(settings: Settings | None = None) -> FastAPI:
    """The API as an ASGI application.

    Without settings, as a server calls it, they come from `CAROT_*` variables and logging is set
    up; a caller with settings of its own keeps its own logging.
    """
    chosen = _api_settings(settings)
    if settings is None:
        logs.configure(chosen.log_level)
    measures = Measures()
    app = FastAPI(
        title="CaRot",
        summary="Calibrated fine-tuning of CLIP models, and calibrated predictions.",
        version=openapi.version(),
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        middleware=_middleware(chosen, measures),
        separate_input_output_schemas=True,
    )
    app.state.context = _context(chosen, measures)
    problems.install(app)
    for noun in NOUNS:
        app.include_router(noun.router)
    openapi.install(app)
    return app


def _api_settings(settings: Settings | None) -> ApiSettings:
    if settings is None:
        return ApiSettings()
    if isinstance(settings, ApiSettings):
        return settings
    return ApiSettings(**settings.model_dump())


def _context(settings: ApiSettings, measures: Measures) -> Context:
    database = Database(settings.database_url)
    artifacts = open_store(settings, database)
    cache = CheckpointCache(settings, database, artifacts)
    engine = Engine(
        cache.load,
        models=settings.predict_models,
        batch=settings.predict_batch,
        wait_seconds=settings.predict_wait_seconds,
        capacity=settings.predict_queue,
        on_batch=measures.batch,
    )
    targets = Targets(Allowed.of(settings.webhook_allow))
    return Context(settings, database, artifacts, Doorbell(settings), engine, measures, targets)


def _middleware(settings: ApiSettings, measures: Measures) -> list[Middleware]:
    def limit_for(path: str) -> int:
        uploads = path.rstrip("/") == "/datasets"
        return settings.max_upload_bytes + MULTIPART_ROOM if uploads else settings.max_body_bytes

    layers = [Middleware(RequestContext, measures=measures)]
    hosts = settings.allowed_hosts | LOOPBACK | {settings.host.lower()} - set(WILDCARDS)
    if not settings.insecure:
        layers.append(Middleware(HostCheck, hosts=frozenset(hosts)))
    layers.append(Middleware(BodyLimit, limit_for=limit_for))
    return layers


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    context: Context = app.state.context
    sweeper = Sweeper(context.database, context.settings, context.doorbell.ring)
    # Its own look-ups: whoever makes webhooks with names that hang holds up no sending.
    targets = Targets(Allowed.of(context.settings.webhook_allow))
    sender = Sender(context.database, context.settings, targets)
    sweeper.start()
    sender.start()
    try:
        yield {}
    finally:
        sender.stop()
        sweeper.stop()
        for each in (targets, context.targets):
            each.close()
        context.engine.close()
        context.doorbell.close()
        context.database.close()
