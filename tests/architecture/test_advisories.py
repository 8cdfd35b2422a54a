"""No version that is pinned or allowed has a weakness of the offline list."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from packaging.version import Version

from tests.paths import ROOT


def load() -> ModuleType:
    """`.ci/audit.py`, which is no module of a package."""
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


audit = load()


def test_pins_are_beyond_every_weakness() -> None:
    assert audit.weaknesses(audit.pins(), "pin") == []


def test_lower_bounds_are_beyond_every_weakness() -> None:
    assert audit.weaknesses(audit.floors(), "bound") == []


def test_every_package_of_the_list_is_one_of_ours() -> None:
    """Else a misspelt name would pass for ever."""
    assert {each["package"] for each in audit.advisories()} - audit.pins().keys() == set()


def test_the_list_is_complete_and_says_everything_once() -> None:
    found = audit.advisories()
    assert all(set(each) == {"package", "fixed_in", "id", "what"} for each in found)
    assert len({(each["package"], each["id"]) for each in found}) == len(found)


@pytest.mark.parametrize(
    ("package", "version", "weak"),
    [("pillow", "12.3.0", 2), ("pillow", "13.0.0", 0), ("torch", "2.9.1", 1), ("numpy", "1.0", 0)],
)
def test_an_old_version_is_seen(package: str, version: str, weak: int) -> None:
    assert len(audit.weaknesses({package: Version(version)}, "pin")) == weak


def stand_in(folder: Path, document: object) -> str:
    """A command that answers as pip-audit does."""
    path = folder / "pip-audit"
    path.write_text(f"#!{sys.executable}\nprint({json.dumps(document)!r})\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


@pytest.mark.slow
def test_an_audit_that_looked_up_nothing_is_no_audit(tmp_path: Path) -> None:
    """pip-audit skips packages that its service does not know, and ends with success."""
    skipped = {"name": "h11", "skip_reason": "not found"}
    known = {"name": "torch", "version": "2.15.0", "vulns": []}
    hit = known | {"vulns": [{"id": "CVE-1", "fix_versions": ["3.0"]}]}
    answers = [audit.ask(stand_in(tmp_path, {"dependencies": d})) for d in
               ([skipped], [skipped, known], [hit])]  # fmt: skip
    assert answers[0] == ([], audit.ONLY_OFFLINE)
    assert answers[1] == ([], "the advisory service was asked about 1 packages; not about h11")
    assert answers[2][0] == ["torch 2.15.0: CVE-1, fixed in 3.0"]
    assert audit.ask(str(tmp_path / "nothing")) == ([], audit.ONLY_OFFLINE)
