"""Which way the arrows point, and what a process must not have to load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

pytestmark = pytest.mark.slow

LOADED = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted(sys.modules)))
"""
TORCHLESS = (
    "carot",
    "carot.specs",
    "carot.evaluation.suites",
    "carot.errors",
    "carot.events",
    "carot.evaluation.reports",
    "carot.data.source",
    "carot.data.digits",
    "carot.data.shifts.corruptions",
    "carot.data.shifts.shifts",
    "carot.data.formats.archive_process",
    "carot.data.formats.archives",
    "carot.data.decoding.decoder_process",
    "carot.data.decoding.decoder_client",
    "carot.data.decoding.resampling",
    "carot.data.decoding.thumbnailer_process",
    "carot.data.decoding.thumbnailer_client",
)


def loaded_by(*names: str) -> set[str]:
    """The modules that a fresh interpreter has after importing these."""
    command = [sys.executable, "-c", LOADED, *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_contracts_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_api_and_store_load_neither_trainer_nor_worker() -> None:
    heavy = {
        "torch",
        "open_clip",
        "celery.worker",
        "celery.apps.worker",
        "worker",
        "carot.training.trainer",
    }
    assert not loaded_by("api.app", "store") & heavy


def test_worker_serves_without_torch_or_http() -> None:
    assert not loaded_by("worker.app") & {"torch", "open_clip", "fastapi", "uvicorn"}


def test_what_all_share_loads_without_torch() -> None:
    assert not loaded_by(*TORCHLESS) & {"torch", "open_clip", "sqlalchemy", "fastapi", "celery"}


def test_command_answers_without_heavy_imports() -> None:
    heavy = {"torch", "sqlalchemy", "fastapi", "celery", "sklearn"}
    assert not loaded_by("cli.main") & heavy


@pytest.mark.parametrize("name", ["celery", "sqlalchemy"])
def test_a_module_that_is_loaded_is_seen(name: str) -> None:
    # Otherwise every test above would pass for ever.
    assert name in loaded_by(name)
