"""Brings a database to the newest revision: `python -m migrations.upgrade [URL]`."""

from __future__ import annotations

import os
import sys

from sqlalchemy import make_url

from store import logs
from store.database import Database
from store.errors import WrongSchema
from store.settings import Settings


def main() -> None:
    """Upgrade the database that the first argument or the settings name."""
    settings = Settings()
    logs.configure("migrate", settings.log_level, settings.log_format)
    url = sys.argv[1] if len(sys.argv) > 1 else settings.database_url
    database = Database(url)
    try:
        database.upgrade()
    except WrongSchema as error:
        sys.exit(str(error))
    finally:
        database.close()
    shown = make_url(url).render_as_string(hide_password=True)
    sys.stdout.write(f"{shown} is at the newest revision{os.linesep}")


if __name__ == "__main__":
    main()
