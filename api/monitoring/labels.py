"""Labels: what images really showed, one by one or many at once."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request

from api.access.callers import Caller, Predicting
from api.monitoring.label_bodies import CSV, JSON, LINES, Read, read_labels
from api.monitoring.label_schemas import (
    LabelItem,
    LabelOutcome,
    LabelOutcomes,
    LabelRequest,
    StoredLabel,
)
from api.monitoring.state import MonitoringDep, MonitoringState
from api.predict.records import read
from api.web.identifiers import ID, known_shape
from api.web.middleware import media_type_of
from api.web.problems import FieldError, problem_of
from store.errors import NotFound, StoreError
from store.ids import age_seconds
from store.predictions.labels import Given, Status, give_labels, not_written

router = APIRouter(tags=["predictions"])
WRITTEN_SECONDS = 1.0
"""How old a prediction may be that another API process has not written yet."""
PAUSE_SECONDS = 0.02
EXAMPLE = {"id": f"pred_{26 * '0'}", "label": "seven"}
TEXT = {"schema": {"type": "string"}}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            # Any items: those that are no labels are refused one by one.
            JSON: {"schema": {"type": "array", "items": {}, "examples": [[EXAMPLE]]}},
            LINES: TEXT,
            CSV: TEXT,
        },
    }
}


@router.post("/predictions/{prediction_id}/label")
def give_label(
    prediction_id: str, body: LabelRequest, state: MonitoringDep, caller: Predicting
) -> StoredLabel:
    """Say what the image of a prediction really showed.

    The same label again changes nothing; another one is refused unless `replace` is true.
    """
    identity = known_shape("prediction", prediction_id)
    given = Given(identity, body.label, body.replace)
    [outcome] = _give(state, caller, [given])
    if isinstance(outcome, StoreError):
        raise outcome
    record = read(state.predictions, caller.project, identity)
    return StoredLabel(**record.model_dump(), status=outcome.value)


@router.post("/labels", openapi_extra=BODY)
async def give_many(request: Request, state: MonitoringDep, caller: Predicting) -> LabelOutcomes:
    """Say what the images of up to 10,000 predictions really showed.

    An array of `{"id": …, "label": …}`, the same as lines of JSON, or CSV with the columns `id`
    and `label` (a name) or `index`. Labels that are refused do not keep the others from being
    stored.
    """
    media_type = media_type_of(request.headers)
    content = await request.body()
    return await to_thread.run_sync(_give_many, state, caller, content, media_type)


def _give_many(
    state: MonitoringState, caller: Caller, content: bytes, media_type: str
) -> LabelOutcomes:
    items = read_labels(content, media_type)
    readable = [item for _, item in items if isinstance(item, LabelItem)]
    given = [Given(item.id, item.label, item.replace) for item in readable]
    outcomes = iter(_give(state, caller, given))
    data = [
        _shown(place, identity, item, next(outcomes) if isinstance(item, LabelItem) else None)
        for place, (identity, item) in enumerate(items)
    ]
    counts = Counter(each.status for each in data)
    return LabelOutcomes(
        stored=counts["stored"],
        unchanged=counts["unchanged"],
        replaced=counts["replaced"],
        refused=counts["refused"],
        data=data,
    )


def _give(state: MonitoringState, caller: Caller, given: list[Given]) -> list[Status | StoreError]:
    """Store labels; ids that cannot exist are not looked up, whatever characters they have."""
    possible = [each for each in given if ID.fullmatch(each.prediction_id)]
    state.predictions.log.flush()
    _await_others(state, caller.project, {each.prediction_id for each in possible})
    with state.database.session() as session:
        told = iter(give_labels(session, caller.project, possible, key_id=caller.key_id))
    return [
        next(told)
        if ID.fullmatch(each.prediction_id)
        else NotFound("prediction", ascii(each.prediction_id)[1:-1])
        for each in given
    ]


def _await_others(state: MonitoringState, project: str, ids: set[str]) -> None:
    """Wait for predictions so young that another process may not have written them yet."""
    deadline = time.monotonic() + WRITTEN_SECONDS
    while young := {each for each in ids if age_seconds(each) < WRITTEN_SECONDS}:
        with state.database.reading() as session:
            ids = not_written(session, project, young)
        if not ids or time.monotonic() >= deadline:
            return
        time.sleep(PAUSE_SECONDS)


def _shown(
    place: int, identity: str | None, item: Read, outcome: Status | StoreError | None
) -> LabelOutcome:
    if isinstance(item, FieldError):
        return LabelOutcome(id=identity, status="refused", code="invalid_request", error=item)
    if isinstance(outcome, StoreError):
        problem = problem_of(outcome)
        field = "id" if problem.status == 404 else "label"
        error = FieldError(field=f"{place}.{field}", message=problem.detail)
        return LabelOutcome(id=identity, status="refused", code=problem.code, error=error)
    assert outcome is not None
    return LabelOutcome(id=identity, status=outcome.value)
