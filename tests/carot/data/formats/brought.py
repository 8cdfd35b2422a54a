"""A data set as it is brought in both ways: as an upload, and as a folder in place."""

from __future__ import annotations

import io
import random
import tarfile
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from carot.data.formats.archives import Manifest, normalise
from carot.data.formats.folder import FileSource, open_folder
from carot.data.splits import SPLITS
from carot.errors import DataError
from carot.warnings import CodedWarning

Counts = Mapping[str, Mapping[str, int]]


def picture(seed: int, kind: str = "PNG") -> bytes:
    """Some image of 8 by 8 pixels."""
    pixels = random.Random(seed).randbytes(8 * 8 * 3)
    file = io.BytesIO()
    Image.frombytes("RGB", (8, 8), pixels).save(file, kind)
    return file.getvalue()


def pictures(*folders: str, each: int = 4) -> dict[str, bytes]:
    """So many images in each folder, no two alike."""
    places = [f"{folder}/{i}.png" for folder in folders for i in range(each)]
    return {name: picture(seed) for seed, name in enumerate(places)}


@dataclass
class Brought:
    """What became of a data set, the same either way."""

    classes: tuple[str, ...]
    splits: Counts
    warnings: list[CodedWarning]
    manifest: Manifest
    sources: Mapping[str, FileSource]

    def codes(self) -> set[str]:
        return {str(warning.code) for warning in self.warnings}


def bring(folder: Path, files: Mapping[str, bytes]) -> Brought:
    """Upload the files, open them in place, and see that both are the same data set."""
    manifest, bundle = upload(folder, files)
    with tarfile.open(fileobj=io.BytesIO(bundle)) as tar:
        tar.extractall(folder / "bundle", filter="data")
    stored = opened(folder / "bundle")
    in_place = opened(write(folder / "in place", files))
    for sources in (stored, in_place):
        assert counts(sources) == manifest.splits
        assert {source.classes for source in sources.values()} == {manifest.classes}
    said = [each for each in manifest.warnings if each.code != "empty_split"]
    assert list(in_place["train"].warnings) == said
    return Brought(manifest.classes, manifest.splits, said, manifest, in_place)


def refuse(folder: Path, files: Mapping[str, bytes], message: str) -> None:
    """See that the files are refused both ways, for the same reason."""
    with pytest.raises(DataError) as uploaded:
        upload(folder, files)
    with pytest.raises(DataError) as in_place:
        open_folder(write(folder / "in place", files), "train")
    assert message in uploaded.value.message
    assert message in in_place.value.message
    assert (uploaded.value.field, in_place.value.field) == ("file", "dataset")


def upload(folder: Path, files: Mapping[str, bytes]) -> tuple[Manifest, bytes]:
    path = folder / "upload.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    bundle = io.BytesIO()
    return normalise(path, bundle), bundle.getvalue()


def write(root: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def opened(root: Path) -> dict[str, FileSource]:
    return {split: open_folder(root, split) for split in SPLITS}


def counts(sources: Mapping[str, FileSource]) -> dict[str, dict[str, int]]:
    found = {
        split: Counter(source.classes[label] for label in source.labels)
        for split, source in sources.items()
    }
    return {split: dict(each) for split, each in found.items() if each}
