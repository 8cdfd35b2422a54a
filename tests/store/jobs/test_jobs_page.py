"""docs/jobs.md says what the state machine does."""

from __future__ import annotations

import re

from store.jobs.exits import ExitReason
from store.jobs.states import Transition
from tests.paths import DOCS

PAGE = (DOCS / "jobs.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (`[a-z`, ]+`) \| `(\w+)` \| `(\w+)` \|", re.MULTILINE)


def test_the_table_of_states_is_the_one_in_the_code() -> None:
    told = {
        by: (frozenset(re.findall(r"\w+", sources)), target)
        for sources, target, by in ROW.findall(PAGE)
    }
    known = {
        transition.value: (
            frozenset(source.value for source in transition.change.sources),
            transition.change.target.value,
        )
        for transition in Transition
    }
    assert told == known


def test_every_reason_is_told() -> None:
    assert all(f"`{reason}`" in PAGE for reason in ExitReason)
