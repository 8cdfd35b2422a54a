"""docs/security.md says of what can be sent what the settings and limits say."""

from __future__ import annotations

import re

from api.settings import ApiSettings
from carot.data.decoding.images import FORMATS, MAX_ASPECT, MAX_PIXELS
from carot.data.formats.members import Limits
from tests.paths import DOCS

PAGE = (DOCS / "security.md").read_text(encoding="utf-8")
SECTION = PAGE[: PAGE.index("## Keys and projects")]


def test_its_settings_have_these_defaults() -> None:
    pairs = re.findall(r"`CAROT_([A-Z_]+)` \(([0-9.]+)", SECTION)
    assert len(pairs) >= 9
    for name, value in pairs:
        assert float(value) == ApiSettings.model_fields[name.lower()].default, name
    named = set(re.findall(r"CAROT_[A-Z_]+", SECTION))
    assert named <= {f"CAROT_{name.upper()}" for name in ApiSettings.model_fields}


def test_its_limits_are_the_limits() -> None:
    limits = Limits()
    assert f"at most {MAX_PIXELS // 10**6} megapixels" in SECTION
    assert f"more than {MAX_ASPECT} times the other" in SECTION
    assert f"{limits.file_bytes >> 20} MiB in one" in SECTION
    assert f"{limits.total_bytes >> 30} GiB in all" in SECTION
    assert f"{limits.ratio} times the packed size" in SECTION
    assert f"{limits.classes:,} classes" in SECTION
    assert limits.members == 1_000_000
    assert [name for name in FORMATS if name.lower() not in SECTION.lower()] == []
