"""Values as both databases take them: what a trainer reports may be anything."""

from __future__ import annotations

import math
from typing import Any

from sqlalchemy import JSON, Dialect, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine


def clean(value: Any) -> Any:
    """The same value, but for what Postgres refuses.

    Numbers that are not finite become None, as JSON has none. Null characters and halves of
    surrogate pairs, which file names can contain, become replacement characters.
    """
    match value:
        case str():
            return value.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {clean(key): clean(item) for key, item in value.items()}
        case list() | tuple():
            return [clean(item) for item in value]
        case _:
            return value


class Words(TypeDecorator[str]):
    """Text that people or programs wrote, cleaned."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else str(clean(value))


class Document(TypeDecorator[Any]):
    """JSON, cleaned; None is NULL, so that the database can be asked for it."""

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        binary = dialect.name == "postgresql"
        kind = JSONB(none_as_null=True) if binary else JSON(none_as_null=True)
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: Any | None, dialect: Dialect) -> Any | None:
        return clean(value)
