"""An inference request: what is asked, of which images, and how the answer is to come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import Request
from pydantic import ValidationError

from api.inference.engine import Encoded
from api.predict.bodies import Body, TooLarge
from api.predict.schemas import PredictRequest
from api.protocol_v2.outputs import BY_DEFAULT, NAMES, PROBABILITIES
from api.protocol_v2.schemas import InferenceRequest, InputTensor, RequestedOutput
from api.protocol_v2.tensors import binary_elements, from_base64, json_elements
from api.web.problems import Problem, invalid
from carot.errors import UnreadableImage

HEADER_LENGTH = "Inference-Header-Content-Length"
INPUT = "images"
MOST_PROBABILITIES = 1000
"""As many classes as answers list."""
ASKED = ("coverage", "set_method", "max_risk", "max_shift", "max_unseen", "domain", "top_k")
UNHEARD = frozenset(
    {"sequence_id", "sequence_start", "sequence_end", "priority", "timeout", "binary_data_output"}
)
"""What Triton's clients may send besides: it changes no answer, or is looked at elsewhere."""


@dataclass(frozen=True)
class Wanted:
    """An output, and whether its values are to be binary."""

    name: str
    binary: bool


@dataclass(frozen=True)
class Inference:
    """A request, read.

    Attributes:
        images: each as it was sent, or what is wrong with it.
        asked: of each of them, by the names of `POST /predict`.
    """

    id: str
    images: list[Encoded | UnreadableImage]
    outputs: list[Wanted]
    asked: dict[str, Any]

    def body(self, **subject: str) -> Body:
        """The request as `POST /predict` would have it.

        Args:
            subject: `model` or `checkpoint`.

        Raises:
            Problem: 422 that names the parameter at fault.
        """
        asked = self.asked
        if any(output.name == PROBABILITIES for output in self.outputs):
            asked = asked | {"top_k": MOST_PROBABILITIES}
        try:
            request = PredictRequest(images=[""] * len(self.images), **subject, **asked)
        except ValidationError as error:
            [first, *_] = error.errors()
            raise invalid(f"parameters.{first['loc'][0]}", first["msg"]) from error
        return Body(request, self.images)


async def read_raw(request: Request) -> tuple[bytes, int | None]:
    """The body, and how much of it is JSON, where binary data follows.

    Raises:
        Problem: it is compressed, or the length makes no sense.
    """
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Problem(415, "unsupported_media_type", "compressed bodies are not understood")
    raw = await request.body()
    told = request.headers.get(HEADER_LENGTH)
    if told is None:
        return raw, None
    if not told.isdecimal() or int(told[:20]) > len(raw):
        raise invalid(HEADER_LENGTH, f"a number from 0 to {len(raw)}, the length of the body")
    return raw, int(told)


def parse(raw: bytes, length: int | None, *, most: int, largest: int) -> Inference:
    """The parsed body.

    Args:
        length: of its JSON; None where it is all of it.
        most: images in one request.
        largest: bytes of an image.

    Raises:
        Problem: 400 or 422 that names the field at fault.
    """
    try:
        request = InferenceRequest.model_validate_json(raw[:length])
    except ValidationError as error:
        raise _refused(error) from error
    tensor = _input(request)
    binary = memoryview(raw)[len(raw) if length is None else length :]
    return Inference(
        request.id,
        _images(tensor, binary, most, largest),
        _outputs(request),
        _asked(request.parameters),
    )


def _refused(error: ValidationError) -> Problem:
    found = [(".".join(map(str, e["loc"])) or "body", e["msg"]) for e in error.errors()[:100]]
    if error.errors()[0]["type"] == "json_invalid":
        return Problem(400, "invalid_json", f"the body is not JSON: {found[0][1]}")
    return Problem(422, "invalid_request", f"{found[0][0]}: {found[0][1]}", errors=found)


