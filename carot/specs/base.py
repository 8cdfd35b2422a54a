"""What every spec has in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

DatasetReference = Annotated[
    str,
    Field(
        min_length=1,
        max_length=1024,
        description=(
            "`builtin:digits`, the id of an uploaded data set (`ds_…`), or, where files are local, "
            "`folder:PATH` or `csv:PATH`."
        ),
        examples=["builtin:digits", "ds_01jd3v8m9x2k4q6r8t0v2w4y6z"],
    ),
]


class Spec(BaseModel):
    """Frozen, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid")
