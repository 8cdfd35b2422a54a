"""Predictions with calibrated confidence."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from anyio import to_thread
from fastapi import APIRouter, Request

from api.access.callers import Caller, Predicting
from api.inference.engine import Encoded, Outcome, Predictor, Scored
from api.inference.swaps import Target
from api.models.routes import known_alias
from api.models.targets import ModelTarget
from api.predict.answer import predictions_of, whole_answer
from api.predict.bodies import BODY, Body, TooLarge, read_body
from api.predict.deadlines import Deadline, refusing, while_connected
from api.predict.online import online_of
from api.predict.prediction_log import Said
from api.predict.schemas import Prediction, Predictions, PredictRequest
from api.predict.state import PredictionsState, predictions_state
from api.web.identifiers import known_shape, request_id_of
from api.web.problems import Problem
from carot.answers.schemas import Asked
from carot.errors import UnreadableImage

if TYPE_CHECKING:
    from carot.answers.answering import Answering

router = APIRouter(tags=["predictions"])

REFUSABLE = frozenset(("coverage", "max_risk", "max_shift", "max_unseen", "set_method", "classes"))
"""Fields that ask for what a model may be unable to keep."""
FEW = 4096
"""Probabilities of a request that the event loop deals with itself: a fraction of a millisecond."""
MOST_VOCABULARIES = 8
"""Requests with classes of their own that may wait for a text tower."""


@router.post("/predict", openapi_extra=BODY)
async def predict(
    request: Request,
    caller: Predicting,
    deadline: Deadline = None,
) -> Predictions:
    """Classify images with a model (an alias) or a checkpoint.

    Send files in `images` fields of a form, or base64 text in JSON. An image that cannot be read
    gets an `error` in its place; if none can be read, the request is refused.
    """
    started = time.perf_counter()
    state = predictions_state(request)
    body = await read_body(request, state)
    request_id = request_id_of(request)
    return await answered(request, state, caller, body, request_id, started, deadline)


async def answered(
    request: Request,
    state: PredictionsState,
    caller: Caller,
    body: Body,
    request_id: str,
    started: float,
    deadline: float | None,
) -> Predictions:
    """What is said of a request that was read; also for the inference protocol.

    Args:
        request: to hear of it when the client hangs up.
        started: when the request came, by `time.perf_counter`.
        deadline: see `api.predict.deadlines`.

    Raises:
        Problem: no image could be read, there is no room for so many, the deadline has passed, or
            the client has gone.
        NotFound, CarotError: nothing of this name can be asked, or not for this.
    """
    asked = body.asked
    target = await _target(state, caller.project, asked)
    outcome, rows = await _scored(request, state, target, body, deadline)
    checkpoint, version = outcome.target
    # For a while after an alias has moved, that is what it pointed to before.
    target = target._replace(checkpoint_id=checkpoint, calibrator_id=version)
    answering = await _answering(state, outcome.predictor, outcome.target)
    wanted = await _wanted(state, answering, asked, target)
    predictions = await _said(answering, wanted, body.names, rows)
    _check_any(state, predictions, sum(isinstance(row, UnreadableImage) for row in rows))
    tops = [(p.top[0].raw_confidence, p.top[0].confidence) for p in predictions if p.top]
    # What is measured of a model is about its own classes.
    tops = tops if wanted.vocabulary is None else []
    if wanted.vocabulary is None:
        _log(state, target, predictions, rows, body.images)
    seconds = time.perf_counter() - started
    state.measures.served.record(caller.project, asked.model, checkpoint, seconds, tops)
    return whole_answer(
        answering,
        wanted,
        predictions,
        model=asked.model,
        checkpoint=checkpoint,
        calibrator=version,
        request_id=request_id,
        seconds=seconds,
    )


async def _said(
    answering: Answering,
    wanted: Asked,
    names: Sequence[str],
    rows: Sequence[Scored | UnreadableImage],
) -> list[Prediction]:
    """See `predictions_of`. Few numbers are done with before a thread wakes up."""
    if len(rows) * len(answering.classes) <= FEW and wanted.vocabulary is None:
        return predictions_of(answering, wanted, names, rows)
    return await to_thread.run_sync(predictions_of, answering, wanted, names, rows)


async def _target(state: PredictionsState, project: str, asked: PredictRequest) -> ModelTarget:
    if asked.model is not None:
        return await state.models.targets.of_alias(project, known_alias(asked.model))
    checkpoint = known_shape("checkpoint", asked.checkpoint or "")
    return await state.models.targets.of_checkpoint(project, checkpoint)


def _log(
    state: PredictionsState,
    target: ModelTarget,
    predictions: Sequence[Prediction],
    rows: Sequence[Scored | UnreadableImage],
    images: Sequence[Encoded | UnreadableImage],
) -> None:
    """Log the answers, and give each the id of its logged prediction."""
    answered, said = [], []
    for answer, row, image in zip(predictions, rows, images, strict=True):
        if answer.top and isinstance(row, Scored) and isinstance(image, Encoded):
            top, shift = answer.top[0], answer.shift
            percentile = None if shift is None else shift.percentile
            answered.append(answer)
            said.append(
                Said(
                    top.index,
                    top.confidence,
                    top.raw_confidence,
                    percentile,
                    row.logits_C,
                    image.content,
                )
            )
    for answer, id in zip(answered, state.log.record(target, said), strict=True):
        answer.id = id


async def _scored(
    request: Request,
    state: PredictionsState,
    target: ModelTarget,
    body: Body,
    deadline: float | None,
) -> tuple[Outcome, list[Scored | UnreadableImage]]:
    """What the model makes of each image, or why it makes nothing of it.

    Raises:
        Problem: no image is left to look at, there is no room for so many, the deadline has passed,
            or the client has gone.
    """
    refused = state.measures.refused
    large = sum(isinstance(image, TooLarge) for image in body.images)
    refused.labels("too_large").inc(large)
    good = [image for image in body.images if isinstance(image, Encoded)]
    if not good:
        refused.labels("unreadable").inc(len(body.images) - large)
        raise _none_answered([e for e in body.images if isinstance(e, UnreadableImage)])
    work = state.engine.predict(
        target.checkpoint_id,
        good,
        calibrator=target.calibrator_id,
        alias=None if body.asked.model is None else (target.project, body.asked.model),
        deadline=deadline,
        admit=_admission(state, body.asked, target),
    )
    with refusing(refused, len(good)):
        outcome = await while_connected(request, work)
    found = iter(outcome.rows)
    rows = [next(found) if isinstance(each, Encoded) else each for each in body.images]
    broken = [row for row in rows if isinstance(row, UnreadableImage)]
    refused.labels("unreadable").inc(len(broken) - large)
    if len(broken) == len(rows):
        raise _none_answered(broken)
    return outcome, rows


async def _answering(state: PredictionsState, predictor: Predictor, target: Target) -> Answering:
    """What makes answers, with the version of the calibrator that is served."""
    if target.calibrator is None:
        return predictor.answering
    calibrator = await to_thread.run_sync(state.models.calibrators.calibrator, target.calibrator)
    return predictor.answering.with_calibrator(calibrator)


def _admission(
    state: PredictionsState, asked: PredictRequest, model: ModelTarget
) -> Callable[[Predictor, Target], Awaitable[None]] | None:
    """What refuses, before the model sees an image, what it cannot keep; defaults it always can."""
    if not asked.model_fields_set & REFUSABLE:
        return None

    async def admit(predictor: Predictor, target: Target) -> None:
        answering = await _answering(state, predictor, target)
        served = model._replace(checkpoint_id=target.checkpoint, calibrator_id=target.calibrator)
        wanted = asked.asked(await online_of(state, asked, served))
        await to_thread.run_sync(answering.check, wanted, asked.classes, asked.templates)

    return admit


async def _wanted(
    state: PredictionsState, answering: Answering, asked: PredictRequest, target: ModelTarget
) -> Asked:
    """What is asked of each image, with the text tower's weights for classes that came along."""
    wanted = asked.asked(await online_of(state, asked, target))
    if asked.classes is None:
        return wanted
    if state.texts.statistics().tasks_waiting >= MOST_VOCABULARIES:
        raise _busy("too many requests with classes of their own are waiting already")
    vocabulary = await to_thread.run_sync(
        answering.vocabulary, asked.classes, asked.templates, limiter=state.texts
    )
    return replace(wanted, vocabulary=vocabulary)


def _none_answered(broken: Sequence[UnreadableImage]) -> Problem:
    errors = [(f"images.{i}", error.reason) for i, error in enumerate(broken)]
    return Problem(422, "invalid_data", "no image could be read", errors=errors)


def _check_any(state: PredictionsState, predictions: Sequence[Prediction], unreadable: int) -> None:
    """Refuse to answer where the model failed for every image that it was shown."""
    errors = [(p.error.field, p.error.message) for p in predictions if p.error]
    state.measures.refused.labels("not_finite").inc(len(errors) - unreadable)
    if len(errors) == len(predictions):
        detail = "the model's outputs are not finite numbers; nothing can be said of any image"
        raise Problem(500, "internal", detail, errors=errors)


def _busy(detail: str) -> Problem:
    return Problem(503, "busy", detail, headers={"Retry-After": "1"})
