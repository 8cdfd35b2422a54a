"""What several tests of the API need."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable
from typing import Any

from fastapi.testclient import TestClient
from PIL import Image

from api.context import Context
from store.access.keys import create_key
from store.access.projects import ensure_project
from store.access.scopes import SCOPES, Scope

Start = Callable[..., TestClient]


def state_of(client: TestClient) -> Any:
    """What the subjects of the application behind a client share, by their names."""
    return client.app.state  # type: ignore[attr-defined]


def context_of(client: TestClient) -> Context:
    """What all subjects of the application behind a client share."""
    context = state_of(client).context
    assert isinstance(context, Context)
    return context


def new_key(
    client: TestClient, *scopes: Scope, project: str = "default", expires: float | None = None
) -> str:
    """The token of a new key; without scopes it has all but `admin`."""
    given = scopes or tuple(scope for scope in SCOPES if scope != "admin")
    with context_of(client).database.session() as session:
        owner = ensure_project(session, project)
        return create_key(session, owner.id, given, expires_seconds=expires)[1]


def bearer(token: str) -> dict[str, str]:
    """The header that shows a key."""
    return {"Authorization": f"Bearer {token}"}


def picture(seed: int) -> bytes:
    """A small PNG of noise."""
    file = io.BytesIO()
    Image.frombytes("RGB", (8, 8), random.Random(seed).randbytes(192)).save(file, "PNG")
    return file.getvalue()


def archive(images_per_class: int = 20, classes: tuple[str, ...] = ("cat", "dog")) -> bytes:
    """A zip of class folders."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        for c, name in enumerate(classes):
            for i in range(images_per_class):
                zipped.writestr(f"{name}/{i}.png", picture(1000 * c + i))
    return file.getvalue()
