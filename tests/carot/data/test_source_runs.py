"""Whole runs on shards and Parquet files end as those on the same images in a folder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from carot.data.formats.parquet import open_parquet, row_groups
from carot.data.resolve import OPENERS, open_dataset
from carot.errors import Interrupted, TooManyUnreadable
from carot.evaluation.reports import Report
from carot.events import Silent
from carot.run import execute
from carot.specs import FinetuneSpec
from carot.specs.base import PATH_SCHEMES
from tests.carot.data.written_images import class_label, members, pictures, write_parquet, write_tar
from tests.carot.tiny import save_tiny, write_images

pytestmark = pytest.mark.slow

CLASSES = ("bright", "dark")
SIZES = {"train": 16, "validation": 4, "calibration": 12, "test": 12}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_tiny(tmp_path / "model")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    for split, each in SIZES.items():
        write_images(root / split, each=each)
    return root


def shards(images: Path, root: Path) -> str:
    for split, found in pictures(images).items():
        half = len(found) // 2
        write_tar(root / split / "0.tar", members(found[:half], CLASSES))
        write_tar(root / split / "1.tar", members(found[half:], CLASSES))
    (root / "classes.txt").write_text("\n".join(CLASSES))
    return f"webdataset:{root}"


def parquet(images: Path, root: Path, rows: int = 5) -> str:
    for split, found in pictures(images).items():
        write_parquet(
            root / "data" / f"{split}-00000-of-00001.parquet",
            [content for _, _, content in found],
            [CLASSES.index(name) for _, name, _ in found],
            metadata=class_label(CLASSES),
            rows=rows,
        )
    return f"parquet:{root}"


def finetune(model: Path, dataset: str) -> FinetuneSpec:
    return FinetuneSpec.model_validate(
        {
            "model": {"folder": str(model)},
            "dataset": dataset,
            "method": {"name": "carot"},
            "training": {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3},
            # Perturbations are drawn by the images' names, which are others in each layout.
            "calibration": {"perturbations": []},
        }
    )


def run(spec: FinetuneSpec, folder: Path) -> Report:
    return execute(spec, folder, Silent()).report


def weights(folder: Path) -> bytes:
    return (folder / "checkpoint" / "open_clip_model.safetensors").read_bytes()


def test_a_server_knows_every_scheme_that_can_be_opened() -> None:
    assert sorted(PATH_SCHEMES) == sorted(OPENERS)


@pytest.mark.parametrize("write", [shards, parquet])
def test_a_run_ends_bit_by_bit_as_that_on_a_folder(
    write: Callable[[Path, Path], str], model: Path, images: Path, tmp_path: Path
) -> None:
    dataset = write(images, tmp_path / "other")
    expected = run(finetune(model, f"folder:{images}"), tmp_path / "folder")
    report = run(finetune(model, dataset), tmp_path / "run")
    [row], [like] = report.datasets, expected.datasets
    assert row.model_copy(update={"dataset": like.dataset}) == like
    assert row.calibrated is not None
    assert report.calibrator == expected.calibrator
    assert weights(tmp_path / "run") == weights(tmp_path / "folder")
    logits = [np.load(tmp_path / f / "logits" / "0.npz")["logits"] for f in ("folder", "run")]
    assert np.array_equal(*logits)


def test_a_run_in_blocks_taken_up_again_ends_the_same(
    model: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = parquet(images, tmp_path / "hf", rows=4)
    small = partial(open_parquet, groups=row_groups(30_000))
    monkeypatch.setitem(OPENERS, "parquet", small)
    source = open_dataset(dataset, "train")
    assert source.blocks is not None
    assert len(source.blocks.ranges) > source.blocks.window  # so that the order is blockwise
    spec = finetune(model, dataset)
    straight = run(spec, tmp_path / "straight")
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    with pytest.raises(Interrupted):
        execute(spec, tmp_path / "resumed", Silent(), should_stop=should_stop)
    resumed = run(spec, tmp_path / "resumed")
    assert resumed.datasets == straight.datasets
    assert weights(tmp_path / "resumed") == weights(tmp_path / "straight")


def test_unreadable_images_of_a_shard_are_named(model: Path, images: Path, tmp_path: Path) -> None:
    (images / "train" / "dark" / "0.png").write_bytes(b"torn")
    spec = finetune(model, shards(images, tmp_path / "wds"))
    with pytest.raises(TooManyUnreadable) as caught:
        run(spec, tmp_path / "run")
    assert caught.value.names == ["train/dark/0"]
