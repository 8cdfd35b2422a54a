"""Faults in what becomes of the data that people bring."""

from __future__ import annotations

from tests.faults.fault import Fault


def data(name: str, old: str, new: str, *tests: str) -> Fault:
    """In recognising splits, tables, labels or layouts."""
    return Fault(name, "data", old, new, tests)


FAULTS = (
    data(
        "a split is named in one case only",
        "split_named(name: str) -> str | None:\n",
        "split_named(name: str) -> str | None:\n    name = name if name.islower() else ''\n",
        "carot/test_splits",
    ),
    data(
        "a row may have more values than columns",
        "            if len(row) != len(header):\n",
        "            if len(row) < len(header):\n",
        "carot/test_reader",
    ),
    data(
        "a quote that does not close swallows rows",
        "        strict=True,\n    )\n    header",
        "    )\n    header",
        "carot/test_reader",
    ),
    data(
        "a column of splits that might be something else is something else",
        "if any(map(is_split_word, columns.values(i))):",
        "if all(map(is_split_word, columns.values(i))):",
        "carot/test_columns",
    ),
    data(
        "an image in two splits is in the last one",
        "    if before is not None and before.split != image.split:\n",
        "    if before is not None and before.split != image.split and not image.split:\n",
        "carot/test_layouts",
    ),
    data(
        "zeros in front of a number say nothing",
        '_CANONICAL = re.compile(r"0|[1-9][0-9]{0,17}")',
        '_CANONICAL = re.compile(r"[0-9]{1,18}")',
        "carot/test_labels",
    ),
    data(
        "captions are classes",
        "    if len(labels) >= MANY or words >= SENTENCE:\n",
        "    if len(labels) >= MANY and words >= SENTENCE:\n",
        "carot/test_labels",
    ),
    data(
        "class folders may be one level deeper",
        "    if len(inner) < 2 or 2 * len(deep) < len(folders):\n",
        "    if len(inner) < len(folders) or 2 * len(deep) < len(folders):\n",
        "carot/test_layouts",
    ),
    data(
        "a file may be a folder as well",
        "        both = sorted(self.folders & self.sizes.keys())\n",
        "        both = sorted(self.folders - self.folders)\n",
        "carot/test_layouts",
    ),
    data(
        "files in hidden folders are not counted",
        "    return sum(len(files) for _, _, files in os.walk(entry.path))\n",
        "    return 0\n",
        "carot/test_layouts",
    ),
    data(
        "an index may lead out of its bundle",
        'part in ("", ".", "..") for part in entry.file.split("/")',
        'part in ("", ".") for part in entry.file.split("/")',
        "carot/test_folder",
    ),
    data(
        "a row group without statistics has images",
        "            elif chunk.total_uncompressed_size < SMALLEST_IMAGE * group.num_rows:\n",
        "            elif chunk.total_uncompressed_size < 0:\n",
        "carot/test_parquet",
    ),
    data(
        "what a source says is said by nobody",
        "            if each not in self.warnings:\n",
        "            if each in self.warnings:\n",
        "carot/test_run",
    ),
)
