"""docs/settings.md is what `make settings` writes, on any machine."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

from api.settings import ApiSettings
from tests.paths import DOCS, ROOT

PAGE = (DOCS / "settings.md").read_text(encoding="utf-8")


def written() -> str:
    page: Callable[[], str] = runpy.run_path(str(ROOT / ".ci" / "settings_page.py"))["page"]
    return page()


def test_the_page_is_fresh() -> None:
    assert written() == PAGE, "run `make settings`"


def test_the_environment_is_not_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAROT_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("CAROT_DATABASE_URL", "postgresql://user:secret@host/name")
    monkeypatch.setenv("CAROT_PREDICT_QUEUE", "77")
    assert written() == PAGE


def test_every_setting_is_on_it_once() -> None:
    for name in ApiSettings.model_fields:
        assert PAGE.count(f"| `CAROT_{name.upper()}` |") == 1, name
