"""The base of every table."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, Float, Integer, MetaData, String
from sqlalchemy.orm import DeclarativeBase

from store.column_types import Document
from store.database import UtcDateTime

Id = String(40)


class Base(DeclarativeBase):
    """Root of the tables; constraints have names, so that migrations can refer to them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {
        dict[str, Any]: Document(),
        list[str]: Document(),
        list[dict[str, Any]]: Document(),
        datetime: UtcDateTime(),
        int: BigInteger().with_variant(Integer(), "sqlite"),
        float: Float(53),
    }
