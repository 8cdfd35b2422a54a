"""One real server on a real socket for the whole corpus, and what must not change behind it."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import structlog
import uvicorn
from sqlalchemy import func, literal, select, union_all

from api.app import create_app
from api.context import Context
from api.inference.engine import Engine
from api.predict.state import PredictionsState
from api.settings import ApiSettings
from carot.data.decoding.decoder_client import DecodeLimits
from store.database import Database
from store.tables import Base
from tests.api.helpers import picture
from tests.api.predict.test_predict import Brightness
from tests.api.rows import add_checkpoint
from tests.hostile.pictures import MODEL

MAX_UPLOAD = 8 << 20
PAUSE_SECONDS = 2.0
PARTS = ("scratch", "artifacts", "cache")
ROWS = union_all(
    *(
        select(literal(table.name), func.count()).select_from(table)
        for table in Base.metadata.sorted_tables
    )
)
"""How many rows each table has, in one statement: it is asked twice for every case."""


@dataclass(frozen=True)
class State:
    """What a refused request must leave as it was."""

    rows: Mapping[str, int]
    files: frozenset[str]
    temporary: frozenset[str]
    descriptors: int


class Served:
    """The server, seen from both sides."""

    def __init__(self, context: Context, port: int, folder: Path) -> None:
        self.context = context
        self.port = port
        self.folder = folder
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)

    def state(self) -> State:
        """Rows, files and open descriptors as they are now."""
        with self.context.database.reading() as session:
            rows = dict(session.execute(ROWS).all())
        data = self.context.settings.data_dir
        files = {
            str(Path(folder, name).relative_to(data))
            for part in PARTS
            for folder, folders, names in os.walk(data / part)  # bears files that go meanwhile
            for name in (*folders, *names)
        }
        temporary = frozenset(os.listdir(self.folder / "tmp"))  # noqa: PTH208
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        return State(rows, frozenset(files), temporary, descriptors)


def reset_peak() -> int:
    """Forget the highest memory use; the present one, in bytes."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _memory("VmRSS")


def peak() -> int:
    """The highest memory use since then, in bytes."""
    return _memory("VmHWM")


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    line = next(line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "tmp").mkdir()
    before, tempfile.tempdir = tempfile.tempdir, str(folder / "tmp")
    structlog.configure(processors=[structlog.processors.KeyValueRenderer()])
    settings = ApiSettings(
        data_dir=folder / "data",
        dataset_root=_root(folder),
        max_upload_bytes=MAX_UPLOAD,
        max_image_bytes=1 << 20,
        max_images=16,
        decode_memory_bytes=256 << 20,
        ingest_memory_bytes=256 << 20,
        rate_per_minute=0,
        body_pause_seconds=PAUSE_SECONDS,
    )
    settings.data_dir.mkdir()
    database = Database(settings.database_url)
    database.upgrade()
    database.close()
    app = create_app(settings)
    context: Context = app.state.context
    predictions: PredictionsState = app.state.predictions
    predictions.engine.close()
    predictions.engine = Engine(
        lambda _: Brightness(), wait_seconds=0, decoding=DecodeLimits(settings.decode_memory_bytes)
    )
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port: int = server.servers[0].sockets[0].getsockname()[1]
    served = Served(context, port, folder)
    checkpoint = add_checkpoint(context, b"x" * 1000, ("dark", "bright"))
    # Predictions that are remembered are written later, when another case counts its rows.
    alias = {"checkpoint": checkpoint, "log_rate": 0}
    served.client.put(f"/models/{MODEL}", json=alias).raise_for_status()
    yield served
    served.client.close()
    server.should_exit = True
    thread.join(30)
    tempfile.tempdir = before


def _root(folder: Path) -> Path:
    """A data set root with links that lead out of it."""
    root, secret = folder / "root", folder / "secret"
    for parent in (root / "pets", secret):
        for i in range(4):
            path = parent / "ab"[i % 2] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(i))
    (secret / "labels.csv").write_text("filepath,label\na/0.png,a\nb/1.png,b\n")
    (root / "out").symlink_to(secret)
    (root / "pets-out").mkdir()
    (root / "pets-out/a").symlink_to(secret / "a")
    (root / "pets-out/b").symlink_to("../pets/b")
    (root / "climbs.csv").write_text("filepath,label\n../secret/a/0.png,a\n../secret/b/1.png,b\n")
    (root / "circle").symlink_to("circle")
    (root / "fifo").mkdir()
    os.mkfifo(root / "fifo/0.png")
    return root
