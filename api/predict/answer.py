"""Turns a model's outputs into the answer of `/predict`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from api.inference.engine import Scored
from api.predict.schemas import Prediction, Predictions
from api.web.problems import FieldError
from carot.answers.schemas import Asked, NotAnswered
from carot.errors import UnreadableImage

if TYPE_CHECKING:
    from carot.answers.answering import Answering


def predictions_of(
    answering: Answering,
    asked: Asked,
    names: Sequence[str],
    rows: Sequence[Scored | UnreadableImage],
) -> list[Prediction]:
    """The answer for each image, or its error, in order.

    Raises:
        CalibrationError: what was asked for cannot be guaranteed.
    """
    scored = [row for row in rows if not isinstance(row, UnreadableImage)]
    answers = iter(answering.answers(scored, asked))
    made = []
    for i, (name, row) in enumerate(zip(names, rows, strict=True)):
        if isinstance(row, UnreadableImage):
            made.append(without_answer(i, name, row.reason))
            continue
        answer = next(answers)
        if isinstance(answer, NotAnswered):
            made.append(without_answer(i, name, answer.reason))
        else:
            made.append(Prediction(name=name, **dict(answer)))
    return made


def without_answer(place: int, name: str, reason: str) -> Prediction:
    """An image's error in the place of its answer."""
    return Prediction(
        name=name,
        top=[],
        set=None,
        evidence=None,
        shift=None,
        abstain=None,
        abstain_reasons=[],
        missing={},
        error=FieldError(field=f"images.{place}", message=reason),
    )


def whole_answer(
    answering: Answering,
    asked: Asked,
    predictions: list[Prediction],
    *,
    model: str | None,
    checkpoint: str,
    calibrator: str | None = None,
    request_id: str,
    seconds: float,
) -> Predictions:
    """The answers, and what they come from.

    Args:
        calibrator: id of the version that is served, where it is not the checkpoint's own.
        seconds: since the request came.
    """
    vocabulary = answering.served_vocabulary(asked)
    served = answering.served_calibrator(asked, calibrator)
    source = served if vocabulary is None else vocabulary
    return Predictions(
        model=model,
        checkpoint=checkpoint,
        calibrated=answering.calibrated(asked),
        temperature=None if source is None else source.temperature,
        calibrator=served,
        vocabulary=vocabulary,
        limits=answering.limits(asked),
        predictions=predictions,
        request_id=request_id,
        milliseconds=round(1000 * seconds, 2),
    )
