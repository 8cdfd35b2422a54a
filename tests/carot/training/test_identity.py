from __future__ import annotations

import os
from pathlib import Path

import pytest

from carot.data.formats.folder import open_folder
from carot.data.identity import DataIdentity
from carot.specs import FinetuneSpec
from carot.training.identity import RunIdentity
from tests.carot.tiny import write_images

OTHER = "bright"


def identity(root: Path, **changes: object) -> RunIdentity:
    spec = {"model": {"architecture": "carot-mini"}, "dataset": "folder:data", **changes}
    return RunIdentity.of(FinetuneSpec.model_validate(spec), open_folder(root, "train"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_images(tmp_path / "train", each=4)
    return tmp_path


def test_an_equal_run_goes_on_whatever_is_asked_of_its_evaluation(root: Path) -> None:
    document = identity(root).document()
    assert identity(root).difference(document) == ""
    assert identity(root, evaluation={"batch_size": 7}).difference(document) == ""


def test_a_class_that_was_renamed_is_named(root: Path) -> None:
    document = identity(root).document()
    (root / "train" / "dark").rename(root / "train" / "zark")
    difference = identity(root).difference(document)
    assert "training images have changed" in difference
    assert "gone: dark; new: zark" in difference


def test_every_other_change_of_the_images_is_told(root: Path) -> None:
    folder = root / "train" / "dark"
    first, second = sorted(folder.iterdir())[:2]
    before = DataIdentity.of(open_folder(root, "train"))

    def changes() -> str:
        return "; ".join(before.changes(DataIdentity.of(open_folder(root, "train"))))

    assert changes() == ""
    times = first.stat().st_atime_ns, first.stat().st_mtime_ns
    content = first.read_bytes()
    first.write_bytes(content + b"\0")
    os.utime(first, ns=times)
    assert "another size or time" in changes()
    first.write_bytes(content)
    os.utime(first, ns=(times[0], times[1] + 1))
    assert "another size or time" in changes()
    os.utime(first, ns=times)
    moved = second.rename(folder / "aaa.png")
    assert "other names" in changes()
    moved.rename(second)
    assert changes() == ""
    second.rename(root / "train" / OTHER / "new.png")
    assert changes() == f"{OTHER}: 4 images then, 5 now; dark: 4 images then, 3 now"


def test_what_differs_in_the_spec_is_named(root: Path) -> None:
    document = identity(root).document()
    changed = identity(root, training={"epochs": 3}, method={"name": "flyp"})
    difference = changed.difference(document)
    assert "method.name was 'carot', is 'flyp'" in difference
    assert "training.epochs was" in difference


def test_a_field_of_a_later_release_is_no_difference_at_its_default(root: Path) -> None:
    document = identity(root).document()
    earlier = dict(document["spec"])
    del earlier["training.weight_decay"]
    old = {**document, "spec": earlier}
    assert identity(root).difference(old) == ""
    other = identity(root, training={"weight_decay": 0.5})
    assert "training.weight_decay is 0.5" in other.difference(old)


# Written by the release before this one.
EARLIER = "2635e36d47dacf2ccb3e7e169e8e1e2b6e68909950570666fc99649e3b8e7f11"
AS_THEN = {"epochs": 10, "batch_size": 128, "learning_rate": 1e-5}


def test_a_snapshot_that_has_a_fingerprint_only(root: Path) -> None:
    assert identity(root, training=AS_THEN).difference(EARLIER) == ""
    assert identity(root, training={**AS_THEN, "epochs": 3}).difference(EARLIER) != ""
    frozen = {**AS_THEN, "freeze_batch_norm": True}
    assert identity(root, training=frozen).difference(EARLIER) != ""
    average = {"average": {"kind": "beta"}}
    assert identity(root, training=AS_THEN, selection=average).difference(EARLIER) != ""
