"""Where the key comes from that the service is shown: never from an argument, which others see."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "CAROT_API_KEY"
FILE_VARIABLE = "CAROT_API_KEY_FILE"


class KeyFile:
    """The file that `--key-file` names, if it does; it takes precedence over the variables."""

    chosen: Path | None = None


class NoKeyInFile(Exception):
    """A key file that cannot be read or holds no key. The text is for people."""


def api_key() -> str | None:
    """The key to show, or None when none was given.

    Raises:
        NoKeyInFile: the file that was named holds none.
    """
    if KeyFile.chosen is not None:
        return _read(KeyFile.chosen)
    if given := os.environ.get(VARIABLE, "").strip():
        return given
    named = os.environ.get(FILE_VARIABLE, "").strip()
    return _read(Path(named)) if named else None


def _read(path: Path) -> str:
    try:
        key = path.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise NoKeyInFile(f"the key file {path} cannot be read: {error}") from error
    if not key or not key.isascii() or len(key.split()) != 1:
        raise NoKeyInFile(f"the key file {path} does not hold one key: key_….SECRET")
    return key
