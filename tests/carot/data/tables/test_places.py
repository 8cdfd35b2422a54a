from __future__ import annotations

import pytest

from carot.data.tables.places import Places
from carot.errors import DataError

FILES = (
    "train/im/a.png",
    "train/im/b.JPG",
    "test/im/a.png",
    "part_1/P1.png",
    "part_2/P2.png",
    "caf\u00e9.png",
    "9%3A30.png",
)


@pytest.mark.parametrize(
    ("name", "folder", "file"),
    [
        ("train/im/a.png", "", "train/im/a.png"),
        ("./im/a.png", "train", "train/im/a.png"),
        ("im\\a.png", "test", "test/im/a.png"),
        ("test/im/a.png", "train", "test/im/a.png"),
        ("im/b", "train", "train/im/b.JPG"),
        ("P1", "", "part_1/P1.png"),
        ("P2.png", "", "part_2/P2.png"),
        ("/home/me/pets/train/im/a.png", "", "train/im/a.png"),
        ("C:\\pets\\test\\im\\a.png", "", "test/im/a.png"),
        ("https://x.org/i/P1.png?x", "", None),
        ("s3://bucket/P1.png", "", "part_1/P1.png"),
        ("/data/local-files/?d=test/im/a.png", "", "test/im/a.png"),
        ("/data/upload/3/0123abcd-P2.png", "", "part_2/P2.png"),
        ("/data/local-files/?d=train%2Fim%2Fa.png", "", "train/im/a.png"),
        ("/data/upload/1/0123abcd-caf%C3%A9.png", "", "caf\u00e9.png"),
        ("/data/local-files/?d=im/9%3A30.png", "", "9%3A30.png"),
        ("http://x.org/im/9%253A30.png", "", "9%3A30.png"),
        ("cafe\u0301.png", "", "caf\u00e9.png"),
        ("other/P1.png", "", None),
        ("../train/im/a.png", "", None),
        ("c.png", "", None),
    ],
)
def test_where_an_image_lies(name: str, folder: str, file: str | None) -> None:
    assert Places(FILES).find(name, folder) == file


def test_several_that_may_be_meant() -> None:
    with pytest.raises(DataError, match=r"a\.png may be test/im/a\.png and train/im/a\.png"):
        Places(FILES).find("a.png", "")
    with pytest.raises(DataError, match="may be"):
        Places(["a.png", "a.jpg"]).find("a", "")
