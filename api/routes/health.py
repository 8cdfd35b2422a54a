"""Is it alive, is it ready, what does it measure, what is there."""

from __future__ import annotations

import os
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel
from sqlalchemy import func, select, text

from api.callers import Admin, AnyKey, Anyone
from api.context import Context, Ctx
from api.openapi import version
from api.problems import Problem
from store.states import JobState
from store.tables import Job

router = APIRouter(tags=["service"])
PROMETHEUS = "text/plain; version=1.0.0; charset=utf-8"


class Live(BaseModel):
    """The event loop answers."""

    status: Literal["live"] = "live"


class Ready(BaseModel):
    """What was looked at, and that all of it is well."""

    status: Literal["ready"] = "ready"
    checks: dict[str, str]


class Index(BaseModel):
    """Where to go from here."""

    name: str = "carot"
    version: str
    links: dict[str, str]


@router.get("/", summary="Index")
async def index(caller: AnyKey) -> Index:
    """Where to go from here."""
    nouns = ("datasets", "jobs", "checkpoints", "reports", "models", "predict")
    more = ("keys", "session", "metrics")
    links = {noun: f"/{noun}" for noun in (*nouns, *more)}
    return Index(version=version(), links=links | {"openapi": "/openapi.json"})


@router.get("/health/live", dependencies=[Anyone])
async def live() -> Live:
    """The process answers."""
    return Live()


@router.get("/health/ready", dependencies=[Anyone])
def ready(context: Ctx) -> Ready:
    """Database and data folder can be used; 503 names what cannot."""
    checks = {"database": _database(context), "data_dir": _data_dir(context)}
    if context.stopping():
        checks["process"] = "stopping"
    wrong = [(name, state) for name, state in checks.items() if state != "ok"]
    if wrong:
        detail = "; ".join(f"{name}: {state}" for name, state in wrong)
        raise Problem(503, "unavailable", detail, errors=wrong, headers={"Retry-After": "5"})
    return Ready(checks=checks)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"description": "Prometheus' text format.", "content": {PROMETHEUS: {}}}},
)
def metrics(context: Ctx, caller: Admin) -> Response:
    """Measurements for Prometheus."""
    with context.database.reading() as session:
        rows = session.execute(select(Job.state, func.count()).group_by(Job.state)).all()
    counted = {str(state): count for state, count in rows}
    context.measures.job_states({state: counted.get(state, 0) for state in JobState})
    return Response(context.measures.text(), media_type=PROMETHEUS)


def _database(context: Context) -> str:
    try:
        with context.database.reading() as session:
            session.execute(text("SELECT 1 FROM jobs LIMIT 1"))
    # Drivers raise what they like; readiness only needs to know that it does not work.
    except Exception as error:  # noqa: BLE001
        return type(error).__name__
    return "ok"


def _data_dir(context: Context) -> str:
    return "ok" if os.access(context.settings.data_dir, os.W_OK) else "not writable"
