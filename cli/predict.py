"""`carot predict`: images to classes with confidences."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.client import Client
from cli.options import DEFAULT_URL, AsJson, Url
from cli.output import emit, err, fail, out, table

BATCH = 32


def predict(
    images: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False)],
    model: Annotated[str | None, typer.Option(help="An alias of the service.")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="A checkpoint of the service.")] = None,
    folder: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="A checkpoint folder; no service needed."),
    ] = None,
    top_k: Annotated[int, typer.Option("--top", min=1, help="Classes to show.")] = 3,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Classify images, with calibrated confidence."""
    if sum(option is not None for option in (model, checkpoint, folder)) != 1:
        raise typer.BadParameter("give exactly one of --model, --checkpoint and --folder")
    if folder is not None:
        answer = _local(images, folder, top_k)
    else:
        answer = _remote(images, url, model, checkpoint, top_k)
    if as_json:
        emit(answer)
    else:
        _show(answer)
    if any(prediction["error"] for prediction in answer["predictions"]):
        raise typer.Exit(1)


def _remote(
    images: list[Path], url: str, model: str | None, checkpoint: str | None, top_k: int
) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    with Client(url) as client:
        for start in range(0, len(images), BATCH):
            batch = [(str(path), path.read_bytes()) for path in images[start : start + BATCH]]
            part = client.predict(batch, model=model, checkpoint=checkpoint, top_k=top_k)
            part["predictions"] = answer.get("predictions", []) + part["predictions"]
            answer = part
    return answer


def _local(images: list[Path], folder: Path, top_k: int) -> dict[str, Any]:
    with err.status("loading torch"):
        from carot.classifier import Classifier
    from carot.data.images import decode_image
    from carot.errors import UnreadableImage

    classifier = Classifier.load(folder)
    predictions: list[dict[str, Any]] = []
    for path in images:
        try:
            logits_NC = classifier.logits([decode_image(path, str(path))])
        except UnreadableImage as error:
            problem = {"field": str(path), "message": error.reason}
            predictions.append({"name": str(path), "top": [], "error": problem})
            continue
        raw_NC, calibrated_NC = classifier.confidences(logits_NC)
        order = calibrated_NC[0].argsort(descending=True)[:top_k].tolist()
        top = [
            {
                "label": classifier.classes[i],
                "index": i,
                "confidence": float(calibrated_NC[0, i]),
                "raw_confidence": float(raw_NC[0, i]),
                "logit": float(logits_NC[0, i]),
            }
            for i in order
        ]
        predictions.append({"name": str(path), "top": top, "error": None})
    return {
        "checkpoint": str(folder),
        "calibrated": classifier.calibrator is not None,
        "temperature": getattr(classifier.calibrator, "temperature", None),
        "predictions": predictions,
    }


def _show(answer: dict[str, Any]) -> None:
    rows: list[tuple[object, ...]] = []
    for prediction in answer["predictions"]:
        if prediction["error"]:
            fail(f"{prediction['name']}: {prediction['error']['message']}")
        for place, guess in enumerate(prediction["top"]):
            name = prediction["name"] if place == 0 else ""
            confidences = (f"{guess['confidence']:.1%}", f"{guess['raw_confidence']:.1%}")
            rows.append((name, guess["label"], *confidences))
    out.print(table(None, ("image", "class", ">confidence", ">raw"), rows))
    how = "calibrated" if answer["calibrated"] else "not calibrated"
    if answer["temperature"] is not None:
        how = f"temperature {answer['temperature']:.3f}"
    out.print(f"checkpoint {answer['checkpoint']}, {how}", highlight=False)
