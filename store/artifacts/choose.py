"""Chooses the back end by the setting."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from store.artifacts.base import ArtifactStore
from store.artifacts.database import DatabaseBlobs
from store.artifacts.folder import FolderBlobs
from store.artifacts.remote import FsspecBlobs
from store.database import Database
from store.settings import DATABASE_ARTIFACTS, Settings


def open_store(settings: Settings, database: Database) -> ArtifactStore:
    """The artifact store that `settings.artifacts_url` names."""
    url = settings.artifacts_url
    if url == DATABASE_ARTIFACTS:
        return DatabaseBlobs(database)
    if url.startswith("file:"):
        return FolderBlobs(Path(unquote(urlsplit(url).path)))
    return FsspecBlobs(url)
