"""Revisions of the schema. Alembic applies them; the package `migrations` holds them."""

from __future__ import annotations

from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import URL

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


def revisions() -> list[str]:
    """Every revision that this release knows, the newest first."""
    return [each.revision for each in ScriptDirectory(SCRIPTS).walk_revisions()]


def newest_revision() -> str:
    """The one that this release works with."""
    return revisions()[0]
