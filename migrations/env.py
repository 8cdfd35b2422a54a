"""What Alembic runs: connects, and applies revisions in one transaction."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine, pool, text

from store.database import Database
from store.settings import Settings
from store.tables import Base

LOCK = 0x6361726F74
"""Postgres advisory lock: two processes that start together migrate one after the other."""


def run() -> None:
    """Apply revisions to the database that the configuration names."""
    url = context.config.attributes.get("url") or Database(Settings().database_url).url
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA busy_timeout=30000")
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            connection.commit()
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            compare_type=True,
            transactional_ddl=True,
            render_as_batch=connection.dialect.name == "sqlite",
        )
        with context.begin_transaction():
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
            elif connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            context.run_migrations()
    engine.dispose()


run()
