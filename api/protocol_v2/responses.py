"""The answer to an inference request."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Response

from api.predict.schemas import Predictions
from api.protocol_v2.outputs import PROBABILITIES, tensors
from api.protocol_v2.requests import HEADER_LENGTH, MOST_PROBABILITIES, Inference
from api.web.problems import invalid


def answer(found: Predictions, asked: Inference, model: str, classes: int) -> Response:
    """JSON, and behind it the outputs that are to be binary.

    Args:
        found: what `POST /predict` says.
        model: the alias.
        classes: of the checkpoint that answered.

    Raises:
        Problem: 422, all probabilities of more classes than can be listed.
    """
    names = [output.name for output in asked.outputs]
    if PROBABILITIES in names and classes > MOST_PROBABILITIES:
        place = f"outputs.{names.index(PROBABILITIES)}"
        raise invalid(place, f"only of models with at most {MOST_PROBABILITIES} classes")
    outputs: list[dict[str, Any]] = []
    parts: list[bytes] = []
    made = tensors(found.predictions, names, classes)
    for tensor, output in zip(made, asked.outputs, strict=True):
        if output.binary:
            parts.append(tensor.to_bytes())
            size = {"binary_data_size": len(parts[-1])}
            outputs.append(tensor.header() | {"parameters": size})
        else:
            outputs.append(tensor.to_json())
    document: dict[str, Any] = {"model_name": model, "model_version": found.checkpoint}
    document |= {"id": asked.id} if asked.id else {}
    head = json.dumps(document | {"outputs": outputs}, ensure_ascii=False).encode("utf-8")
    if not any(output.binary for output in asked.outputs):
        return Response(head, media_type="application/json")
    headers = {HEADER_LENGTH: str(len(head))}
    body = b"".join((head, *parts))
    return Response(body, media_type="application/octet-stream", headers=headers)
