"""`carot train`, `carot evaluate`, `carot run` and `carot predict --folder`, without a service."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from tests.acceptance.harness import CLASSES, EACH, digit_png, digits_folder
from tests.cli.test_commands import carot

# Nine steps an epoch, 72 in all: long enough to be stopped in the middle.
TRAINING = {"epochs": 8, "batch_size": 4, "learning_rate": 1e-4, "snapshot_every": 10}


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run on a few digits."""
    folder = tmp_path_factory.mktemp("local")
    document = {
        "kind": "finetune",
        "model": {"architecture": "carot-mini"},
        "dataset": f"folder:{digits_folder(folder / 'digits')}",
        "method": {"name": "carot"},
        "training": TRAINING,
    }
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture(scope="module")
def run(spec: Path) -> Path:
    """That run, stopped by Ctrl-C and taken up again."""
    run = spec.parent / "run"
    command = [sys.executable, "-m", "cli", "train", str(spec), "--out", str(run)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not (run / "snapshot").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "goes on from there" in errors
    assert not (run / "checkpoint").exists()
    done = carot("train", str(spec), "--out", str(run), "--json", timeout=200)
    assert done.returncode == 0, done.stderr
    (spec.parent / "told.json").write_text(done.stdout)
    return run


@pytest.mark.acceptance
@pytest.mark.timeout(300)
def test_a_run_is_stopped_goes_on_and_is_evaluated(spec: Path, run: Path, tmp_path: Path) -> None:
    """A training spec says enough for an evaluation."""
    report = json.loads((spec.parent / "told.json").read_text())["report"]
    assert report["method"] == "carot"
    document = yaml.safe_load(spec.read_text())
    document |= {"model": {"folder": str(run / "checkpoint")}, "preset": "carot", "alias": "unused"}
    again = tmp_path / "again.yaml"
    again.write_text(yaml.safe_dump(document))
    done = carot("evaluate", str(again), "--out", str(tmp_path / "e"), "--json", timeout=200)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["checkpoint"], answer["report"]["kind"]) == (None, "evaluate")
    assert answer["report"]["datasets"] == report["datasets"]


@pytest.mark.acceptance
@pytest.mark.timeout(300)
def test_its_checkpoint_answers(run: Path, tmp_path: Path) -> None:
    image = tmp_path / "digit.png"
    image.write_bytes(digit_png("zero"))
    shown = carot("predict", str(image), "--folder", str(run / "checkpoint"), "--json", timeout=200)
    assert shown.returncode == 0, shown.stderr
    [answer] = json.loads(shown.stdout)["predictions"]
    assert answer["top"][0]["label"] == "zero"


@pytest.mark.acceptance
@pytest.mark.timeout(300)
def test_its_checkpoint_answers_about_a_data_set(spec: Path, run: Path, tmp_path: Path) -> None:
    asked = tmp_path / "predict.yaml"
    document = {
        "kind": "predict",
        "model": {"folder": str(run / "checkpoint")},
        "dataset": yaml.safe_load(spec.read_text())["dataset"],
        "split": "test",
    }
    asked.write_text(yaml.safe_dump(document))
    shown = carot("run", str(asked), "--out", str(tmp_path / "p"), "--json", timeout=200)
    assert shown.returncode == 0, shown.stderr
    answer = json.loads(shown.stdout)
    rows = pq.read_table(answer["predictions"]).to_pylist()
    assert len(rows) == answer["summary"]["images"] == len(CLASSES) * EACH["test"]
    assert answer["summary"]["right"] == sum(row["correct"] for row in rows)
    told = carot("run", str(asked), "--out", str(tmp_path / "p"), timeout=200)
    assert f"{answer['summary']['accuracy']:.1%}" in told.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {architecture: ViT-B-16}\ndataset: 'builtin:digits'", "model: an open_clip"),
        ("model: {architecture: carot-mini}", "dataset: Field required"),
        ("kind: evaluate", "no finetune spec"),
        ("kind: select", "`carot run` takes every kind"),
        ("preset: carrot", "preset: no preset 'carrot'"),
        ("preset: carot\nmethod: {name: flyp}", "method.name: preset carot is for method carot"),
        ("[1, 2]", "a spec is a mapping"),
    ],
)
def test_a_bad_spec_is_refused_by_field(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(text)
    done = carot("train", "spec.yaml", "--out", "run", cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "text", "message"),
    [
        ("run", "kind: merge\ndataset: x\nmodels: []", "method: Field required"),
        ("run", "kind: interpolate\ndataset: x", "model: Field required"),
        ("run", "kind: average", "kind"),
        ("evaluate", "kind: merge", "no evaluate spec"),
        ("train --preset carrot", "dataset: x", "preset: no preset 'carrot'"),
    ],
)
def test_each_command_names_what_is_wrong(
    command: str, text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "spec.yaml").write_text(text)
    done = carot(*command.split(), "spec.yaml", "--out", "run", cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
