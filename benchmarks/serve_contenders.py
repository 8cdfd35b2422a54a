"""The same checkpoint in a loop, behind one route, behind this service, behind LitServe."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import open_clip
import torch

from api.context import Context
from api.settings import ApiSettings
from benchmarks.provenance import ROOT
from carot.data.decoding.images import decode_image
from carot.models.checkpoints import ClassifierCard, save_checkpoint
from carot.models.classifier import Classifier
from carot.models.clip import ClipModel, from_config, load_model
from carot.specs import ModelSpec
from store.access.keys import create_key
from store.artifacts import open_store
from store.artifacts.bundles import pack
from store.database import Database
from store.models.aliases import set_alias
from store.tables import DEFAULT_PROJECT
from tests.api.rows import add_checkpoint

ALIAS = "model"
CLASSES = 100
START_SECONDS = 180


def make_model(name: str) -> ClipModel:
    """`carot-mini`, or an open_clip architecture with random weights."""
    if name == "carot-mini":
        return load_model(ModelSpec(architecture=name), torch.device("cpu"))
    torch.manual_seed(0)
    return from_config(open_clip.get_model_config(name), architecture=name)


def make_checkpoint(name: str, folder: Path) -> None:
    """A classifier of `CLASSES` classes with a random head."""
    model = make_model(name)
    with torch.no_grad():
        width = model.encode_images(torch.zeros(1, 3, *model.image_size)).shape[1]
    head_CD = 50 * torch.nn.functional.normalize(torch.randn(CLASSES, width), dim=-1)
    classes = tuple(f"class {c}" for c in range(CLASSES))
    card = ClassifierCard(
        architecture=name,
        method="zero_shot",
        classes=classes,
        caption_names=classes,
        templates=("{}",),
        logit_scale=50.0,
        head="text",
    )
    save_checkpoint(folder, model, head_CD, card, None)


class Bare:
    """Decode, transform, model: no more than somebody would write in a loop."""

    def __init__(self, folder: Path) -> None:
        self._classifier = Classifier.load(folder, "cpu")

    @torch.inference_mode()
    def answer(self, contents: Sequence[bytes]) -> list[int]:
        """The top class of each image."""
        images = [self._classifier.preprocess(decode_image(each, "image")) for each in contents]
        return self._classifier.logits_of(torch.stack(images)).argmax(dim=1).tolist()


def _listener() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    os.set_inheritable(listener.fileno(), True)
    return listener


@dataclass(frozen=True)
class Server:
    """A server that runs.

    Attributes:
        fields, headers: what its requests need besides an image.
    """

    port: int
    fields: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def service(folder: Path, data_dir: Path, threads: int) -> Iterator[Server]:
    """`python -m api` with the checkpoint under an alias."""
    settings = ApiSettings(data_dir=data_dir, database_url=f"sqlite:///{data_dir / 'carot.db'}")
    data_dir.mkdir()
    database = Database(settings.database_url)
    database.upgrade()
    context = Context(settings, database, open_store(settings, database))
    classes = tuple(f"class {c}" for c in range(CLASSES))
    checkpoint = add_checkpoint(context, b"".join(pack(folder)), classes)
    with context.database.session() as session:
        set_alias(session, DEFAULT_PROJECT, ALIAS, checkpoint)
        key = create_key(session, DEFAULT_PROJECT, ("predict",))[1]
    context.database.close()
    with _listener() as listener:
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "CAROT_DATA_DIR": str(data_dir),
            "CAROT_DATABASE_URL": settings.database_url,
            "CAROT_RATE_PER_MINUTE": "0",
            "CAROT_LOG_FORMAT": "json",
        }
        arguments = [sys.executable, "-m", "api", "--fd", str(listener.fileno())]
        with _process(arguments, environment, data_dir / "log", listener.fileno()):
            headers = {"Authorization": f"Bearer {key}"}
            yield Server(listener.getsockname()[1], {"model": ALIAS}, headers)


@contextmanager
def endpoint(folder: Path, log: Path, threads: int) -> Iterator[Server]:
    """The bare loop behind one route of FastAPI."""
    script = ROOT / "benchmarks" / "serve_endpoint.py"
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    with _listener() as listener:
        arguments = [sys.executable, str(script), str(listener.fileno()), str(folder)]
        with _process(arguments, environment, log, listener.fileno()):
            yield Server(listener.getsockname()[1], {"model": ALIAS})


@contextmanager
def litserve(
    python: Path, folder: Path, log: Path, threads: int, batch: int, wait_seconds: float
) -> Iterator[Server]:
    """The same checkpoint behind LitServe, in an environment that has it."""
    with _listener() as listener:
        port: int = listener.getsockname()[1]  # LitServe binds it itself, a moment later
    script = ROOT / "benchmarks" / "serve_litserve.py"
    arguments = [str(python), str(script), str(folder), str(port), str(batch), str(wait_seconds)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    with _process(arguments, environment, log):
        _wait_for(port, log)
        yield Server(port)


@contextmanager
def _process(
    arguments: list[str], environment: dict[str, str], log: Path, *descriptors: int
) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments,
            env=environment,
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=descriptors,
            start_new_session=True,
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_for(port: int, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as link:
                link.sendall(b"GET /health HTTP/1.0\r\n\r\n")
                if b" 200 " in io.BytesIO(link.recv(4096)).readline():
                    return
        except OSError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"LitServe does not start:\n{log.read_text(errors='replace')}")
