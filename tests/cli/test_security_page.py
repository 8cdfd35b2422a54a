"""docs/security.md: its commands run, and it names what there is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from typer.testing import CliRunner

from api.settings import ApiSettings
from cli.credentials import FILE_VARIABLE, VARIABLE
from cli.main import app
from store.access.scopes import SCOPES
from tests.paths import DOCS

PAGE = (DOCS / "security.md").read_text(encoding="utf-8")
SECTION = PAGE[PAGE.index("## Keys and projects") :]


def test_its_commands_run(tmp_path: Path) -> None:
    commands = re.findall(r"^carot (keys (?:create|list).*)$", SECTION, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        arguments = [*shlex.split(command), "--data-dir", str(tmp_path)]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output


def test_its_table_has_every_scope() -> None:
    rows = re.findall(r"^\| `([a-z:]+)` \|", SECTION, re.MULTILINE)
    assert tuple(rows) == SCOPES


def test_its_settings_are_settings() -> None:
    names = set(re.findall(r"CAROT_[A-Z_]+", SECTION)) - {VARIABLE, FILE_VARIABLE}
    known = {f"CAROT_{name.upper()}" for name in ApiSettings.model_fields}
    assert names <= known
    fields = ApiSettings.model_fields
    for name in ("rate_per_minute", "failures_per_minute", "session_hours", "trusted_proxies"):
        default = str(fields[name].default).removesuffix(".0")
        assert re.search(rf"`CAROT_{name.upper()}` \({re.escape(default)}\)", SECTION), name
