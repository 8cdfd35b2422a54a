"""The application: its subjects, its middleware, its routes, its OpenAPI document."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, FastAPI
from sqlalchemy.exc import SQLAlchemyError
from starlette.middleware import Middleware

import api.access.keys
import api.access.sessions
import api.comparisons.routes
import api.dashboard.routes
import api.datasets.routes
import api.jobs.event_stream
import api.jobs.predictions
import api.jobs.routes
import api.models.checkpoints
import api.models.routes
import api.monitoring.labels
import api.monitoring.routes
import api.operations.routes
import api.predict.records
import api.predict.routes
import api.presets.routes
import api.protocol_v2.routes
import api.reports.routes
import api.webhooks.routes
import api.workers.routes
from api import openapi
from api.access.authentication import Authentication, AuthenticationMiddleware
from api.access.callers import OpenRoutes
from api.access.state import AccessState
from api.context import Context
from api.dashboard.files import Dashboard
from api.datasets.state import DatasetsState
from api.jobs.state import JobsState
from api.models.state import ModelsState
from api.monitoring.state import MonitoringState
from api.operations.state import OperationsState
from api.predict.state import PredictionsState
from api.reports.state import ReportsState
from api.settings import ApiSettings
from api.web import problems
from api.web.addresses import Allowed
from api.web.head import HeadAsGet
from api.web.middleware import BodyLimit, RequestContext
from api.web.prometheus import RequestMeasures
from api.web.uploads import clean_scratch
from api.web.version import version
from api.webhooks.sender import Sender
from api.webhooks.state import WebhooksState
from api.webhooks.targets import Targets
from store import logs
from store.artifacts import open_store
from store.database import Database
from store.settings import Settings
from store.sweeper import Sweeper

SUBJECTS = (
    api.predict.routes.router,  # first, since routes are tried in this order
    api.protocol_v2.routes.router,
    api.datasets.routes.router,
    api.jobs.routes.router,
    api.jobs.architectures.router,
    api.jobs.predictions.router,
    api.jobs.event_stream.router,
    api.presets.routes.router,
    api.models.checkpoints.router,
    api.comparisons.routes.router,
    api.reports.routes.router,
    api.models.routes.router,
    api.monitoring.routes.router,
    api.monitoring.labels.router,
    api.predict.records.router,
    api.webhooks.routes.router,
    api.workers.routes.router,
    api.access.keys.router,
    api.access.sessions.router,
    api.operations.routes.router,
    api.dashboard.routes.router,
)
ROUTES = APIRouter()
"""Made once: they are the same whatever the settings are, and making them takes long."""
for _router in SUBJECTS:
    ROUTES.include_router(_router)
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
    database = Database(chosen.database_url)
    context = Context(chosen, database, open_store(chosen, database))
    measures = RequestMeasures(context.registry)
    access = AccessState(context)
    authentication = Authentication(database, access.rates, access.hosts, insecure=chosen.insecure)
    app = FastAPI(
        title="CaRot",
        summary="Calibrated fine-tuning of CLIP models, and calibrated predictions.",
        version=version(),
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        routes=ROUTES.routes,
        lifespan=_lifespan,
        middleware=_middleware(context, measures, authentication),
        separate_input_output_schemas=True,
    )
    app.state.context = context
    app.state.authentication = authentication
    app.state.access = access
    _add_subjects(app, context)
    problems.install(app)
    authentication.open_routes = OpenRoutes(app)
    openapi.install(app)
    return app


def _api_settings(settings: Settings | None) -> ApiSettings:
    if settings is None:
        return ApiSettings()
    if isinstance(settings, ApiSettings):
        return settings
    return ApiSettings(**settings.model_dump())


def _add_subjects(app: FastAPI, context: Context) -> None:
    """What the requests about each subject share, under its name; a later one may use earlier."""
    jobs, datasets, models = JobsState(context), DatasetsState(context), ModelsState(context)
    predictions = PredictionsState(context, models)
    monitoring = MonitoringState(context, predictions)
    app.state.jobs, app.state.datasets, app.state.models = jobs, datasets, models
    app.state.predictions, app.state.monitoring = predictions, monitoring
    app.state.reports = ReportsState(context, datasets)
    app.state.operations = OperationsState(context, jobs, monitoring)
    app.state.webhooks = WebhooksState(context)
    app.state.dashboard = Dashboard()


def _middleware(
    context: Context, measures: RequestMeasures, authentication: Authentication
) -> list[Middleware]:
    settings = context.settings

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
        Middleware(RequestContext, measures=measures, draining=context.leaving),
        Middleware(HeadAsGet),
        Middleware(AuthenticationMiddleware, authentication=authentication),
        Middleware(BodyLimit, limit_for=limit_for, pause_seconds=settings.body_pause_seconds),
    ]


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    context: Context = app.state.context
    notifier = app.state.jobs.notifier
    with suppress(SQLAlchemyError):  # else it looks again at the first request
        await to_thread.run_sync(app.state.authentication.look)
    await to_thread.run_sync(notifier.prepare)
    sweeper = Sweeper(context.database, context.settings, notifier.notify)
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
        targets.close()
        for name in ("webhooks", "predictions", "models"):
            getattr(app.state, name).close()
        app.state.authentication.close()
        for name in ("datasets", "jobs"):
            getattr(app.state, name).close()
        context.database.close()
