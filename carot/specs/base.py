"""What every spec has in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

PATH_SCHEMES = (
    "folder",
    "csv",
    "webdataset",
    "parquet",
    "imagenet",
    "imagenet-v2",
    "imagenet-r",
    "imagenet-a",
    "imagenet-sketch",
    "imagenet-c",
    "objectnet",
    "fashion",
)
"""What may stand before the path of local files, also where a server has a data set root."""

FASHION = "fashion:"
"""Fashion-MNIST where Debian's package `dataset-fashion-mnist` puts it; with a path, elsewhere."""

UNLABELLED = "images"
"""The same for images without classes, which can only be predicted."""


def is_unlabelled(reference: str) -> bool:
    """Whether a reference names images without classes."""
    return reference.startswith(f"{UNLABELLED}:")


def _without_null(reference: str) -> str:
    if "\0" in reference:
        raise ValueError("null characters cannot be part of a reference")
    return reference


OnCopies = Literal["leave_out", "refuse"]
"""What to do about images in two splits: leave them out of the later one, or end with an error."""

DatasetReference = Annotated[
    str,
    AfterValidator(_without_null),
    Field(
        min_length=1,
        max_length=1024,
        description=(
            "`builtin:digits`; `fashion:`, Fashion-MNIST as Debian's package "
            "`dataset-fashion-mnist` brings it; the id of an uploaded "
            "data set (`ds_…`); or files as `SCHEME:PATH`, "
            f"where SCHEME is one of {', '.join(f'`{scheme}`' for scheme in PATH_SCHEMES)}. Over "
            "HTTP, PATH lies beneath the server's data set root, CAROT_DATASET_ROOT, and is "
            "relative to it; a server without one takes no files."
        ),
        examples=["builtin:digits", "ds_01jd3v8m9x2k4q6r8t0v2w4y6z", "imagenet:imagenet"],
    ),
]


class Spec(BaseModel):
    """Frozen, strict about names, without infinities and NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _true_is_no_number(cls, document: Any) -> Any:
        """Pydantic takes true for 1; as a word it is refused, by the number's own field."""
        if not isinstance(document, dict):
            return document
        return {name: _in_words(cls, name, value) for name, value in document.items()}


def _in_words(spec: type[Spec], name: str, value: Any) -> Any:
    field = spec.model_fields.get(name)
    types = set() if field is None else set(_types(field.annotation))
    if bool in types or not types & {int, float}:
        return value
    if isinstance(value, list | tuple):
        return [_word(item) for item in value]
    return _word(value)


def _word(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _types(annotation: Any) -> Iterator[Any]:
    """What a type is made of, through unions, lists and annotations."""
    yield annotation
    for part in get_args(annotation):
        yield from _types(part)
