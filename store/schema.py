"""Revisions of the schema. Alembic applies them; the package `migrations` holds them."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import URL

from store.errors import WrongSchema

SCRIPTS = str(files("migrations"))
"""Found by its name, as Alembic finds revisions: these import the store, which imports none."""


def alembic_config(url: URL) -> Config:
    """Alembic's configuration for a database, wherever `migrations` is installed."""
    config = Config()
    config.set_main_option("script_location", SCRIPTS)
    config.attributes["url"] = url
    return config


def upgrade(url: URL, revision: str = "head") -> None:
    """Apply every revision, up to this one, that `url` does not have yet."""
    command.upgrade(alembic_config(url), revision)


def check_known(stored: str | None) -> None:
    """Refuse a database that a newer release has written; None is an empty one.

    Raises:
        WrongSchema: this release does not know its revision.
    """
    if stored is not None and stored not in revisions():
        raise WrongSchema(
            f"the database is at revision {stored}, which this release does not know (its newest "
            f"is {newest_revision()}): run the release that wrote it, or restore a backup"
        )


def check_newest(stored: str | None) -> None:
    """Refuse any revision but the newest one.

    Raises:
        WrongSchema: it is older, newer or missing.
    """
    check_known(stored)
    if stored != newest_revision():
        raise WrongSchema(
            f"the database is at revision {stored or 'none'}, this release works with "
            f"{newest_revision()}: run `python -m migrations.upgrade`"
        )


@cache
def revisions() -> tuple[str, ...]:
    """Every revision that this release knows, the newest first."""
    return tuple(each.revision for each in ScriptDirectory(SCRIPTS).walk_revisions())


def newest_revision() -> str:
    """The one that this release works with."""
    return revisions()[0]
