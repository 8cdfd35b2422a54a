"""Routes for the prediction log: predictions and the labels given to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from api.access.callers import ModelsReader
from api.models.routes import known_alias
from api.predict.prediction_log import OCTETS
from api.predict.record_schemas import PredictionRecord, TruthView
from api.predict.state import PredictionsDep, PredictionsState
from api.web.identifiers import known_shape
from api.web.schemas import Cursor, Limit, Page
from store.artifacts.rows import get_artifact
from store.errors import NotFound
from store.predictions import log as store
from store.tables import Prediction

router = APIRouter(prefix="/predictions", tags=["predictions"])


@router.get("")
def list_predictions(
    state: PredictionsDep,
    caller: ModelsReader,
    model: Annotated[str | None, Query(max_length=100, description="An alias.")] = None,
    labelled: Annotated[bool | None, Query(description="Only with a label, or without.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[PredictionRecord]:
    """Predictions that were logged, newest first."""
    alias = known_alias(model) if model is not None else None
    state.log.flush()
    with state.database.reading() as session:
        page = store.list_predictions(
            session, caller.project, alias=alias, labelled=labelled, cursor=cursor, limit=limit
        )
        names = store.class_names(session, [row.checkpoint_id for row in page.data])
    data = [view(row, names[row.checkpoint_id]) for row in page.data]
    return Page(data=data, next_cursor=page.next_cursor)


@router.get("/{prediction_id}")
def get_prediction(
    prediction_id: str, state: PredictionsDep, caller: ModelsReader
) -> PredictionRecord:
    """One prediction that was logged."""
    return read(state, caller.project, known_shape("prediction", prediction_id))


@router.get(
    "/{prediction_id}/image",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "The image as it was sent.",
            "content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
def get_image(prediction_id: str, state: PredictionsDep, caller: ModelsReader) -> StreamingResponse:
    """The image of a prediction, where its model keeps them."""
    identity = known_shape("prediction", prediction_id)
    state.log.flush()
    with state.database.reading() as session:
        row = store.get_prediction(session, caller.project, identity)
        if row.image_artifact_id is None:
            raise NotFound("image of", identity)
        reference = get_artifact(session, row.image_artifact_id).ref
    headers = {"Content-Disposition": f'attachment; filename="{identity}"'}
    return StreamingResponse(state.artifacts.open(reference), headers=headers, media_type=OCTETS)


def read(state: PredictionsState, project: str, prediction_id: str) -> PredictionRecord:
    """A prediction as the API shows it.

    Raises:
        NotFound: the project has none.
    """
    state.log.flush()
    with state.database.reading() as session:
        row = store.get_prediction(session, project, prediction_id)
        names = store.class_names(session, [row.checkpoint_id])
    return view(row, names[row.checkpoint_id])


def view(row: Prediction, classes: Sequence[str]) -> PredictionRecord:
    """A logged prediction of a checkpoint with these classes, as the API shows it."""
    truth = None
    if row.truth is not None:
        truth = TruthView(
            label=classes[row.truth.class_index],
            index=row.truth.class_index,
            given_at=row.truth.given_at,
            changed_at=row.truth.changed_at,
        )
    return PredictionRecord(
        id=row.id,
        model=row.alias,
        checkpoint_id=row.checkpoint_id,
        calibrator_id=row.calibrator_id,
        label=classes[row.class_index],
        index=row.class_index,
        confidence=row.confidence,
        raw_confidence=row.raw_confidence,
        shift=row.shift,
        log_rate=row.log_rate,
        image=row.image_artifact_id is not None,
        created_at=row.created_at,
        truth=truth,
    )
