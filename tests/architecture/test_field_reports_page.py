"""docs/field-reports.md against the tests that it names."""

from __future__ import annotations

import re

from tests.paths import DOCS, ROOT


def test_every_row_names_tests_that_there_are() -> None:
    page = (DOCS / "field-reports.md").read_text(encoding="utf-8")
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    written = set(re.findall(r"^(?:async )?def (test_\w+)", "\n".join(sources), re.MULTILINE))
    rows = [line for line in page.splitlines() if line.startswith("| [")]
    assert rows
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named, row
        assert written.issuperset(named), row
