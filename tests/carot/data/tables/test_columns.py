from __future__ import annotations

import pytest

from carot.data.tables.columns import NamedImage, understand
from carot.data.tables.reader import read_table
from carot.errors import DataError


def rows(text: str) -> list[NamedImage]:
    table = read_table("t.csv", text.encode())
    assert table is not None
    return list(understand(table).images)


def codes(text: str) -> list[str]:
    table = read_table("t.csv", text.encode())
    assert table is not None
    return [warning.code for warning in understand(table).warnings]


@pytest.mark.parametrize(
    "header",
    [
        "filepath,label",
        "Filepath,Label",
        " file_name , LABEL",
        "File Name,class",
        "image_id,category",
        "image,choice",
        "filename,Class-Name",
        "path,title",
        "id,target",
        "Path,ClassId",
    ],
)
def test_names_of_columns(header: str) -> None:
    [one, two] = rows(f"{header}\na.png,cat\nb.png,dog\n")
    assert (one.name, one.label, one.split) == ("a.png", "cat", None)
    assert two.where == "t.csv, line 3"


@pytest.mark.parametrize("name", ["split", "Split", " split", "subset", "data_split", "set"])
def test_splits(name: str) -> None:
    found = rows(f"filepath,label,{name}\na,x,TRAIN\nb,y, val\nc,x,Testing\nd,y,calib\n")
    assert [row.split for row in found] == ["train", "validation", "test", "calibration"]


@pytest.mark.parametrize(
    ("flags", "splits"),
    [
        ("is_valid\na,x,True\nb,y,False", ["validation", "train"]),
        ("is_train\na,x,1\nb,y,0", ["train", "test"]),
        ("is_val,Is Test\na,x,1,0\nb,y,0,1\nc,x,0,0", ["validation", "test", "train"]),
    ],
)
def test_flags(flags: str, splits: list[str]) -> None:
    assert [row.split for row in rows(f"fname,labels,{flags}\n")] == splits


def test_flags_that_say_nothing() -> None:
    with pytest.raises(DataError, match="line 2: is_val and is_test say no one split"):
        rows("fname,labels,is_val,is_test\na,x,1,1\n")
    with pytest.raises(DataError, match="line 2: is_train and is_test say no one split"):
        rows("fname,labels,is_train,is_test\na,x,0,0\n")
    assert codes("fname,labels,is_valid\na,x,maybe\nb,y,no\n") == ["columns_not_used"]


def test_columns_that_might_be_splits_are_told() -> None:
    text = "filepath,label,fold\na,x,0\nb,y,1\n"
    assert [row.split for row in rows(text)] == [None, None]
    assert codes(text) == ["columns_not_used"]
    assert codes("filepath,label,split,subset\na,x,train,b\n") == ["columns_not_used"]


def test_titles_are_captions_where_there_is_a_label() -> None:
    found = rows("title\tfilepath\tlabel\na photo of a cat.\ta\t0\na photo of a dog.\tb\t1\n")
    assert [(row.label, row.caption) for row in found] == [
        ("0", "a photo of a cat."),
        ("1", "a photo of a dog."),
    ]
    assert [row.caption for row in rows("filepath,title\na,cat\nb,dog\n")] == [None, None]


def test_names_are_better_than_their_numbers() -> None:
    found = rows("filepath,label,class name\na,0,cat\nb,1,dog\nc,0,cat\n")
    assert [row.label for row in found] == ["cat", "dog", "cat"]
    # Not where they are no names of these numbers.
    found = rows("filepath,label,category\na,0,pet\nb,1,pet\n")
    assert [row.label for row in found] == ["0", "1"]


def test_one_column_for_each_class() -> None:
    text = "filename, cat, dog\na,1,0\nb, 0, 1\nc,0,0\n"
    assert [row.label for row in rows(text)] == ["cat", "dog"]
    assert codes(text) == ["images_unlabelled"]
    with pytest.raises(DataError, match="line 2: cat and dog are all 1"):
        rows("filename,cat,dog\na,1,1\n")


def test_a_class_may_hold_a_slash_and_a_row_may_have_none() -> None:
    text = "filepath,label\na,T-shirt/top\nb,\nc,null\nd,Trouser\n"
    assert [row.label for row in rows(text)] == ["T-shirt/top", "Trouser"]
    assert codes(text) == ["images_unlabelled"]
    assert [row.label for row in rows("filepath,label\na,0\nb,-1\nc,1\n")] == ["0", "1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lesion,image_id,dx\nL,a,mel\n", "for classes; its columns are lesion, image_id, dx"),
        ("name,label\na,x\n", "for images; its columns are name, label"),
        ("a.png,cat\nb.png,dog\n", "its columns are a.png, cat"),
        ("", "its columns are none"),
        ("filepath,label,Label\na,x,y\n", "two columns named label"),
        ("filepath,label,split\na,x,exam\n", "line 2: split 'exam' is none of train"),
        ("filepath,label,set\na,x,train\nb,y,rest\n", "line 3: set 'rest' is none of"),
        ("filepath,label,split\na,x,\n", "line 2: split '' is none of"),
        ("filepath,label\n,x\n", "line 2: no filepath"),
        ("filepath,label\na,\n", "not one row has a label"),
        ('image,choice\na,"{""choices"": [""x"", ""y""]}"\n', "is more than one class"),
    ],
)
def test_tables_that_are_not_understood(text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        rows(text)
    assert message in caught.value.message
    assert caught.value.field == "dataset"
