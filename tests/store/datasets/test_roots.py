from __future__ import annotations

from pathlib import Path

import pytest

from carot.data.formats.files import corruption_folders
from carot.errors import DataError
from carot.specs.base import PATH_SCHEMES
from store.datasets.roots import beneath, check_contents, is_path, named_files
from store.errors import NotBeneathRoot


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a data set in each layout, and something beside it that is nobody's business."""
    root = tmp_path / "root"
    for name in ("pets/cat/0.png", "pets/dog/0.png", "shards/train-0.tar", "shards/train-1.tar"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "pets" / "pets.csv").write_text("filepath,label\ncat/0.png,cat\ndog/0.png,dog\n")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "x.png").write_text("secret")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "file-out").symlink_to(tmp_path / "secret" / "x.png")
    (root / "in").symlink_to(root / "pets")
    (root / "round").symlink_to(root / "round")
    return root


@pytest.mark.parametrize("path", ["pets", "pets/", "./pets", "pets/pets.csv", "in", "in/cat", "."])
def test_what_lies_beneath(root: Path, path: str) -> None:
    assert beneath(root, path) == root / path
    assert beneath(root, path).exists()


@pytest.mark.parametrize(
    "path",
    [
        "", "/", "/etc/passwd", "..", "../secret", "pets/../../secret", "pets/..", "out",
        "out/x.png", "file-out", "in/../../secret", "round", "missing", "pets/pets.csv/x", "a\0b",
        "x" * 5000, "~", "//etc", "pets/\udcff",
    ],
)  # fmt: skip
def test_what_does_not(root: Path, path: str) -> None:
    with pytest.raises(NotBeneathRoot) as caught:
        beneath(root, path)
    assert str(root.parent) not in str(caught.value)


def test_an_absolute_path_beneath_the_root_is_not_relative(root: Path) -> None:
    with pytest.raises(NotBeneathRoot, match="relative"):
        beneath(root, str(root / "pets"))


def test_there_is_no_root() -> None:
    with pytest.raises(NotBeneathRoot, match="CAROT_DATASET_ROOT"):
        beneath(None, "pets")


def test_the_message_does_not_tell_what_is_elsewhere(root: Path) -> None:
    messages = set()
    for path in ("out/x.png", "out/missing.png", "missing"):
        with pytest.raises(NotBeneathRoot) as caught:
            beneath(root, path)
        messages.add(str(caught.value))
    assert len(messages) == 1


def test_a_root_that_is_itself_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert beneath(tmp_path / "link", "pets") == root / "pets"


@pytest.mark.parametrize(
    "reference", [*(f"{scheme}:x" for scheme in PATH_SCHEMES), "parquet:", "folder:"]
)
def test_references_to_files(reference: str) -> None:
    assert is_path(reference)


@pytest.mark.parametrize(
    "reference", ["builtin:digits", "ds_1", "folder", "file:///etc", "Folder:x"]
)
def test_references_to_other_things(reference: str) -> None:
    assert not is_path(reference)


def corruption_is(path: Path) -> Path:
    """What `imagenet-c` opens."""
    return next(folder for folder in corruption_folders(path) if folder.is_dir())


def test_files_of_a_pattern(root: Path) -> None:
    expected = [root / "shards" / f"train-{i}.tar" for i in range(2)]
    assert named_files(root, "webdataset:shards/train-{0..1}.tar") == expected
    for pattern in ("train-{0..2}.tar", "train-{1..0}.tar", "train-{a,b}.tar", "{0..99999}.tar"):
        with pytest.raises(NotBeneathRoot):
            named_files(root, f"webdataset:shards/{pattern}")
    with pytest.raises(NotBeneathRoot):  # braces are part of a folder's name
        named_files(root, "folder:shards/train-{0..1}.tar")
    (root / "shards" / "train-2.tar").symlink_to(root.parent / "secret" / "x.png")
    with pytest.raises(NotBeneathRoot):
        named_files(root, "webdataset:shards/train-{0..2}.tar")


def test_a_file_whose_name_looks_like_a_pattern(root: Path) -> None:
    odd = root / "shards" / "train-{0..1}.tar"
    odd.write_text("a file")
    assert named_files(root, "webdataset:shards/train-{0..1}.tar") == [odd]
    odd.unlink()
    odd.symlink_to(root.parent / "secret" / "x.png")  # and not the two files without braces
    with pytest.raises(NotBeneathRoot):
        named_files(root, "webdataset:shards/train-{0..1}.tar")


