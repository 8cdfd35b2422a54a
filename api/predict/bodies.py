"""Bodies of requests for predictions: forms of files, or JSON with base64 text."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from anyio import to_thread
from fastapi import Request
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from api.inference.engine import Encoded
from api.predict.schemas import MOST_CLASSES, MOST_TEMPLATES, PredictRequest
from api.predict.state import PredictionsState
from api.web.middleware import media_type_of
from api.web.problems import Problem, invalid
from carot.errors import UnreadableImage

MANY = ("classes", "templates")
"""Fields of a form that may be given more than once, besides `images`."""
MOST_FIELDS = MOST_CLASSES + MOST_TEMPLATES + len(PredictRequest.model_fields)


class TooLarge(UnreadableImage):
    """An image of more bytes than are accepted."""


@dataclass(frozen=True)
class Body:
    """What was asked, and each image, or what is wrong with it."""

    asked: PredictRequest
    images: list[Encoded | UnreadableImage]

    @property
    def names(self) -> list[str]:
        return [image.name for image in self.images]


def _form_schema() -> dict[str, Any]:
    schema = PredictRequest.model_json_schema()
    files = {"type": "array", "items": {"type": "string", "format": "binary"}}
    properties = schema["properties"] | {"images": files | {"description": "Encoded images."}}
    return {
        "type": "object",
        "required": ["images"],
        "properties": properties,
        "additionalProperties": False,
    }


BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _form_schema()},
            "application/json": {"schema": PredictRequest.model_json_schema()},
        },
    }
}


async def read_body(request: Request, state: PredictionsState) -> Body:
    """The body of a request, whole.

    Raises:
        Problem: it is neither, or what it asks makes no sense; an image that makes none is an
            error of its own.
    """
    media_type = media_type_of(request.headers)
    most, largest = state.settings.max_images, state.settings.max_image_bytes
    if media_type == "multipart/form-data":
        async with request.form(max_files=most, max_fields=MOST_FIELDS) as form:
            asked = _validated(_form_values(form))
            images = [
                await _file(i, file, largest)
                for i, file in enumerate(form.getlist("images"))
                if isinstance(file, UploadFile)
            ]
            return Body(asked, images)
    if media_type == "application/json":
        return await to_thread.run_sync(_json, await request.body(), most, largest)
    raise Problem(415, "unsupported_media_type", "send multipart/form-data or application/json")


async def _file(place: int, file: UploadFile, largest: int) -> Encoded | UnreadableImage:
    name = file.filename or f"images.{place}"
    if (file.size or 0) > largest:
        return _too_large(name, largest)
    return Encoded(name, await file.read())


def _form_values(form: FormData) -> dict[str, object]:
    values: dict[str, Any] = {}
    images: list[str] = []
    for name, value in form.multi_items():
        if name == "images":
            if not isinstance(value, UploadFile):
                raise invalid(f"images.{len(images)}", "send it as a file, with a file name")
            images.append("")
        elif not isinstance(value, str):
            raise invalid(name, "only `images` are files")
        elif name in MANY:
            values.setdefault(name, []).append(value)
        elif name in values:
            raise invalid(name, "given twice")
        elif value or name not in PredictRequest.model_fields:
            values[name] = value
    if not images:
        raise invalid("images", "the form has no files of this name")
    return values | {"images": images}


def _json(raw: bytes, most: int, largest: int) -> Body:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Problem(400, "invalid_json", f"the body is not JSON: {error}") from error
    asked = _validated(document)
    if len(asked.images) > most:
        raise invalid("images", f"at most {most} images in one request")
    return Body(asked, [_decoded(i, text, largest) for i, text in enumerate(asked.images)])


def _decoded(place: int, text: str, largest: int) -> Encoded | UnreadableImage:
    name = f"images.{place}"
    # Four letters are three bytes; one that is a little too large is found below.
    if len(text) // 4 * 3 > largest + 3:
        return _too_large(name, largest)
    try:
        content = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        return UnreadableImage(name, f"not base64: {error}")
    return _too_large(name, largest) if len(content) > largest else Encoded(name, content)


def _too_large(name: str, largest: int) -> TooLarge:
    return TooLarge(name, f"more than {largest} bytes")


def _validated(document: object) -> PredictRequest:
    try:
        asked = PredictRequest.model_validate(document)
    except ValidationError as error:
        pairs = named(error)
        detail = f"{pairs[0][0]}: {pairs[0][1]}"
        raise Problem(422, "invalid_request", detail, errors=pairs[:100]) from error
    if (asked.model is None) == (asked.checkpoint is None):
        raise invalid("model", "give exactly one of model and checkpoint")
    return asked


def named(error: ValidationError) -> list[tuple[str, str]]:
    """Each field and what is wrong with it."""
    return [_named(e["loc"], e["msg"].removeprefix("Value error, ")) for e in error.errors()]


def _named(location: Sequence[int | str], message: str) -> tuple[str, str]:
    """What holds between fields says its field itself."""
    if location:
        return ".".join(map(str, location)), message
    field, found, rest = message.partition(": ")
    return (field, rest) if found and field in PredictRequest.model_fields else ("body", message)
