"""Predictions with calibrated confidence."""

from __future__ import annotations

import base64
import binascii
import json
import time
from typing import Any

import numpy as np
from anyio import to_thread
from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from api.callers import Predicting
from api.context import Context, Ctx, RequestId, known_shape
from api.inference.batcher import Busy
from api.inference.engine import Encoded, Outcome
from api.middleware import media_type_of
from api.problems import FieldError, Problem, invalid
from api.recorder import Pointing, Said
from api.routes.models import pointing_of
from api.schemas.predictions import Guess, Prediction, Predictions, PredictRequest
from carot.errors import UnreadableImage
from store.checkpoints import get_checkpoint
from store.deletion import check_there

router = APIRouter(tags=["predictions"])
TEXT = {"type": "string"}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["images"],
                    "properties": {
                        "images": {"type": "array", "items": TEXT | {"format": "binary"}},
                        "model": TEXT,
                        "checkpoint": TEXT,
                        "top_k": {"type": "integer", "minimum": 1, "maximum": 1000},
                    },
                }
            },
            "application/json": {"schema": PredictRequest.model_json_schema()},
        },
    }
}


@router.post("/predict", openapi_extra=BODY)
async def predict(
    request: Request, context: Ctx, caller: Predicting, request_id: RequestId
) -> Predictions:
    """Classify images with a model (an alias) or a checkpoint.

    Send files in `images` fields of a form, or base64 text in JSON. An image that cannot be read
    gets an `error` in its place; if none can be read, the request is refused.
    """
    started = time.perf_counter()
    asked, images = await _read(request, context)
    if (asked.model is None) == (asked.checkpoint is None):
        raise invalid("model", "give exactly one of model and checkpoint")
    pointing = None
    if asked.model is not None:
        pointing = await to_thread.run_sync(pointing_of, context, caller.project, asked.model)
        checkpoint = pointing.checkpoint_id
    else:
        checkpoint = await to_thread.run_sync(_checkpoint, context, caller.project, asked)
    measures = context.measures
    try:
        outcome = await context.engine.predict(checkpoint, images)
    except Busy:
        measures.refused.labels("busy").inc(len(images))
        raise Problem(
            503, "busy", "too many images are waiting already", headers={"Retry-After": "1"}
        ) from None
    predictions = _answers(outcome, images, asked.top_k)
    measures.refused.labels("unreadable").inc(sum(p.error is not None for p in predictions))
    if all(prediction.error for prediction in predictions):
        errors = [(p.error.field, p.error.message) for p in predictions if p.error]
        raise Problem(422, "invalid_data", "no image could be read", errors=errors)
    tops = [(p.top[0].raw_confidence, p.top[0].confidence) for p in predictions if p.top]
    if pointing is not None:
        _log(context, pointing, predictions, outcome, images)
    seconds = time.perf_counter() - started
    measures.served.record(caller.project, asked.model, checkpoint, seconds, tops)
    return Predictions(
        model=asked.model,
        checkpoint=checkpoint,
        calibrated=outcome.predictor.calibrated,
        temperature=outcome.predictor.temperature,
        predictions=predictions,
        request_id=request_id,
        milliseconds=round(1000 * seconds, 2),
    )


def _checkpoint(context: Context, project: str, asked: PredictRequest) -> str:
    with context.database.reading() as session:
        wanted = known_shape("checkpoint", asked.checkpoint or "")
        row = get_checkpoint(session, project, wanted)
        check_there(row)
        return row.id


def _log(
    context: Context,
    pointing: Pointing,
    predictions: list[Prediction],
    outcome: Outcome,
    images: list[Encoded],
) -> None:
    """Remember what was answered, and tell each answer the id under which it will be found."""
    said, answered = [], []
    for answer, row, image in zip(predictions, outcome.rows, images, strict=True):
        if isinstance(row, UnreadableImage):
            continue
        top = answer.top[0]
        said.append(Said(top.index, top.confidence, top.raw_confidence, None, row, image.content))
        answered.append(answer)
    for answer, id in zip(answered, context.recorder.record(pointing, said), strict=True):
        answer.id = id


async def _read(request: Request, context: Context) -> tuple[PredictRequest, list[Encoded]]:
    media_type = media_type_of(request.headers)
    limit = context.settings.max_images
    if media_type == "multipart/form-data":
        async with request.form(max_files=limit, max_fields=8) as form:
            images = [
                Encoded(file.filename or f"images.{i}", await file.read())
                for i, file in enumerate(form.getlist("images"))
                if isinstance(file, UploadFile)
            ]
            asked = _validated(_form_values(form, len(images)))
    elif media_type == "application/json":
        asked, images = await to_thread.run_sync(_decode_json, await request.body(), limit)
    else:
        raise Problem(415, "unsupported_media_type", "send multipart/form-data or application/json")
    for i, image in enumerate(images):
        if len(image.content) > context.settings.max_image_bytes:
            context.measures.refused.labels("too_large").inc()
            raise invalid(f"images.{i}", f"more than {context.settings.max_image_bytes} bytes")
    return asked, images


def _form_values(form: FormData, images: int) -> dict[str, object]:
    if images == 0:
        raise invalid("images", "the form has no files of this name")
    values: dict[str, object] = {
        name: value
        for name in ("model", "checkpoint", "top_k")
        if isinstance(value := form.get(name), str) and value
    }
    return values | {"images": ["form"] * images}


def _decode_json(raw: bytes, limit: int) -> tuple[PredictRequest, list[Encoded]]:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Problem(400, "invalid_json", f"the body is not JSON: {error}") from error
    asked = _validated(document)
    if len(asked.images) > limit:
        raise invalid("images", f"at most {limit} images in one request")
    images = []
    for i, text in enumerate(asked.images):
        try:
            content = base64.b64decode(text.encode("ascii"), validate=True)
        except (binascii.Error, UnicodeEncodeError) as error:
            raise invalid(f"images.{i}", f"not base64: {error}") from error
        images.append(Encoded(f"images.{i}", content))
    return asked, images


def _validated(document: object) -> PredictRequest:
    try:
        return PredictRequest.model_validate(document)
    except ValidationError as error:
        pairs = [(".".join(map(str, e["loc"])) or "body", e["msg"]) for e in error.errors()]
        detail = f"{pairs[0][0]}: {pairs[0][1]}"
        raise Problem(422, "invalid_request", detail, errors=pairs[:100]) from error


def _answers(outcome: Outcome, images: list[Encoded], top_k: int) -> list[Prediction]:
    predictor = outcome.predictor
    good = [row for row in outcome.rows if not isinstance(row, UnreadableImage)]
    confidences = iter(zip(*predictor.confidences(np.stack(good)), strict=True) if good else ())
    answers = []
    for i, (image, row) in enumerate(zip(images, outcome.rows, strict=True)):
        if isinstance(row, UnreadableImage):
            error = FieldError(field=f"images.{i}", message=row.reason)
            answers.append(Prediction(name=image.name, top=[], error=error))
            continue
        raw_C, calibrated_C = next(confidences)
        top = np.argsort(-row, kind="stable")[:top_k]
        guesses = [
            Guess(
                label=predictor.classes[c],
                index=int(c),
                confidence=float(calibrated_C[c]),
                raw_confidence=float(raw_C[c]),
                logit=float(row[c]),
            )
            for c in top
        ]
        answers.append(Prediction(name=image.name, top=guesses))
    return answers
