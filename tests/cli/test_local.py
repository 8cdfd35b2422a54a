"""`carot train`, `carot evaluate`, `carot run` and `carot predict --folder`, without a service."""

from __future__ import annotations

import json
import os
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
from tests.paths import ROOT

# Nine steps an epoch, 72 in all: long enough to be stopped in the middle.
TRAINING = {"epochs": 8, "batch_size": 4, "learning_rate": 1e-4, "snapshot_every": 10}


ONE_AFTER_ANOTHER = """
import json, sys
from cli.main import main
for words in json.load(sys.stdin):
    sys.argv = ["carot", *words]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
    print(chr(0x1e), flush=True)
"""


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


@pytest.fixture(scope="module")
def told(spec: Path, run: Path) -> list[str]:
    """What commands print that put its checkpoint to use, in one process that loads torch once."""
    folder = spec.parent
    checkpoint = {"folder": str(run / "checkpoint")}
    document = yaml.safe_load(spec.read_text())
    again = document | {"model": checkpoint, "preset": "carot", "alias": "unused"}
    (folder / "again.yaml").write_text(yaml.safe_dump(again))
    asked = {"kind": "predict", "model": checkpoint, "split": "test"}
    (folder / "asked.yaml").write_text(yaml.safe_dump(asked | {"dataset": document["dataset"]}))
    (folder / "digit.png").write_bytes(digit_png("zero"))
    commands = [
        "evaluate again.yaml --out e --json",
        "predict digit.png --folder run/checkpoint --json",
        "run asked.yaml --out p --json",
        "run asked.yaml --out p",
    ]
    done = subprocess.run(
        [sys.executable, "-c", ONE_AFTER_ANOTHER],
        input=json.dumps([command.split() for command in commands]),
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\x1e")[:-1]


@pytest.mark.acceptance
@pytest.mark.timeout(300)
def test_a_run_is_stopped_goes_on_and_is_evaluated(spec: Path, told: list[str]) -> None:
    """A training spec says enough for an evaluation."""
    report = json.loads((spec.parent / "told.json").read_text())["report"]
    assert report["method"] == "carot"
    answer = json.loads(told[0])
    assert (answer["checkpoint"], answer["report"]["kind"]) == (None, "evaluate")
    assert answer["report"]["datasets"] == report["datasets"]


@pytest.mark.acceptance
@pytest.mark.timeout(300)
def test_its_checkpoint_answers(told: list[str]) -> None:
    [answer] = json.loads(told[1])["predictions"]
    assert answer["top"][0]["label"] == "zero"


@pytest.mark.acceptance
@pytest.mark.timeout(300)
def test_its_checkpoint_answers_about_a_data_set(spec: Path, told: list[str]) -> None:
    answer = json.loads(told[2])
    rows = pq.read_table(spec.parent / answer["predictions"]).to_pylist()
    assert len(rows) == answer["summary"]["images"] == len(CLASSES) * EACH["test"]
    assert answer["summary"]["right"] == sum(row["correct"] for row in rows)
    assert f"{answer['summary']['accuracy']:.1%}" in told[3]


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
