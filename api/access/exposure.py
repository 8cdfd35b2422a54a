"""Where a server without keys may listen: nowhere but on its own machine."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from sqlalchemy import inspect, make_url

from store.access.keys import any_keys
from store.database import Database
from store.tables import ApiKey


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def has_keys(database_url: str) -> bool:
    """Whether a key was ever made in this database; one without tables has none, nor gets any."""
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        return False
    database = Database(database_url)
    try:
        if not inspect(database.engine).has_table(ApiKey.__tablename__):
            return False
        with database.reading() as session:
            return any_keys(session)
    finally:
        database.close()


def refusal(host: str) -> str:
    """What to do instead of listening on `host` without keys."""
    return (
        f"{host} can be reached from other machines, and without keys anybody there could do "
        "everything. Make a key first, on this database: carot keys create --name admin "
        "--scope admin. Or use 127.0.0.1, or --insecure (CAROT_INSECURE) if everybody shall."
    )
