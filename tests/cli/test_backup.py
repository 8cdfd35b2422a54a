"""`carot backup` and `carot restore` as people type them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from store.artifacts.folder import FolderBlobs
from store.database import Database
from tests.cli.test_commands import carot
from tests.paths import ROOT
from tests.store.backup.filled_service import use

pytestmark = pytest.mark.slow


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Where a service has been."""
    folder = tmp_path / "data"
    database = Database(f"sqlite:///{folder / 'carot.db'}")
    database.upgrade()
    use(database, FolderBlobs(folder / "artifacts"))
    database.close()
    return folder


def test_there_and_back(data_dir: Path, tmp_path: Path) -> None:
    file, new = str(tmp_path / "carot.tar"), str(tmp_path / "new")
    done = carot("backup", file, "--data-dir", str(data_dir), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["tables"]["jobs"]["rows"] == 6
    done = carot("restore", file, "--data-dir", new)
    assert done.returncode == 0, done.stderr
    assert f"{told['artifacts']['count']} artifacts" in done.stdout
    again = carot("restore", file, "--data-dir", new, "--json")
    assert again.returncode == 1
    assert again.stdout == ""
    assert "not empty" in again.stderr
    copy = carot("backup", f"{file}.2", "--data-dir", new, "--json")
    assert json.loads(copy.stdout)["artifacts"] == told["artifacts"]


def test_through_a_pipe(data_dir: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cli"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [*command, "backup", "-", "--data-dir", str(data_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd=ROOT,
    ) as source:
        done = subprocess.run(
            [*command, "restore", "-", "--data-dir", str(tmp_path / "new"), "--json"],
            stdin=source.stdout,
            capture_output=True,
            env=environment,
            cwd=ROOT,
            check=True,
        )
    assert source.returncode == 0
    assert json.loads(done.stdout)["tables"]["jobs"]["rows"] == 6


def test_what_cannot_be_done_is_said_in_words(data_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "carot.tar"
    carot("backup", str(file), "--data-dir", str(data_dir))
    file.write_bytes(file.read_bytes()[:50_000])
    cut = carot("restore", str(file), "--data-dir", str(tmp_path / "new"))
    nowhere = carot("backup", str(tmp_path / "no" / "x"), "--data-dir", str(data_dir))
    nothing = carot("backup", str(file), "--data-dir", str(tmp_path / "nothing"))
    for done, words in (
        (cut, "cut short"),
        (nowhere, "No such file or directory"),
        (nothing, "no database of this service"),
    ):
        assert done.returncode == 1
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    assert file.stat().st_size == 50_000, "a backup that failed replaces none"
    both = carot("backup", "-", "--json", "--data-dir", str(data_dir))
    assert both.returncode == 2


def test_the_page_tells_what_was_measured() -> None:
    page = (ROOT / "docs" / "backup.md").read_text(encoding="utf-8")
    measured = json.loads((ROOT / "benchmarks" / "results" / "pg_dump.json").read_text())
    assert f"{measured['mebibytes']} MiB" in page
    for way, figures in measured["ways"].items():
        name = way if way == "carot backup" else f"pg_dump {way}"
        restored = figures.get("restore_seconds")
        back = "" if restored is None else f" {restored:.1f}"
        row = f"| `{name}` | {figures['seconds']:.1f} | {figures['ratio']:.2f} |{back} |"
        assert row in page
