"""A table as it lies in a file: its columns and rows, and the line that each row begins in.

Text with commas, tabs, semicolons or bars between its values, in UTF-8 or UTF-16; the same packed
with gzip; JSON Lines; and a JSON list of records, as Label Studio exports it.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from carot.data.tables.records import Record, cells, flattened
from carot.errors import DataError

TEXT_TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
RECORDS = (".jsonl", ".ndjson", ".json")
OTHER_TABLES = (".xlsx", ".xls", ".ods", ".parquet", ".feather", ".arrow")
"""Tables that nobody reads here: to be named, not passed over."""
DELIMITERS = (",", "\t", ";", "|")
MAX_BYTES = 512 << 20
_HINT = re.compile(r"sep=([,;|\t])\r?\n")
"""What spreadsheets write above a table to say how its values are parted."""
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class Table:
    """A table without its meaning.

    Attributes:
        name: of its file.
        header: the names of its columns, as they are written.
        rows: values without blanks around them; "" where there is none. All as long as `header`.
        lines: the line of the file in which each row begins, counted from 1.
        unit: what `lines` counts.
    """

    name: str
    header: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    lines: Sequence[int]
    unit: str = "line"


def is_table(name: str) -> bool:
    """Whether a file of this name may be one that `read_table` reads."""
    return name.lower().endswith((*TEXT_TABLES, *RECORDS))


def is_other_table(name: str) -> bool:
    """Whether a file of this name is a table of a kind that is not read."""
    return name.lower().endswith(OTHER_TABLES)


def read_table(name: str, content: bytes) -> Table | None:
    """The table in a file; None for a `.json` that holds something else.

    Raises:
        DataError: text of an unknown encoding, quotes that do not close, a row with more or fewer
            values than there are columns (its line is named), JSON that is none.
    """
    lower = name.lower()
    text = _decoded(name, _unpacked(name, content))
    if lower.endswith(".json"):
        return _records(name, _json(name, text))
    if lower.endswith(RECORDS):
        lines = [line for line in text.split("\n") if line.strip()]
        return _records(name, [_json(name, line) for line in lines])
    return _delimited(name, text)


def _unpacked(name: str, content: bytes) -> bytes:
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            plain = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _refused(f"{name}: damaged gzip ({error})") from error
    if len(plain) > MAX_BYTES:
        raise _refused(f"{name}: unpacks to more than {MAX_BYTES >> 20} MiB")
    return plain


def _decoded(name: str, content: bytes) -> str:
    encoding = next((e for mark, e in BYTE_ORDER_MARKS if content.startswith(mark)), "utf-8")
    begin = content[:200]
    if encoding == "utf-8" and 3 * begin.count(0) > len(begin):  # UTF-16 without a mark
        encoding = "utf-16-be" if begin[0] == 0 else "utf-16-le"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise _refused(
            f"{name}: not text in UTF-8 or UTF-16 ({error}); save it as UTF-8"
        ) from error


def _delimited(name: str, text: str) -> Table:
    # The reader ends rows at \r and \n only: other characters that some take for the end of a
    # line are text. `strict` refuses a quote that does not close, which would swallow rows.
    hint = _HINT.match(text)
    text = text[hint.end() :] if hint else text
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=hint[1] if hint else _delimiter(text),
        skipinitialspace=True,
        strict=True,
    )
    header: tuple[str, ...] = ()
    rows, lines, above = [], [], 1 if hint else 0
    line = above + 1
    try:
        for values in reader:
            row, begun, line = (
                [value.strip() for value in values],
                line,
                above + reader.line_num + 1,
            )
            while row and not row[-1] and len(row) > len(header):
                row.pop()
            if not any(row):
                continue
            if not header:
                header = tuple(row)
                continue
            if len(row) != len(header):
                raise _refused(
                    f"{name}, line {begun}: {len(row)} values for {len(header)} columns "
                    f"({', '.join(header)[:200]}); a value that holds the delimiter needs quotes"
                )
            rows.append(row)
            lines.append(begun)
    except csv.Error as error:
        raise _refused(
            f"{name}, line {above + reader.line_num}: not a CSV file ({error})"
        ) from error
    return Table(name, header, rows, lines)


def _delimiter(text: str) -> str:
    """What parts the header into most columns."""
    first = next((line for line in text.lstrip("\r\n").split("\n") if line.strip()), "")
    counts = {each: first.count(each) for each in DELIMITERS}
    return max(DELIMITERS, key=lambda each: counts[each])


def _json(name: str, text: str) -> object:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refused(f"{name}: not JSON ({error})") from error
    return value


def _records(name: str, document: object) -> Table | None:
    if not isinstance(document, list) or not all(isinstance(each, dict) for each in document):
        return None
    records: list[Record] = [flattened(each) for each in document]
    header = tuple(dict.fromkeys(key for record in records for key in record))
    rows = [cells(record, header) for record in records]
    return Table(name, tuple(key.strip() for key in header), rows, range(1, len(rows) + 1))


def _refused(message: str) -> DataError:
    return DataError(message, field="dataset")
