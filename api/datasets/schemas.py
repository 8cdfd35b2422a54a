"""Schemas of data sets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from api.web.schemas import Name, Time, View
from carot.data.decoding.thumbnailer_client import LARGEST_SIDE
from carot.specs.base import OnCopies
from carot.warnings import CodedWarning

Key = Annotated[str, Query(min_length=1, max_length=4000, description="The image's name.")]
COPIES: Any = Field(
    default="leave_out",
    description="Images that are in two named splits, byte for byte: left out of the later of "
    "train, validation, calibration and test, and counted in `warnings`; or refused.",
)
Side = Annotated[
    int, Query(ge=16, le=LARGEST_SIDE, description="Most pixels along its longer side.")
]
PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The image, scaled down and encoded anew.",
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}}
            for media_type in ("image/png", "image/jpeg")
        },
    }
}


class DatasetRequest(BaseModel):
    """A data set that need not be uploaded."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"source": "builtin:digits"}]}
    )

    source: Literal["builtin:digits", "folder"]
    path: str | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="With `folder`: a folder beneath the server's `CAROT_DATASET_ROOT`.",
    )
    name: Name | None = None
    copies: OnCopies = COPIES


class DatasetView(View):
    """A data set: what it holds and where it came from."""

    id: str
    name: str
    source: dict[str, Any]
    classes: list[str]
    splits: dict[str, dict[str, int]] = Field(description="Split to class to number of images.")
    images: int
    bytes: int
    warnings: list[CodedWarning] = Field(
        default=[], description="What was left out or looks unmeant, and what to do about it."
    )
    unreadable_images: int = Field(
        default=0, description="How many images were left out because they cannot be read."
    )
    unreadable: list[str] = Field(
        default=[], description="Their names and what is wrong with each; at most 1,000."
    )
    near_copies: int = Field(
        default=0,
        description="How many images look like an image of an earlier split, at most 1,000; "
        "`GET /datasets/{id}/near-copies` lists them.",
    )
    created_at: Time
    deleted_at: Time | None = Field(default=None, description="When its images were deleted.")


class PlacedImage(BaseModel):
    """Where an image of a data set is."""

    key: str = Field(description="Its name in the data set.")
    split: str
    picture: str = Field(description="Path of the image, scaled down.")


class SampleView(BaseModel):
    """An image of a data set."""

    model_config = ConfigDict(populate_by_name=True)

    key: str = Field(description="Its name in the data set.")
    class_: str = Field(alias="class")
    split: str
    picture: str = Field(description="Path of the image, scaled down.")


class NearCopyView(BaseModel):
    """An image, and the one of an earlier split that it looks like."""

    image: PlacedImage
    other: PlacedImage
    likeness: float = Field(description="Correlation of the two in grey, at most 1.")
