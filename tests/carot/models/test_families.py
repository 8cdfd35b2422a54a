"""Families of models × what is done with them; what holds is the table of docs/models.md."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image
from pydantic import TypeAdapter

import carot
from api.app import create_app
from api.settings import ApiSettings
from carot.answers.schemas import Answer
from carot.errors import Interrupted
from carot.evaluation.reports import Report
from carot.events import Silent
from carot.models.classifier import Classifier
from carot.models.clip import load_folder
from carot.run import execute
from carot.specs import AnySpec, CarotMethod, FinetuneMethod, FlypMethod, RunSpec, preset
from store.artifacts.bundles import pack
from store.database import Database
from tests.api.helpers import context_of
from tests.api.rows import add_checkpoint
from tests.carot.models.families import FAMILIES, write_family
from tests.carot.models.plain_open_clip import CLASSES, TEMPLATE, images
from tests.carot.tiny import write_images
from tests.carot.training.whole_runs import Run

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "models.md"
RUN: TypeAdapter[AnySpec] = TypeAdapter(RunSpec)
COLUMNS = (
    "family", "FLYP", "default", "finetune", "evaluate", "resumes",
    "plain open_clip, fresh process", "over HTTP", "from the folder",
)  # fmt: skip
DEFAULT = CarotMethod.model_validate(preset("carot")["method"])
Ask = Callable[[Path], torch.Tensor]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Another process with open_clip alone: logits of the folder that it is told."""
    hub = {"HF_HOME": str(tmp_path_factory.mktemp("empty")), "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.carot.models.plain_open_clip"],
        cwd=ROOT,
        env=os.environ | hub | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def ask(folder: Path) -> torch.Tensor:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{folder}\n")
            process.stdin.flush()
            return torch.tensor(json.loads(process.stdout.readline()))

        yield ask
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    data_dir = tmp_path_factory.mktemp("service")
    url = f"sqlite:///{data_dir / 'carot.db'}"
    database = Database(url)
    database.upgrade()
    database.close()
    settings = ApiSettings(data_dir=data_dir, database_url=url)
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for split in ("train", "test"):
        write_images(root / split, CLASSES, each=8)
    return root


def trained(start: Path, dataset: Path, out: Path) -> tuple[Path, Report]:
    """A whole run, reported on, calibrated, and its checkpoint loaded in a fresh process."""
    spec = {
        "kind": "finetune",
        "model": {"folder": str(start)},
        "dataset": f"folder:{dataset}",
        "method": {"name": "flyp"},
        "prompts": {"templates": [TEMPLATE]},
        "training": {"epochs": 1, "batch_size": 8, "learning_rate": 1e-4},
    }
    result = execute(RUN.validate_python(spec), out, Silent())
    assert result.checkpoint is not None
    return result.checkpoint, result.report


def evaluated(checkpoint: Path, dataset: Path, out: Path, expected: Report) -> str:
    """Whether the checkpoint has the figures that the run which made it reported."""
    spec = {
        "kind": "evaluate",
        "model": {"folder": str(checkpoint)},
        "dataset": f"folder:{dataset}",
    }
    found = execute(RUN.validate_python(spec), out, Silent()).report
    rows = [(each.name, each.images, each.raw) for each in found.datasets]
    same = rows == [(each.name, each.images, each.raw) for each in expected.datasets]
    return "same figures" if same else "other figures"


def fitted(start: Path, method: Any, root: Path, stop_after: int | None = None) -> Run:
    run = Run(root, method, model=load_folder(start), epochs=1, batch_size=8)
    try:
        run.fit(stop_after=stop_after)
    except Interrupted:
        assert stop_after is not None
    return run


def resumes(start: Path, straight: Run, root: Path) -> str:
    """Whether a run that is stopped and taken up again ends with the same weights."""
    fitted(start, FlypMethod(), root, stop_after=1)
    resumed = fitted(start, FlypMethod(), root).weights()
    same = all(torch.equal(value, resumed[name]) for name, value in straight.weights().items())
    return "bit-equal" if same else "differs"


def told(run: Run) -> str:
    """What a run that trained says of the method: as it is, or what is left out of it."""
    assert run.steps()
    left_out = [name for warning in run.method.warnings for name in warning.names]
    return f"without {', '.join(left_out)}" if left_out else "trains"


def same_as_plain(checkpoint: Path, plain: Ask) -> str:
    classifier = Classifier.load(checkpoint, "cpu")
    ours = classifier.logits_of(images(classifier.model.image_size))
    return "same logits" if torch.allclose(ours, plain(checkpoint), atol=1e-3) else "other logits"


def over_http(checkpoint: Path, service: TestClient, drawn: Image.Image) -> dict[str, float]:
    """The answer of the service; and there is one for classes of the request's own, too."""
    identity = add_checkpoint(context_of(service), b"".join(pack(checkpoint)), CLASSES)
    file = io.BytesIO()
    drawn.save(file, "PNG")

    def asked(**more: Any) -> dict[str, float]:
        answer = service.post(
            "/predict",
            files={"images": ("0.png", file.getvalue())},
            data={"checkpoint": identity, **more},
        )
        assert answer.status_code == 200, answer.text
        [prediction] = answer.json()["predictions"]
        return {guess["label"]: guess["confidence"] for guess in prediction["top"]}

    assert set(asked(classes=["photo", "dark"])) == {"photo", "dark"}
    return asked()


def row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def test_the_page_has_the_families_that_are_tried() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = lines.index(row(COLUMNS))
    table = lines[start + 2 : start + 2 + len(FAMILIES)]
    assert [line.split(" | ")[0].removeprefix("| ") for line in table] == list(FAMILIES)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_does_what_the_page_says(
    name: str, plain: Ask, service: TestClient, dataset: Path, tmp_path: Path
) -> None:
    start = write_family(name, tmp_path / "start")
    checkpoint, report = trained(start, dataset, tmp_path / "run")
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    drawn = Image.fromarray(pixels)
    [answer] = carot.predict([drawn], checkpoint)
    assert isinstance(answer, Answer)
    from_folder = {guess.label: guess.confidence for guess in answer.top}
    flyp = fitted(start, FlypMethod(), tmp_path / "flyp")
    http = over_http(checkpoint, service, drawn)
    found = (
        name,
        told(flyp),
        told(fitted(start, DEFAULT, tmp_path / "default")),
        told(fitted(start, FinetuneMethod(), tmp_path / "finetune")),
        evaluated(checkpoint, dataset, tmp_path / "evaluated", report),
        resumes(start, flyp, tmp_path / "resumed"),
        same_as_plain(checkpoint, plain),
        "same answer" if http == pytest.approx(from_folder, abs=1e-4) else "another answer",
        "answers",
    )
    assert row(found) in PAGE.read_text(encoding="utf-8").splitlines(), row(found)
