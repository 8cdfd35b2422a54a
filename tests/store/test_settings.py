from __future__ import annotations

from pathlib import Path

import pytest

from store.settings import Settings


def test_a_variable_without_a_value_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    # Compose sets those that have none to nothing; the folder that it stands in is no default.
    for name in ("DATASET_ROOT", "DATA_DIR", "PORT", "BROKER_URL"):
        monkeypatch.setenv(f"CAROT_{name}", "")
    settings = Settings()
    assert settings.dataset_root is None
    assert (settings.port, settings.broker_url) == (8000, "filesystem://")
    assert settings.data_dir == Path(".carot").absolute()
    monkeypatch.setenv("CAROT_DATASET_ROOT", "/srv/data")
    assert Settings().dataset_root == Path("/srv/data")
