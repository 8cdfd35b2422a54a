"""docs/predict-jobs.md: its example is a spec, and its tables have every field and column."""

from __future__ import annotations

import re

import yaml

from carot.calibration.sets.transported import MOST_NUMBERS
from carot.data.loader import MAX_LISTED
from carot.run.prediction_file import GROUP_ROWS
from carot.run.prediction_rows import ABOUT_IMAGES
from carot.run.scoring import COLUMNS, LOGITS
from carot.run.transductive import SETS
from carot.specs import PredictSpec, TransductiveSpec
from tests.paths import DOCS

PAGE = (DOCS / "predict-jobs.md").read_text(encoding="utf-8")
ASKED, FILE = PAGE.split("## What is in the file")
TYPES = {"list<": "list", "double": "double", "int32": "int32", "bool": "bool", "string": "string"}


def test_the_example_is_a_spec() -> None:
    [text] = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert PredictSpec.model_validate(yaml.safe_load(text)).max_risk == 0.05


def test_the_table_has_every_field() -> None:
    rows = re.findall(r"^\| (`.+?) \|", ASKED, re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    nested = TransductiveSpec.model_fields.keys()
    assert told == (PredictSpec.model_fields.keys() | nested) - {"kind", "model"}
    for field, default in re.findall(r"^\| `(\w+)` \| ([\w.`]+) \|", ASKED, re.MULTILINE):
        known = PredictSpec.model_fields[field].default
        if known is not None:
            assert str(known).lower() == default.strip("`")


def test_the_table_has_every_column_and_its_type() -> None:
    told = {
        name: kind
        for names, kind in re.findall(r"^\| (`.+?) \| ([\w ]+) \|", FILE, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", names)
    }
    known = [*ABOUT_IMAGES, *((name, kind) for name, kind, _ in COLUMNS), *SETS, LOGITS]
    columns = {name: str(kind) for name, kind in known} | {"error": "string"}
    assert told.keys() == columns.keys()
    for name, kind in columns.items():
        [word] = [word for prefix, word in TYPES.items() if kind.startswith(prefix)]
        assert told[name].startswith(word), name


def test_what_the_page_says_is_so() -> None:
    assert f"{MOST_NUMBERS // 10**6} million images times classes" in PAGE
    assert f"groups of about {GROUP_ROWS // 1000} 000" in PAGE
    assert f"the first {MAX_LISTED} are warnings" in PAGE
