"""docs/warnings.md has every code, and says what the product says."""

from __future__ import annotations

import re
from typing import get_args

from carot.warnings import ACTIONS, HOLDING, Code
from tests.paths import DOCS

PAGE = (DOCS / "warnings.md").read_text(encoding="utf-8")


def test_every_code_stands_there_with_what_to_do() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE, re.MULTILINE))
    assert rows == dict(ACTIONS)
    assert set(get_args(Code)) == {*ACTIONS, "other"}


def test_those_that_hold_an_alias_back_are_named() -> None:
    assert all(f"`{code}`" in PAGE for code in HOLDING)
