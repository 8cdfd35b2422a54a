"""The examples of docs/data.md do what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from carot.data.decoding.images import FORMATS, MAX_PIXELS
from carot.data.formats.csv_table import open_csv
from carot.data.formats.parquet import CACHE_BYTES, open_parquet
from carot.data.formats.parquet_tables import IMAGE_COLUMNS, LABEL_COLUMNS, MAX_ROW_GROUP_BYTES
from carot.data.formats.shards import CLASS_NAMES, open_shards
from carot.data.splits import SHARES
from carot.specs import AnySpec, RunSpec
from carot.specs.base import PATH_SCHEMES
from tests.carot.tiny import write_images
from tests.paths import DOCS

PAGE = (DOCS / "data.md").read_text(encoding="utf-8")


def examples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(autouse=True)
def _pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "test"):
        write_images(tmp_path / "pets" / split, classes=("cat", "dog"), each=4)
    (tmp_path / "shards").mkdir()
    monkeypatch.chdir(tmp_path)


def test_what_the_examples_write_can_be_opened() -> None:
    programs = examples("python")
    assert len(programs) == 2
    for program in programs:
        exec(program, {})
    for source in (open_shards(Path("shards"), "train"), open_parquet(Path(), "train")):
        assert source.classes == ("cat", "dog")
        assert source.labels.tolist() == [0] * 4 + [1] * 4
        assert source.image(7).size == (32, 32)


def test_the_table() -> None:
    [table] = examples("csv")
    path = Path("pets") / "pets.csv"
    path.write_text(table)
    assert open_csv(path, "train").classes == ("cat", "dog")
    assert open_csv(path, "test").image(0).size == (32, 32)


def test_the_spec() -> None:
    [spec] = examples("json")
    adapter: TypeAdapter[AnySpec] = TypeAdapter(RunSpec)
    assert adapter.validate_python(json.loads(spec)).dataset == "webdataset:shards"


def test_what_the_page_says_is_so() -> None:
    names = [*IMAGE_COLUMNS, *LABEL_COLUMNS, *CLASS_NAMES, *(f"{s}:PATH" for s in PATH_SCHEMES)]
    assert [name for name in names if f"`{name}`" not in PAGE] == []
    for split, share in SHARES.items():
        assert f"{share:.0%} {split}".replace("%", " %") in PAGE
    assert [name for name in FORMATS if name.lower() not in PAGE.lower()] == []
    assert f"{MAX_PIXELS // 1_000_000} megapixels" in PAGE
    assert f"{CACHE_BYTES >> 20} MiB" in PAGE
    assert f"{MAX_ROW_GROUP_BYTES >> 30} GiB" in PAGE
