"""A tiny model, data sets, specs, and the weights that each spec must give.

`python -m tests.acceptance.chaos.material FOLDER` writes them:

    FOLDER/models/tiny/              in open_clip's layout, without a classifier
    FOLDER/datasets/good/            split/class/number.png
    FOLDER/datasets/torn/            the same with training images that cannot be read
    FOLDER/references/NAME/checkpoint/   what a spec of `SPECS` gives when nothing goes wrong
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from cli.client import Document
from tests.services import ROOT

CLASSES = ("bright", "dark")
SPLITS = {"train": 12, "validation": 4, "calibration": 6, "test": 6}
STEPS = 80
# Long enough for faults in the midst of training: one to two seconds, four snapshots.
TRAINING = {"epochs": STEPS // 2, "batch_size": 12, "learning_rate": 1e-3, "snapshot_every": 20}
SPECS: dict[str, Document] = {
    "carot": {"method": {"name": "carot"}, "training": TRAINING | {"seed": 1}},
    "flyp": {"method": {"name": "flyp"}, "training": TRAINING | {"seed": 2}},
    "lp_ft": {"method": {"name": "lp_ft"}, "training": TRAINING | {"seed": 3}},
}
WEIGHTS = ("open_clip_model.safetensors", "head.safetensors")


def make(folder: Path) -> Path:
    """Write everything, in a process of its own, as it needs torch; returns `folder`."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", __name__, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(folder / "good.zip", "w") as archive:
        for path in sorted((folder / "datasets" / "good").rglob("*.png")):
            archive.write(path, path.relative_to(folder / "datasets" / "good"))
    return folder


def weights(checkpoint: Path) -> dict[str, NDArray[Any]]:
    """Every tensor of a checkpoint's folder, by file and name."""
    return {
        f"{file}:{name}": tensor
        for file in WEIGHTS
        for name, tensor in load_file(checkpoint / file).items()
    }


def differing(checkpoint: Path, reference: Path) -> list[str]:
    """Names of the tensors that are not the same in type, shape and every byte."""
    ours, theirs = weights(checkpoint), weights(reference)
    return sorted(
        name
        for name in ours.keys() | theirs.keys()
        if name not in ours or name not in theirs or not _same(ours[name], theirs[name])
    )


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return (
        a.dtype == b.dtype
        and a.shape == b.shape
        and np.ascontiguousarray(a).tobytes() == (np.ascontiguousarray(b).tobytes())
    )


def _write(folder: Path) -> None:
    from pydantic import TypeAdapter

    from carot.run import execute
    from carot.specs import AnySpec, RunSpec
    from tests.carot.tiny import save_tiny, write_images

    class Silent:
        def report(self, event: object) -> None:
            pass

    save_tiny(folder / "models" / "tiny")
    for name in ("good", "torn"):
        for split, each in SPLITS.items():
            write_images(folder / "datasets" / name / split, each=each)
    for path in (folder / "datasets" / "torn" / "train").rglob("*.png"):
        path.write_bytes(path.read_bytes()[:60])
    adapter: TypeAdapter[AnySpec] = TypeAdapter(RunSpec)
    os.chdir(folder)
    for name, parts in SPECS.items():
        given = {"kind": "finetune", "model": {"folder": "models/tiny"}, **parts}
        spec = adapter.validate_python(given | {"dataset": "folder:datasets/good"})
        execute(spec, Path("references") / name, Silent())


if __name__ == "__main__":
    _write(Path(sys.argv[1]))
