"""docs/reports.md names routes and limits that exist."""

from __future__ import annotations

import re

from fastapi.testclient import TestClient

from api.comparisons.comparison import LEVEL
from api.comparisons.routes import FEWEST, MOST
from api.settings import ApiSettings
from carot.calibration.metrics.differences import RESAMPLES
from carot.data.decoding.thumbnailer_client import LARGEST_SIDE
from tests.paths import DOCS

PAGE = (DOCS / "reports.md").read_text(encoding="utf-8")


def test_its_routes_are_there(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    named = re.findall(r"`GET (/[^`]+)`", PAGE)
    assert len(named) >= 7
    assert [path for path in named if path not in paths] == []
    for path in named:
        if path.startswith("/reports/{report_id}/"):
            names = {each["name"] for each in paths[path]["get"]["parameters"]}
            assert "dataset" in names


def test_its_numbers_are_the_numbers() -> None:
    assert (FEWEST, MOST) == (2, 10)
    assert "two to ten" in PAGE
    assert f"{RESAMPLES:,} bootstrap" in PAGE
    assert f"at most {LEVEL:.0%}".replace("%", " %") in PAGE
    assert f"160; {LARGEST_SIDE:,} at most" in PAGE
    room = ApiSettings.model_fields["unpacked_bytes"].default
    assert f"`CAROT_UNPACKED_BYTES`, {room >> 30} GiB" in PAGE
