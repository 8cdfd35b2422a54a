"""The command as people type it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from carot.specs import preset, preset_names
from cli.specs import read_document
from tests.paths import ROOT

NOWHERE = "http://127.0.0.1:9"


def carot(
    *arguments: str, cwd: Path | None = None, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120", "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd or ROOT,
        env=environment,
        timeout=timeout,
        check=False,
    )


@pytest.mark.slow
def test_help_names_the_commands_and_loads_nothing_heavy() -> None:
    code = "import sys, cli.main; print([m for m in ('torch','sqlalchemy','numpy','fastapi')"
    code += " if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    shown = carot("--help").stdout
    commands = ("up", "demo", "train", "evaluate", "run", "predict")
    for name in (*commands, "datasets", "jobs", "labels", "models", "presets", "webhooks"):
        assert name in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ("jobs", "list", "--url", NOWHERE),
        ("jobs", "show", "job_x", "--url", NOWHERE),
        ("datasets", "list", "--url", NOWHERE, "--json"),
        ("models", "list", "--url", NOWHERE),
    ],
)
@pytest.mark.slow
def test_without_a_service_the_way_to_start_one_is_named(arguments: tuple[str, ...]) -> None:
    done = carot(*arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "carot up" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_up_refuses_other_interfaces(tmp_path: Path) -> None:
    done = carot("up", "--host", "0.0.0.0", "--data-dir", str(tmp_path / "d"))
    assert done.returncode == 1
    assert "--insecure" in done.stderr
    assert "carot keys create" in " ".join(done.stderr.split())
    assert not (tmp_path / "d").exists()


@pytest.mark.slow
def test_up_names_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = carot("up", "--port", port, "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert "--port" in done.stderr


@pytest.mark.slow
def test_a_spec_that_cannot_run_names_its_field(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "model: {architecture: carot-mini}\ndataset: builtin:digits\ntraining: {learning_rate: 7}\n"
    )
    done = carot("train", str(spec), "--out", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "training.learning_rate" in done.stderr


@pytest.mark.slow
def test_predict_wants_one_model(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"")
    done = carot("predict", str(tmp_path / "x.png"))
    assert done.returncode == 2
    assert "exactly one" in done.stderr


@pytest.mark.slow
def test_presets_are_listed_and_shown() -> None:
    listed = json.loads(carot("presets", "list", "--json").stdout)
    assert [each["name"] for each in listed] == list(preset_names())
    assert "carot" in carot("presets", "list").stdout
    shown = carot("presets", "show", "carot")
    assert yaml.safe_load(shown.stdout) == {"name": "carot", **preset("carot")}
    assert json.loads(carot("presets", "show", "carot", "--json").stdout)["name"] == "carot"
    unknown = carot("presets", "show", "carrot")
    assert unknown.returncode == 1
    assert "carrot" in unknown.stderr


def test_a_preset_takes_the_place_of_the_one_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("preset: flyp\ndataset: x\n")
    assert read_document(path)["preset"] == "flyp"
    assert read_document(path, "carot")["preset"] == "carot"


def test_spec_files_read_exponents_as_numbers(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("a: 5e-4\nb: 1E5\nc: 0x1e5\nd: text\n")
    assert read_document(path) == {"a": 5e-4, "b": 1e5, "c": 0x1E5, "d": "text", "kind": "finetune"}
    path.write_text(json.dumps({"kind": "evaluate", "a": 1e-7}))
    assert read_document(path) == {"kind": "evaluate", "a": 1e-7}


@pytest.mark.parametrize("content", ["- a\n- b\n", "a: [", "!!python/object:os.system {}"])
def test_files_that_are_no_specs(tmp_path: Path, content: str) -> None:
    (tmp_path / "spec.yaml").write_text(content)
    with pytest.raises(typer.BadParameter):
        read_document(tmp_path / "spec.yaml")
