"""Routes for models, that is, aliases: names that point to checkpoints."""

from __future__ import annotations

import re

from fastapi import APIRouter
from sqlalchemy.orm import Session

from api.access.callers import Asking, JobsWriter, ModelsReader
from api.context import ContextDep
from api.models.schemas import Alias, AliasChangeView, AliasRequest, AliasView, LoggingRequest
from api.models.targets import ModelTarget
from api.web.identifiers import known_shape
from api.web.problems import invalid
from api.web.schemas import Cursor, Limit, Page
from store.database import Database
from store.errors import Gone, NotFound
from store.models import aliases as store
from store.models.calibrators import served_as
from store.models.checkpoints import get_checkpoint
from store.retention.deletion import keep_there
from store.tables import ModelAlias

router = APIRouter(prefix="/models", tags=["models"])
SHAPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@router.put("/{alias}")
def put_alias(
    alias: Alias, body: AliasRequest, context: ContextDep, caller: JobsWriter
) -> AliasView:
    """Point an alias at a checkpoint, new or not. Requests under way finish on the old one."""
    with context.database.session() as session:
        try:
            wanted = known_shape("checkpoint", body.checkpoint)
            keep_there(session, get_checkpoint(session, caller.project, wanted))
        except Gone:
            raise invalid("checkpoint", f"{body.checkpoint} has been deleted") from None
        except NotFound:
            raise invalid("checkpoint", f"no checkpoint {body.checkpoint!a}") from None
        calibrator = None
        if body.calibrator is not None:
            calibrator = _calibrator(session, caller.project, body.checkpoint, body.calibrator)
        row = store.set_alias(
            session,
            caller.project,
            alias,
            body.checkpoint,
            calibrator,
            log_rate=body.log_rate,
            log_images=body.log_images,
        )
        return view(row)


@router.patch("/{alias}")
def patch_alias(
    alias: str, body: LoggingRequest, context: ContextDep, caller: JobsWriter
) -> AliasView:
    """Choose which of its predictions are logged from now on."""
    with context.database.session() as session:
        row = store.set_logging(
            session,
            caller.project,
            known_alias(alias),
            log_rate=body.log_rate,
            log_images=body.log_images,
        )
        return view(row)


@router.get("")
def list_aliases(
    context: ContextDep, caller: Asking, cursor: Cursor = None, limit: Limit = 50
) -> Page[AliasView]:
    """Aliases by name."""
    with context.database.reading() as session:
        page = store.list_aliases(session, caller.project, cursor=cursor, limit=limit)
        return Page(data=[view(row) for row in page.data], next_cursor=page.next_cursor)


@router.get("/{alias}")
def get_alias(alias: str, context: ContextDep, caller: Asking) -> AliasView:
    """Where an alias points."""
    with context.database.reading() as session:
        return view(store.get_alias(session, caller.project, known_alias(alias)))


@router.get("/{alias}/history")
def list_history(
    alias: str, context: ContextDep, caller: ModelsReader, cursor: Cursor = None, limit: Limit = 50
) -> Page[AliasChangeView]:
    """Where an alias pointed before, newest first: to go back there, `PUT` it."""
    with context.database.reading() as session:
        store.get_alias(session, caller.project, known_alias(alias))
        page = store.page_of_history(session, caller.project, alias, cursor=cursor, limit=limit)
        data = [AliasChangeView.model_validate(row) for row in page.data]
        return Page(data=data, next_cursor=page.next_cursor)


@router.delete("/{alias}", status_code=204)
def delete_alias(alias: str, context: ContextDep, caller: JobsWriter) -> None:
    """Remove an alias; its checkpoint stays."""
    with context.database.session() as session:
        store.delete_alias(session, caller.project, known_alias(alias))


def known_alias(alias: str) -> str:
    """The alias itself, if it can exist at all.

    Raises:
        NotFound: it cannot.
    """
    if not SHAPE.fullmatch(alias):
        raise NotFound("model", ascii(alias[:100])[1:-1])
    return alias


def target_of(database: Database, project: str, alias: str) -> ModelTarget:
    """The target of an alias, and which of its answers are logged.

    Raises:
        NotFound: no such alias.
    """
    with database.reading() as session:
        row = store.get_alias(session, project, known_alias(alias))
    return ModelTarget(
        project, alias, row.checkpoint_id, row.calibrator_id, row.log_rate, row.log_images
    )


def view(row: ModelAlias) -> AliasView:
    """A stored alias as the API shows it."""
    return AliasView(
        alias=row.name,
        checkpoint_id=row.checkpoint_id,
        calibrator_id=row.calibrator_id,
        log_rate=row.log_rate,
        log_images=row.log_images,
        updated_at=row.updated_at,
    )


def _calibrator(session: Session, project: str, checkpoint: str, calibrator: str) -> str | None:
    try:
        return served_as(session, project, checkpoint, known_shape("calibrator", calibrator))
    except NotFound:
        message = f"{checkpoint} has no calibrator {calibrator!a}"
        raise invalid("calibrator", message) from None
