"""The application: its parts, its middleware, its routes, its OpenAPI document."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from anyio import to_thread
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError
from starlette.middleware import Middleware

from api import openapi, problems
from api.callers import OpenRoutes
from api.context import Context
from api.door import Door, DoorCheck
from api.doorbell import Doorbell
from api.hosts import Hosts
from api.inference.cache import CheckpointCache
from api.inference.defaults import best_batch, best_wait, models_share
from api.inference.engine import Engine
from api.live import Live
from api.measures import Measures
from api.middleware import BodyLimit, RequestContext
from api.pointings import Pointings
from api.rates import Rates
from api.readiness import Readiness
from api.recorder import Recorder
from api.routes import (
    calibrations,
    checkpoints,
    comparisons,
    dashboard,
    datasets,
    health,
    inference,
    job_predictions,
    jobs,
    keys,
    labels,
    models,
    predictions,
    presets,
    records,
    reports,
    session,
    streams,
    webhooks,
    workers,
)
from api.settings import ApiSettings
from api.uploads import clean_scratch
from api.versions import Versions
from api.webhooks.addresses import Allowed
from api.webhooks.sender import Sender
from api.webhooks.targets import Targets
from carot.data.decoding import DecodeLimits
from store import logs
from store.artifacts import open_store
from store.database import Database
from store.settings import Settings
from store.sweeper import Sweeper

NOUNS = (
    predictions,  # first, since routes are tried in this order
    inference,
    datasets,
    jobs,
    job_predictions,
    streams,
    presets,
    checkpoints,
    comparisons,
    reports,
    models,
    calibrations,
    labels,
    records,
    webhooks,
    workers,
    keys,
    session,
    health,
    dashboard,
)
MULTIPART_ROOM = 1 << 16
STRANGERS_BYTES = 1 << 12
"""What those who have shown no key yet may send, to sign in."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The API as an ASGI application.

    Without settings, as a server calls it, they come from `CAROT_*` variables and logging is set
    up; a caller with settings of its own keeps its own logging.
    """
    chosen = _api_settings(settings)
    if settings is None:
        logs.configure("api", chosen.log_level, chosen.log_format)
    context = _context(chosen, Measures())
    door = Door(context.database, context.rates, context.hosts, insecure=chosen.insecure)
    app = FastAPI(
        title="CaRot",
        summary="Calibrated fine-tuning of CLIP models, and calibrated predictions.",
        version=openapi.version(),
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        middleware=_middleware(chosen, context, door),
        separate_input_output_schemas=True,
    )
    app.state.context = context
    app.state.door = door
    problems.install(app)
    for noun in NOUNS:
        app.include_router(noun.router)
    door.open_routes = OpenRoutes(app)
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

    def memory_bytes() -> int:
        return settings.predict_memory_bytes or models_share(settings.device)

    def batch() -> int:
        return settings.predict_batch or best_batch(settings.device)

    def wait_seconds(pass_seconds: float) -> float:
        chosen = settings.predict_wait_seconds
        return best_wait(settings.device, pass_seconds) if chosen is None else chosen

    engine = Engine(
        cache.load,
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
    targets = Targets(Allowed.of(settings.webhook_allow))
    rates = Rates(settings.rate_per_minute, settings.failures_per_minute)
    hosts = Hosts(settings.allowed_hosts, settings.host)
    doorbell = Doorbell(settings)
    readiness = Readiness(database, doorbell, settings.data_dir, settings.min_free_bytes)
    return Context(
        settings,
        database,
        artifacts,
        doorbell,
        engine,
        measures,
        targets,
        rates,
        hosts,
        readiness,
        Recorder(database, artifacts, measures.registry),
        Versions(database, cache),
        Live(database),
        Pointings(database),
    )


def _middleware(settings: ApiSettings, context: Context, door: Door) -> list[Middleware]:
    def limit_for(path: str, media_type: str) -> int:
        match path.rstrip("/"):
            case "/datasets" if media_type != "application/json":
                return settings.max_upload_bytes + MULTIPART_ROOM
            case "/predict":
                return settings.max_body_bytes
            case inferring if inferring.startswith("/v2/models/") and inferring.endswith("/infer"):
                return settings.max_body_bytes
            case "/session":
                return STRANGERS_BYTES
        return min(settings.max_json_bytes, settings.max_body_bytes)

    return [
        Middleware(RequestContext, measures=context.measures, draining=context.leaving),
        Middleware(DoorCheck, door=door),
        Middleware(BodyLimit, limit_for=limit_for, pause_seconds=settings.body_pause_seconds),
    ]


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    context: Context = app.state.context
    with suppress(SQLAlchemyError):  # else it looks again at the first request
        await to_thread.run_sync(app.state.door.look)
    await to_thread.run_sync(context.doorbell.prepare)
    sweeper = Sweeper(context.database, context.settings, context.doorbell.ring)
    # Its own look-ups: whoever makes webhooks with names that hang holds up no sending.
    targets = Targets(Allowed.of(context.settings.webhook_allow))
    sender = Sender(context.database, context.settings, targets)
    sweeper.start()
    clean_scratch(context.scratch)
    sender.start()
    try:
        yield {}
    finally:
        sender.stop()
        sweeper.stop()
        for each in (targets, context.targets):
            each.close()
        context.engine.close()
        context.recorder.close()
        context.pointings.close()
        app.state.door.close()
        context.thumbnails.close()
        context.doorbell.close()
        context.database.close()