def _input(request: InferenceRequest) -> InputTensor:
    for i, tensor in enumerate(request.inputs):
        if tensor.name != INPUT:
            raise invalid(f"inputs.{i}.name", f"{tensor.name!a} is no input; there is {INPUT!r}")
    if len(request.inputs) > 1:
        raise invalid("inputs.1", f"{INPUT!r} is there twice")
    tensor = request.inputs[0]
    if tensor.datatype != "BYTES":
        raise invalid(
            "inputs.0.datatype", "encoded images (PNG, JPEG …) as BYTES are needed, not pixels"
        )
    strange = sorted(tensor.parameters.keys() - {"binary_data_size"})
    if strange:
        raise invalid("inputs.0.parameters", f"{strange[0]!a} is not supported")
    return tensor


def _images(
    tensor: InputTensor, binary: memoryview, most: int, largest: int
) -> list[Encoded | UnreadableImage]:
    shape = tensor.shape
    if len(shape) not in (1, 2) or shape[1:] not in ([], [1]):
        raise invalid("inputs.0.shape", "[N] or [N, 1] for N images is needed")
    if not 1 <= shape[0] <= most:
        raise invalid("inputs.0.shape", f"1 to {most} images in one request")
    size = tensor.parameters.get("binary_data_size")
    if size is None:
        if tensor.data is None:
            raise invalid("inputs.0.data", "neither data nor binary_data_size is given")
        if len(binary) > 0:
            raise invalid("body", "binary data that no input speaks of")
        texts = list(json_elements(tensor.data, "inputs.0.data"))
        images = [_of_text(i, text, largest) for i, text in enumerate(texts)]
    else:
        if tensor.data is not None:
            raise invalid("inputs.0.data", "data and binary_data_size exclude one another")
        if size is True or size != len(binary):
            message = f"{size} bytes are told, and {len(binary)} follow the JSON"
            raise invalid("inputs.0.parameters.binary_data_size", message)
        elements = binary_elements(binary, "inputs.0")
        images = [_of_bytes(i, element, largest) for i, element in enumerate(elements)]
    if len(images) != shape[0]:
        raise invalid("inputs.0.shape", f"{shape[0]} images are told, and there are {len(images)}")
    return images


def _of_text(place: int, text: str, largest: int) -> Encoded | UnreadableImage:
    try:
        return _of_bytes(place, from_base64(text), largest)
    except ValueError as error:
        return UnreadableImage(f"images.{place}", str(error))


def _of_bytes(place: int, content: bytes, largest: int) -> Encoded | UnreadableImage:
    name = f"images.{place}"
    if len(content) > largest:
        return TooLarge(name, f"more than {largest} bytes")
    return Encoded(name, content)


def _outputs(request: InferenceRequest) -> list[Wanted]:
    binary = request.parameters.get("binary_data_output", False)
    if not isinstance(binary, bool):
        raise invalid("parameters.binary_data_output", "true or false")
    # An empty list asks for nothing in particular.
    given = request.outputs or [RequestedOutput(name=name) for name in BY_DEFAULT]
    wanted: list[Wanted] = []
    for i, output in enumerate(given):
        field = f"outputs.{i}"
        if output.name not in NAMES:
            listed = ", ".join(NAMES)
            raise invalid(f"{field}.name", f"{output.name!a} is no output; there are {listed}")
        if any(each.name == output.name for each in wanted):
            raise invalid(f"{field}.name", f"{output.name!r} is there twice")
        own = output.parameters.get("binary_data", binary)
        strange = sorted(output.parameters.keys() - {"binary_data"})
        if strange or not isinstance(own, bool):
            raise invalid(f"{field}.parameters", "`binary_data`, true or false, is all there is")
        wanted.append(Wanted(output.name, own))
    return wanted


def _asked(parameters: dict[str, Any]) -> dict[str, Any]:
    """Those that ask something of `POST /predict`; one that is misspelt must not go unnoticed."""
    strange = sorted(parameters.keys() - UNHEARD - set(ASKED))
    if strange:
        raise invalid(
            f"parameters.{strange[0]}", f"not one of {', '.join(ASKED)}, binary_data_output"
        )
    return {name: parameters[name] for name in ASKED if name in parameters}