def test_a_corruption_is_the_folder_that_is_opened(root: Path) -> None:
    for folder in ("c/fog/3", "c/weather/fog/3", "c/weather/snow/3", "noise/fog/1"):
        (root / folder).mkdir(parents=True)
    for path, expected in (
        ("c/fog/3", "c/fog/3"),  # before that of the kind
        ("c/fog/3/", "c/fog/3"),
        ("c//snow/./3", "c/weather/snow/3"),
        ("fog/1", "noise/fog/1"),
    ):
        assert named_files(root, f"imagenet-c:{path}") == [root / expected]
        assert corruption_is(root / path) == root / expected
    (root / "c" / "weather" / "frost").mkdir()
    (root / "c" / "weather" / "frost" / "3").symlink_to(root.parent / "secret")
    (root / "c" / "frost").mkdir()
    (root / "c" / "frost" / "3").write_text("no folder")
    (root.parent / "secret" / "fog").mkdir()
    (root / "c" / "noise").symlink_to(root.parent)
    for path in (
        "", "..", "../..", "pets/..", "pets/../..", "pets/../../secret", "../fog/3", "c/../fog/1",
        "c/fog/..", "/fog/3", "/etc/fog/3", "//", "c/frost/3", "c/rain/3", "c//3",
        "c/secret/fog", "x" * 300 + "/3", "a\0b/fog/3",
    ):  # fmt: skip
        with pytest.raises(NotBeneathRoot) as caught:
            named_files(root, f"imagenet-c:{path}")
        assert str(root.parent) not in str(caught.value)
    with pytest.raises(NotBeneathRoot, match="CAROT_DATASET_ROOT"):
        named_files(None, "imagenet-c:c/fog/3")


# Contents -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reference", ["folder:pets", "csv:pets/pets.csv", "webdataset:shards", "folder:in"]
)
def test_contents_that_stay(root: Path, reference: str) -> None:
    (root / "pets" / "cat" / "1.png").symlink_to(root / "pets" / "dog" / "0.png")
    (root / "pets" / "dogs").symlink_to("dog")
    (root / "pets" / "back").symlink_to(root / "pets")
    check_contents(root, reference)


def test_only_the_corruption_that_is_opened_is_looked_through(root: Path) -> None:
    for kind, name in (("weather", "fog"), ("noise", "shot_noise")):
        (root / "c" / kind / name / "3" / "n01440764").mkdir(parents=True)
    (root / "c" / "noise" / "shot_noise" / "3" / "n01440764" / "0.JPEG").symlink_to("/etc/passwd")
    check_contents(root, "imagenet-c:c/fog/3")
    with pytest.raises(NotBeneathRoot, match=r"0\.JPEG leads out"):
        check_contents(root, "imagenet-c:c/shot_noise/3")


@pytest.mark.parametrize("target", ["x.png", "missing.png", ""])
@pytest.mark.parametrize("place", ["pets/cat/1.png", "pets/mouse", "pets/cat/deep", "shards/t.tar"])
def test_a_link_inside_that_leads_out(root: Path, place: str, target: str) -> None:
    (root / place).symlink_to(root.parent / "secret" / target)
    scheme = "webdataset" if place.startswith("shards") else "folder"
    with pytest.raises(NotBeneathRoot, match=f"{Path(place).name} leads out"):
        check_contents(root, f"{scheme}:{place.partition('/')[0]}")


def test_a_link_to_a_folder_with_a_link_that_leads_out(root: Path) -> None:
    (root / "elsewhere").mkdir()
    (root / "elsewhere" / "sly.png").symlink_to("/etc/passwd")
    (root / "pets" / "mouse").symlink_to(root / "elsewhere")
    with pytest.raises(NotBeneathRoot, match=r"sly\.png leads out"):
        check_contents(root, "folder:pets")


@pytest.mark.parametrize("name", ["../../secret/x.png", "/etc/passwd", "out/x.png", "../out/x.png"])
def test_a_table_that_names_files_elsewhere(root: Path, name: str) -> None:
    (root / "pets" / "out").symlink_to(root / "out")
    (root / "pets" / "pets.csv").write_text(f"filepath,label\ncat/0.png,cat\n{name},dog\n")
    with pytest.raises(NotBeneathRoot, match="leads out"):
        check_contents(root, "csv:pets/pets.csv")


def test_a_table_may_name_files_that_are_not_there(root: Path) -> None:
    (root / "pets" / "pets.csv").write_text("filepath,label\nmissing.png,cat\ndog/0.png,dog\n")
    check_contents(root, "csv:pets/pets.csv")


def test_a_table_that_cannot_be_read(root: Path) -> None:
    (root / "pets" / "pets.csv").write_bytes(b"filepath,label\n\xff,x\n")
    with pytest.raises(DataError, match="UTF-8"):
        check_contents(root, "csv:pets/pets.csv")


def test_class_names_beside_a_shard(root: Path) -> None:
    check_contents(root, "webdataset:shards/train-{0..1}.tar")
    (root / "shards" / "classes.txt").symlink_to("/etc/passwd")
    for reference in ("shards", "shards/train-0.tar", "shards/train-{0..1}.tar"):
        with pytest.raises(NotBeneathRoot, match=r"classes\.txt leads out"):
            check_contents(root, f"webdataset:{reference}")
