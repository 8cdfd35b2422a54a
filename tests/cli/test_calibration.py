"""`carot labels` and what `carot models` says of calibration, against a real server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from carot.calibration.calibrators.calibrator import TemperatureCalibrator
from carot.calibration.label_sets import label_set_hash
from cli.client import Client
from cli.main import app
from store.database import Database
from store.tables import Checkpoint
from tests.acceptance.harness import free_port
from tests.paths import ROOT
from tests.store.predictions.predicted import CLASSES, a_model, predict

pytestmark = pytest.mark.slow
Run = Callable[..., str]


@pytest.fixture
def database(tmp_path: Path, _sqlite_template: Path) -> Iterator[Database]:
    shutil.copy(_sqlite_template, tmp_path / "carot.db")
    database = Database(f"sqlite:///{tmp_path / 'carot.db'}")
    yield database
    database.close()


@pytest.fixture
def run(tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs a command against a service over the database; gives what it prints."""
    monkeypatch.setattr("cli.output.out.width", 300)
    port = str(free_port())
    process = subprocess.Popen(
        [sys.executable, "-m", "api"],
        cwd=ROOT,
        env={**os.environ, "CAROT_DATA_DIR": str(tmp_path), "CAROT_PORT": port},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"

    def run(*arguments: str, status: int = 0) -> str:
        done = CliRunner().invoke(app, [*arguments, "--url", url])
        assert done.exit_code == status, (done.output, done.exception)
        return done.stdout

    try:
        with Client(url) as client:
            assert client.wait_until_ready(60)
        yield run
    finally:
        process.kill()
        process.wait(timeout=30)


@pytest.fixture
def ids(database: Database) -> list[str]:
    """Predictions of `pets`, which all say `dog`."""
    checkpoint = a_model(database)
    with database.session() as session:
        session.get_one(Checkpoint, checkpoint).calibrator = TemperatureCalibrator(
            temperature=2.0,
            split="calibration",
            n=100,
            logit_scale=1.0,
            label_set_hash=label_set_hash(CLASSES),
            nll_before=1.0,
            nll_after=0.5,
            converged=True,
            at_bound=False,
        ).to_json()
    logits = np.array([0.0, 8.0, 0.5], dtype="<f4").tobytes()
    return predict(database, checkpoint, count=150, confidence=0.96, logits=logits)


def test_from_a_label_to_another_calibrator(run: Run, ids: list[str], tmp_path: Path) -> None:
    def document(*arguments: str, status: int = 0) -> Any:
        return json.loads(run(*arguments, "--json", status=status))

    assert "dog was wrong" in run("labels", "give", ids[0], "cat")
    assert document("labels", "give", ids[1], "1", "--index")["status"] == "stored"
    assert document("labels", "give", ids[1], "hen", "--replace")["status"] == "replaced"
    run("labels", "give", ids[1], "seven", "--index", status=2)
    file = tmp_path / "labels.csv"
    lines = [f"{id},{'cat' if i % 3 == 0 else 'dog'}\n" for i, id in enumerate(ids[2:])]
    file.write_text("".join(["id,label\n", *lines, "pred_x,cat\n"]))
    told = run("labels", "load", str(file), status=1)
    assert told.startswith("148 stored, 0 unchanged, 0 replaced, 1 refused")
    run("labels", "load", str(ROOT / "README.md"), status=2)

    shown = run("models", "calibration", "pets", status=3)
    assert "150 predictions, 150 labels" in shown
    assert "is rejected" in shown
    tried = document("models", "recalibrate", "pets", "--dry-run")
    assert (tried["improves"], tried["moved"]) == (True, False)
    assert "pets uses it now" in run("models", "recalibrate", "pets")
    newest, first = document("models", "calibrators", "pets")
    assert (newest["current"], first["origin"]) == (True, "run")
    assert newest["id"] in run("models", "calibrators", "pets")
    checkpoint = newest["checkpoint_id"]
    run("models", "set", "pets", checkpoint, "--calibrator", first["id"])
    assert document("models", "list")[0]["calibrator_id"] is None
    assert "25.0 % is logged, with images" in run(
        "models", "log", "pets", "--log-rate", "0.25", "--log-images"
    )
