from __future__ import annotations

from pathlib import Path

import pytest

from carot.data.formats.unlabelled import UNKNOWN, open_unlabelled
from carot.errors import DataError
from tests.carot.data.formats.brought import picture, write


def test_images_by_their_bytes_and_the_rest_counted(tmp_path: Path) -> None:
    files = {
        "b/1.png": picture(1),
        "a.jfif": picture(2, "JPEG"),
        "deep/er/no-ending": picture(3),
        "deep/notes.txt": b"hello",
        ".thumbnails/1.png": picture(4),
        "__MACOSX/._a.jfif": b"x",
    }
    source = open_unlabelled(write(tmp_path, files))
    assert source.keys == ["a.jfif", "b/1.png", "deep/er/no-ending"]
    assert source.labels.tolist() == [UNKNOWN] * 3
    assert [source.image(i).size for i in range(3)] == [(8, 8)] * 3
    [warning] = source.warnings
    assert warning.message == ("left out 3 files, not images: 1 .txt, 2 hidden or made by a system")
    with pytest.raises(DataError, match="has no images"):
        open_unlabelled(write(tmp_path / "none", {"a.txt": b""}))
    with pytest.raises(DataError, match="no such folder"):
        open_unlabelled(tmp_path / "missing")
