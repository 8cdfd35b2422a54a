"""The list of faults fits the sources: every one can be planted, and has tests to notice it."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.copies import copied
from tests.faults.fault import PRODUCT, Fault, Lost, Sources, files_of
from tests.faults.planted import PLANTED
from tests.paths import ROOT

NOTHING = Fault("nothing", "none", "a = 1", "a = 2", ("store/test_jobs",))


def test_every_fault_can_be_planted() -> None:
    sources = Sources(ROOT)
    lost = []
    for fault in PLANTED:
        try:
            place = sources.place(fault)
        except Lost as why:
            lost.append(str(why))
        else:
            assert place.before != place.after, fault.name
    assert lost == []


def test_every_fault_has_tests() -> None:
    missing = {
        fault.name: wanted
        for fault in PLANTED
        for wanted in fault.tests
        if not files_of(ROOT, Fault(fault.name, fault.subject, "", "", (wanted,)))
    }
    assert missing == {}


def test_names_are_told_apart() -> None:
    assert [name for name, count in Counter(f.name for f in PLANTED).items() if count > 1] == []


@pytest.mark.parametrize("text", ["b = 1", "a = 1\na = 1", "a = 1 if"])
def test_what_cannot_be_planted_is_said(text: str, tmp_path: Path) -> None:
    for folder in ("store", "api"):
        (tmp_path / folder).mkdir()
    (tmp_path / "store" / "some.py").write_text(f"{text}\n", encoding="utf-8")
    with pytest.raises(Lost, match="nothing: "):
        Sources(tmp_path).place(NOTHING)


def test_the_tree_itself_stays_as_it_is(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for folder in PRODUCT:
        (tree / folder).mkdir(parents=True)
    source = tree / "store" / "some.py"
    source.write_text("a = 1\n", encoding="utf-8")
    subprocess.run(["git", "init", "-q", str(tree)], check=True)
    with copied(tree) as copy:
        planted = copy.root / "store" / "some.py"
        with copy.planted(Sources(copy.root).place(NOTHING)):
            assert planted.read_text(encoding="utf-8") == "a = 2\n"
            assert source.read_text(encoding="utf-8") == "a = 1\n"
        assert planted.read_text(encoding="utf-8") == "a = 1\n"
    assert not planted.exists()
