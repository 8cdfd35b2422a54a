"""The database's clock in statements that are compiled once."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from store.database import Database, database_now


def test_statements_with_other_seconds_are_other_statements(database_url: str) -> None:
    database = Database(database_url)
    with database.session() as session:
        now, later, before, again = (
            session.scalars(select(database_now(seconds))).one() for seconds in (0, 60, -60, 0)
        )
    database.close()
    assert (later - now).total_seconds() == pytest.approx(60, abs=10)
    assert (before - now).total_seconds() == pytest.approx(-60, abs=10)
    assert (again - now).total_seconds() == pytest.approx(0, abs=10)


def test_a_statement_is_compiled_once() -> None:
    first, second = (select(database_now(30)) for _ in range(2))
    assert first._generate_cache_key() is not None
    assert first._generate_cache_key() == second._generate_cache_key()
    assert first._generate_cache_key() != select(database_now(31))._generate_cache_key()
