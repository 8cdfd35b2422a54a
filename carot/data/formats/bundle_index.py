"""What the images of a bundle show: one line of JSON for each, in the bundle itself.

Written where an upload was understood, and believed where the bundle is opened: so a data set
stays what it was when it was uploaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from carot.data.splits import SPLITS
from carot.errors import DataError

INDEX_NAME = ".images.jsonl"


@dataclass(frozen=True)
class Entry:
    """One image.

    Attributes:
        file: its path in the bundle, with slashes.
        split: None where images are dealt out.
        captions: what was said of it besides its class.
    """

    file: str
    label: str
    split: str | None = None
    captions: tuple[str, ...] = ()


def written_index(entries: Iterable[Entry]) -> bytes:
    """The file that `read_index` reads."""
    lines = (json.dumps({k: v for k, v in asdict(each).items() if v}) for each in entries)
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def read_index(folder: Path) -> list[Entry] | None:
    """What the index in a folder says; None where there is none.

    Raises:
        DataError: it is not an index, or a path in it climbs out of the folder.
    """
    try:
        text = (folder / INDEX_NAME).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{INDEX_NAME} cannot be read: {error}", field="dataset") from error
    entries = []
    for number, line in enumerate(text.split("\n")[:-1], start=1):
        try:
            document: dict[str, Any] = json.loads(line)
            entry = Entry(**(document | {"captions": tuple(document.get("captions", ()))}))
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise _refused(number, str(error)) from error
        if not _is_plain(entry):
            raise _refused(number, "not a file of the bundle with its class and split")
        entries.append(entry)
    return entries


def _is_plain(entry: Entry) -> bool:
    texts: tuple[object, ...] = (entry.file, entry.label, *entry.captions)
    if not all(isinstance(text, str) and text for text in texts):
        return False
    inside = not any(part in ("", ".", "..") for part in entry.file.split("/"))
    return inside and "\0" not in entry.file and entry.split in (None, *SPLITS)


def _refused(number: int, reason: str) -> DataError:
    return DataError(f"{INDEX_NAME}, line {number}: {reason}", field="dataset")
