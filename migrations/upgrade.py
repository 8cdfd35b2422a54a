"""Brings a database to the newest revision: `python -m migrations.upgrade [URL]`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import URL, make_url


def alembic_config(url: URL) -> Config:
    """Alembic's configuration for a database, wherever this package is installed."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["url"] = url
    return config


def upgrade(url: URL, revision: str = "head") -> None:
    """Apply every revision, up to this one, that `url` does not have yet."""
    command.upgrade(alembic_config(url), revision)


def revisions() -> list[str]:
    """Every revision that this release knows, the newest first."""
    script = ScriptDirectory(str(Path(__file__).parent))
    return [each.revision for each in script.walk_revisions()]


def newest_revision() -> str:
    """The one that this release works with."""
    return revisions()[0]


def main() -> None:
    """Upgrade the database that the first argument or the settings name."""
    # The settings belong to store, which may use this module: hence here.
    from store import logs
    from store.database import Database
    from store.settings import Settings

    settings = Settings()
    logs.configure("migrate", settings.log_level, settings.log_format)
    url = sys.argv[1] if len(sys.argv) > 1 else settings.database_url
    database = Database(url)
    database.upgrade()
    database.close()
    shown = make_url(url).render_as_string(hide_password=True)
    sys.stdout.write(f"{shown} is at the newest revision{os.linesep}")


if __name__ == "__main__":
    main()
