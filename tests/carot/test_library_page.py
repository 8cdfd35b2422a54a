"""docs/library.md: its table names public names, and its program runs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import carot
from carot.data.digits import handwritten_digits
from tests.paths import DOCS

PAGE = (DOCS / "library.md").read_text(encoding="utf-8")
[PROGRAM] = [
    text for text in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "carot.fit" in text
]


def test_its_table_names_public_names() -> None:
    table = PAGE[PAGE.index("| name |") : PAGE.index("A checkpoint is a folder")]
    named = re.findall(
        r"`([A-Za-z_]+)[`(]", "".join(re.findall(r"^\| (.*?) \|", table, re.MULTILINE))
    )
    assert len(named) > 15
    assert set(named) <= set(carot.HOMES)


@pytest.mark.slow
def test_its_program_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    digits = handwritten_digits("test")
    seven = list(digits.labels).index(digits.classes.index("seven"))
    digits.image(seven).save("seven.png")
    # One epoch, and one data set: the figures do not matter here.
    program = PROGRAM.replace('"epochs": 15', '"epochs": 1')
    only = '"evaluation": {"datasets": [{"name": "t", "dataset": "builtin:digits", '
    program = program.replace('"training"', only + '"in_distribution": True}]}, "training"')
    exec(compile(program, "library.md", "exec"), {})
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("t 0.")
    assert said[1].split()[0] in digits.classes
    shutil.rmtree("run")
