"""What several tests of the API need."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable

from fastapi.testclient import TestClient
from PIL import Image

from api.context import Context

Start = Callable[..., TestClient]


def context_of(client: TestClient) -> Context:
    """The parts of the application behind a client."""
    context = client.app.state.context  # type: ignore[attr-defined]
    assert isinstance(context, Context)
    return context


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
