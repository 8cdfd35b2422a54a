"""`carot predict`: images to classes with confidences, and how reliable those are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.client import Client, ServiceError
from cli.options import DEFAULT_URL, AsJson, Url
from cli.output import emit, err

if TYPE_CHECKING:
    from api.inference.engine import Scored
    from api.predict.schemas import PredictRequest
    from carot.errors import UnreadableImage
    from carot.models.classifier import Classifier

BATCH = 32
Asked = dict[str, Any]

Coverage = Annotated[
    float | None,
    typer.Option(help="How often sets contain the right class; 0.9 where that is possible."),
]
SetMethod = Annotated[
    str | None,
    typer.Option(help="How sets are built: lac, aps, raps, saps, mondrian; for a model, online."),
]
MaxRisk = Annotated[
    float | None,
    typer.Option(help="Abstain so that at most this share of the other answers is wrong."),
]
MaxShift = Annotated[
    float | None, typer.Option(help="Abstain where the shift score is above this; else 0.99.")
]
MaxUnseen = Annotated[
    float | None,
    typer.Option(
        help="Abstain where more than this share of the calibration images looks more like the "
        "classes; 0.95 where the checkpoint was compared with unseen classes."
    ),
]
Domain = Annotated[
    str | None, typer.Option(help="Domain of the images, where calibrators differ by it.")
]
Classes = Annotated[
    list[str] | None,
    typer.Option("--class", help="A class instead of the model's own; give two or more."),
]
Templates = Annotated[
    list[str] | None, typer.Option("--template", help="A caption for --class, with one {}.")
]


def predict(
    images: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False)],
    model: Annotated[str | None, typer.Option(help="An alias of the service.")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="A checkpoint of the service.")] = None,
    folder: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="A checkpoint folder; no service needed."),
    ] = None,
    top_k: Annotated[int, typer.Option("--top", min=1, help="Classes to show.")] = 3,
    coverage: Coverage = None,
    set_method: SetMethod = None,
    max_risk: MaxRisk = None,
    max_shift: MaxShift = None,
    max_unseen: MaxUnseen = None,
    domain: Domain = None,
    classes: Classes = None,
    templates: Templates = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Classify images, with calibrated confidence, and say how reliable it is."""
    if sum(option is not None for option in (model, checkpoint, folder)) != 1:
        raise typer.BadParameter("give exactly one of --model, --checkpoint and --folder")
    given = {
        "top_k": top_k,
        "coverage": coverage,
        "set_method": set_method,
        "max_risk": max_risk,
        "max_shift": max_shift,
        "max_unseen": max_unseen,
        "domain": domain,
        "classes": classes or None,
        "templates": templates or None,
    }
    asked = {name: value for name, value in given.items() if value is not None}
    if folder is not None:
        answer = _local(images, folder, asked)
    else:
        answer = _remote(images, url, model, checkpoint, asked)
    if as_json:
        emit(answer)
    else:
        from cli.answers import show

        show(answer)
    if any(prediction["error"] for prediction in answer["predictions"]):
        raise typer.Exit(1)


def _remote(
    images: list[Path], url: str, model: str | None, checkpoint: str | None, asked: Asked
) -> dict[str, Any]:
    with Client(url) as client:

        def ask(batch: list[Path]) -> dict[str, Any]:
            named = [(str(path), path.read_bytes()) for path in batch]
            return client.predict(named, model=model, checkpoint=checkpoint, **asked)

        return _in_batches(images, ask)


def _in_batches(images: list[Path], ask: Callable[[list[Path]], dict[str, Any]]) -> dict[str, Any]:
    """All answers as one; a batch that is refused for its images costs no other its answer."""
    answer: dict[str, Any] | None = None
    predictions: list[dict[str, Any]] = []
    refused: ServiceError | None = None
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        try:
            answer = ask(batch)
            predictions += answer["predictions"]
        except ServiceError as error:
            if (error.problem or {}).get("code") != "invalid_data":
                raise
            refused = error
            predictions += _errors(batch, error.problem or {})
    if answer is None:
        assert refused is not None
        raise refused
    for place, prediction in enumerate(predictions):
        if prediction["error"]:
            prediction["error"]["field"] = f"images.{place}"
    return answer | {"predictions": predictions}


def _errors(batch: list[Path], problem: dict[str, Any]) -> list[dict[str, Any]]:
    from api.predict.answer import without_answer

    reasons = [error["message"] for error in problem["errors"]]
    return [
        without_answer(i, str(path), reason).model_dump(mode="json")
        for i, (path, reason) in enumerate(zip(batch, reasons, strict=True))
    ]


def _local(images: list[Path], folder: Path, asked: Asked) -> dict[str, Any]:
    """What the service would say, by the same code, but for what only a service knows."""
    from api.predict.answer import predictions_of, whole_answer

    request = _request(asked)
    with err.status("loading torch"):
        from carot.answers.answering import Answering
        from carot.models.classifier import Classifier

        classifier = Classifier.load(folder)
    answering, wanted = Answering.of(classifier), request.asked()
    if request.classes is not None:
        vocabulary = answering.vocabulary(request.classes, request.templates)
        wanted = replace(wanted, vocabulary=vocabulary)
    rows = []
    for start in range(0, len(images), BATCH):
        rows += _rows(classifier, images[start : start + BATCH])
    names = [str(path) for path in images]
    answer = whole_answer(
        answering,
        wanted,
        predictions_of(answering, wanted, names, rows),
        model=None,
        checkpoint=str(folder),
        request_id="",
        seconds=0.0,
    )
    return answer.model_dump(mode="json", exclude={"model", "request_id", "milliseconds"})


def _request(asked: Asked) -> PredictRequest:
    """The same limits as over HTTP.

    Raises:
        SpecError: one is passed.
    """
    from pydantic import ValidationError

    from api.predict.bodies import named
    from api.predict.schemas import PredictRequest
    from carot.errors import SpecError

    try:
        return PredictRequest.model_validate({"images": [""], **asked})
    except ValidationError as error:
        field, message = named(error)[0]
        raise SpecError(message, field=field) from error


def _rows(classifier: Classifier, images: list[Path]) -> list[Scored | UnreadableImage]:
    """What the model makes of images that are decoded here, or why they cannot be."""
    import torch

    from api.inference.engine import Scored
    from carot.data.decoding.images import decode_image
    from carot.errors import UnreadableImage

    prepared: list[torch.Tensor | UnreadableImage] = []
    for path in images:
        try:
            image = decode_image(path, str(path), classifier.card.depth)
            prepared.append(classifier.preprocess(image))
        except UnreadableImage as error:
            prepared.append(error)
    good = [each for each in prepared if not isinstance(each, UnreadableImage)]
    scored: Iterator[Scored] = iter(())
    if good:
        logits_NC, features_ND = classifier.outputs_of(torch.stack(good))
        scored = map(Scored, logits_NC.numpy(), features_ND.numpy())
    return [each if isinstance(each, UnreadableImage) else next(scored) for each in prepared]
