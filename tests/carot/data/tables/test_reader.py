from __future__ import annotations

import gzip
import json

import pytest

from carot.data.tables.reader import Table, read_table
from carot.errors import DataError

PLAIN = "filepath,label\na.png,cat\nb.png,dog\n"
ROWS = [["a.png", "cat"], ["b.png", "dog"]]


def read(text: str | bytes, name: str = "t.csv") -> Table:
    table = read_table(name, text.encode() if isinstance(text, str) else text)
    assert table is not None
    return table


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_however_it_was_saved(delimiter: str, encoding: str, end: str) -> None:
    text = PLAIN.replace(",", delimiter).replace("\n", end)
    for content in (text.encode(encoding), gzip.compress(text.encode(encoding))):
        table = read(content, "t.csv.gz")
        assert table.header == ("filepath", "label")
        assert table.rows == ROWS
        assert table.lines == [2, 3]


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e"])
def test_what_ends_a_line_elsewhere_ends_no_row(character: str) -> None:
    table = read(f"filepath,label,note\na.png,cat,one{character}two\nb.png,dog,\n")
    assert table.rows == [["a.png", "cat", f"one{character}two"], ["b.png", "dog", ""]]


def test_quotes_hold_commas_quotes_and_newlines() -> None:
    table = read('filepath, label\na.png, "golden\nretriever"\n\nb.png,"crane, ""bird"""\n')
    assert table.rows == [["a.png", "golden\nretriever"], ["b.png", 'crane, "bird"']]
    assert table.lines == [2, 5]


def test_how_a_spreadsheet_says_what_parts_values() -> None:
    table = read("sep=;\r\nfilepath;label\r\na.png;cat, old\r\nb.png;dog\r\n")
    assert table.rows == [["a.png", "cat, old"], ["b.png", "dog"]]
    assert table.lines == [3, 4]


def test_columns_without_a_name_or_a_value_at_the_end() -> None:
    assert read("filepath,label,,\na.png,cat,,\nb.png,dog\n").rows == ROWS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filepath,label\na.png,crane, bird\n", "line 2: 3 values for 2 columns"),
        ("filepath,label\na.png,cat\nb.png\n", "line 3: 1 values for 2 columns"),
        ('filepath,label\n"a.png,cat\nb.png,dog\n', "line 3: not a CSV file"),
        ('filepath,label\n"a"b.png,cat\n', "line 2: not a CSV file"),
        ("filepath,label\n" + "x" * 200_000 + ",cat\n", "line 2: not a CSV file"),
        (b"filepath,label\n\xff.png,x\n", "not text in UTF-8 or UTF-16"),
        (b"\x1f\x8b\x08garbage", "damaged gzip"),
    ],
)
def test_tables_that_cannot_be_read(text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(text)


def test_a_gzip_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carot.data.tables.reader.MAX_BYTES", 1000)
    with pytest.raises(DataError, match="unpacks to more than"):
        read(gzip.compress(bytes(5000)))


def test_records() -> None:
    text = '{"file_name": "a.png", "label": 0}\n{"file_name": "b.png", "label": null, "x": [1]}\n'
    table = read(text, "metadata.jsonl")
    assert table.header == ("file_name", "label", "x")
    assert table.rows == [["a.png", "0", ""], ["b.png", "", "1"]]
    assert read_table("x.json", b'{"images": []}') is None
    for name, content in (("x.json", b"{"), ("x.jsonl", b"{}\n{"), ("x.json", b"[" * 100_000)):
        with pytest.raises(DataError, match="not JSON"):
            read_table(name, content)


def test_label_studio() -> None:
    def task(image: str, *choices: str, cancelled: bool = False) -> dict[str, object]:
        result = [{"value": {"choices": list(choices)}, "type": "choices"}]
        return {
            "id": 1,
            "data": {"image": image},
            "annotations": [{"result": result, "was_cancelled": cancelled}],
        }

    tasks = [task("/data/upload/1/a.png", "cat"), task("b.png", "dog", cancelled=True),
             task("c.png", "cat", "dog")]  # fmt: skip
    table = read(json.dumps(tasks), "export.json")
    assert table.header == ("image", "choice")
    assert table.rows == [
        ["/data/upload/1/a.png", "cat"], ["b.png", ""], ["c.png", '["cat", "dog"]'],
    ]  # fmt: skip
