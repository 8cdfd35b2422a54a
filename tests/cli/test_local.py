"""`carot train`, `carot evaluate` and `carot predict --folder`, without a service."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from carot.data.digits import handwritten_digits
from tests.cli.test_commands import carot

SPEC = """
kind: finetune
model: {architecture: carot-mini}
dataset: "builtin:digits"
method: {name: carot}
training: {epochs: 1, batch_size: 256, learning_rate: 5e-4, snapshot_every: 1}
evaluation:
  datasets: [{name: clean, dataset: "builtin:digits", in_distribution: true}]
"""


@pytest.mark.acceptance
@pytest.mark.timeout(300)
def test_a_run_is_stopped_goes_on_and_is_put_to_use(tmp_path: Path) -> None:
    spec, run = tmp_path / "spec.yaml", tmp_path / "run"
    spec.write_text(SPEC)
    command = [sys.executable, "-m", "cli", "train", str(spec), "--out", str(run)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not (run / "snapshot").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "goes on from there" in errors
    assert not (run / "checkpoint").exists()

    done = carot("train", str(spec), "--out", str(run), "--json", timeout=200)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)["report"]
    assert report["method"] == "carot"
    again = carot("evaluate", str(evaluation(tmp_path, run)), "--out", str(tmp_path / "e"),
                  "--json", timeout=200)  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["report"]["datasets"] == report["datasets"]

    image = tmp_path / "digit.png"
    source = handwritten_digits("test")
    source.image(0).save(image)
    shown = carot("predict", str(image), "--folder", str(run / "checkpoint"), "--json", timeout=200)
    assert shown.returncode == 0, shown.stderr
    [answer] = json.loads(shown.stdout)["predictions"]
    assert answer["top"][0]["label"] == source.classes[source.labels[0]]


@pytest.mark.acceptance
def test_a_training_spec_says_enough_for_an_evaluation(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC + "preset: carot\nalias: unused\n")
    done = carot("evaluate", str(spec), "--out", str(tmp_path / "run"), "--json", timeout=200)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["checkpoint"], answer["report"]["kind"]) == (None, "evaluate")
    assert [row["name"] for row in answer["report"]["datasets"]] == ["clean"]


def evaluation(folder: Path, run: Path) -> Path:
    path = folder / "evaluate.json"
    document = {
        "kind": "evaluate",
        "model": {"folder": str(run / "checkpoint")},
        "dataset": "builtin:digits",
        "evaluation": {
            "datasets": [{"name": "clean", "dataset": "builtin:digits", "in_distribution": True}]
        },
    }
    path.write_text(json.dumps(document))
    return path


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
