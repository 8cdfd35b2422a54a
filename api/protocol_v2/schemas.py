"""The Open Inference Protocol's documents."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from api.predict.schemas import PIXEL

Parameters = dict[str, bool | int | float | str]
Shape = Annotated[list[Annotated[int, Field(ge=0, le=1 << 31)]], Field(max_length=8)]
MOST_TENSORS = 64


class ServerMetadata(BaseModel):
    """What this server is."""

    name: str = "carot"
    version: str
    extensions: list[str]


class ServerLive(BaseModel):
    """The process answers."""

    live: bool


class ServerReady(BaseModel):
    """Whether requests can be answered."""

    ready: bool


class ModelReady(BaseModel):
    """Whether a model can be asked."""

    name: str
    ready: bool


class TensorMetadata(BaseModel):
    """A tensor that a model takes or gives; -1 stands for any size."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """What a model takes and gives."""

    name: str
    versions: list[str] = Field(
        description="Checkpoints that the alias has pointed to and that are there, the one that it "
        "points to first."
    )
    platform: str = "carot"
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class InputTensor(BaseModel):
    """A tensor of a request, with its values or, in `binary_data_size`, how many bytes they are."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=100)
    datatype: str = Field(max_length=20)
    shape: Shape
    parameters: Parameters = {}
    data: list[Any] | None = None


class RequestedOutput(BaseModel):
    """A tensor that is wanted."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=100)
    parameters: Parameters = {}


class InferenceRequest(BaseModel):
    """Images to be classified."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "1",
                    "inputs": [
                        {"name": "images", "datatype": "BYTES", "shape": [1], "data": [PIXEL]}
                    ],
                    "outputs": [{"name": "label"}, {"name": "confidence"}],
                    "parameters": {"max_risk": 0.05},
                }
            ]
        }
    )

    id: str = Field(default="", max_length=1000)
    inputs: list[InputTensor] = Field(
        min_length=1,
        max_length=MOST_TENSORS,
        description="One, `images`: BYTES of shape [N] or [N, 1], base64 text in JSON, the encoded "
        "image itself in binary data.",
    )
    outputs: list[RequestedOutput] | None = Field(
        default=None,
        max_length=MOST_TENSORS,
        description="By default all but those that the metadata lists last, `probabilities` and "
        "`answer`.",
    )
    parameters: Parameters = Field(
        default={},
        description="`coverage`, `set_method`, `max_risk`, `max_shift`, `max_unseen`, `domain` and "
        "`top_k` as in POST /predict.",
    )


class OutputTensor(BaseModel):
    """A tensor of an answer, with its values or, in `binary_data_size`, how many bytes they are."""

    name: str
    datatype: str
    shape: list[int]
    parameters: Parameters | None = None
    data: list[Any] | None = None


class InferenceResponse(BaseModel):
    """What is said of the images."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]
