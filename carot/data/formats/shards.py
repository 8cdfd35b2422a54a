"""WebDataset shards: tars in which the files of one sample share a name and stand together.

The headers are read once, into an index of where each image lies; images are read when they are
asked for. So a run has the same order, resumes the same way and is measured the same way as on a
folder of images, and no image waits in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from carot.data.formats.files import DataFile, find_files
from carot.data.formats.samples import Sample, Written, read_samples
from carot.data.labels import check_no_captions, settle, unlabelled
from carot.data.partition import Arranged, arrange
from carot.data.source import EncodedSource
from carot.errors import DataError, UnreadableImage
from carot.warnings import CodedWarning

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar.lz4")
CLASS_NAMES = ("classes.txt", "classnames.txt")
MAX_IMAGE_BYTES = 256 << 20


class ShardSource(EncodedSource):
    """Images inside tars, read and decoded when asked for, by any number of threads."""

    def __init__(self, arranged: Arranged[Sample], warnings: tuple[CodedWarning, ...]) -> None:
        self.samples = arranged.items
        self.warnings = warnings
        self.classes = arranged.classes
        self.keys = [sample.key for sample in self.samples]
        self.labels = arranged.labels_N

    def content(self, index: int) -> bytes:
        return _content(self.samples[index])

    def size(self, index: int) -> int:
        return self.samples[index].size

    def mark(self, index: int) -> bytes:
        sample = self.samples[index]
        return f"{sample.offset} {sample.size} {sample.shard.modified}".encode()


def open_shards(path: Path, split: str) -> ShardSource:
    """The images of one split of a WebDataset.

    `path` is a folder of `.tar` files, one of them, or a pattern such as `train-{0000..0099}.tar`.
    Shards with a word such as `train` or `val` in their names, or in folders of that name, hold
    that split; without any, samples are dealt out by a hash of their keys; see
    `carot.data.partition.arrange`. A label is a class index or a class name; the names that go
    with indices are the lines of a `classes.txt` or `classnames.txt` beside the shards.

    Raises:
        DataError: no such shards, compressed or damaged ones, a sample without an image, no
            labels or captions in their place, a key twice in one split, fewer than two classes.
    """
    files = find_files(path, (".tar", *COMPRESSED))
    for file in files:
        if file.name.lower().endswith(COMPRESSED):
            raise DataError(
                f"{file.name}: images cannot be read from the middle of a compressed tar; "
                "decompress it",
                field="dataset",
            )
    index = _index(tuple(files), path.name)
    names = _class_names(path, files[0].path) if index.are_indices else None
    arranged = arrange(index.groups, split, path.name, names)
    return ShardSource(arranged, index.warnings)


@dataclass(frozen=True)
class _Index:
    """Every labelled sample, by split."""

    groups: dict[str | None, Sequence[Sample]]
    are_indices: bool
    warnings: tuple[CodedWarning, ...]


@lru_cache(maxsize=4)
def _index(files: tuple[DataFile, ...], where: str) -> _Index:
    """What the shards hold. A run opens the same data set several times: the last are kept."""
    by_split: dict[str | None, dict[str, Written]] = {}
    for file in files:
        samples = by_split.setdefault(file.split, {})
        for sample in read_samples(file):
            first = samples.setdefault(sample.key, sample)
            if first is not sample:
                raise DataError(
                    f"{file.name}: the key {sample.key!r} is also in {first.shard.name}; the "
                    "files of a sample stand together, and keys differ",
                    field="dataset",
                )
    written = [(split, sample) for split in by_split for sample in by_split[split].values()]
    settled = settle([sample.label for _, sample in written], where)
    groups: dict[str | None, list[Sample]] = {split: [] for split in by_split}
    for (split, sample), label in zip(written, settled.labels, strict=True):
        if label is not None:
            groups[split].append(sample.meaning(int(label) if settled.are_indices else label))
    labels = [label for label in settled.labels if label is not None]
    if written and not labels:
        raise DataError(
            f"{where}: no sample has a label in .cls, .json (label or class) or .txt",
            field="dataset",
        )
    check_no_captions(labels, where, "`.cls`, or in `.json` as `label`")
    missing = unlabelled(len(written) - len(labels), len(written), where)
    return _Index(dict(groups), settled.are_indices, (*settled.warnings, *missing))


def _class_names(path: Path, shard: Path) -> list[str] | None:
    folders = dict.fromkeys((path if path.is_dir() else shard.parent, shard.parent))
    for candidate in (folder / name for folder in folders for name in CLASS_NAMES):
        if candidate.is_file():
            try:
                text = candidate.read_text(encoding="utf-8-sig")
            except UnicodeDecodeError as error:
                raise DataError(f"{candidate.name}: not UTF-8", field="dataset") from error
            return [line.strip() for line in text.rstrip().split("\n")]
    return None


def _content(sample: Sample) -> bytes:
    if sample.size > MAX_IMAGE_BYTES:
        raise UnreadableImage(sample.key, f"{sample.size} bytes are too many for one image")
    try:
        # Opened for each image: threads share no position, and thousands of shards no limit.
        with sample.shard.path.open("rb", buffering=0) as file:
            file.seek(sample.offset)
            content = file.read(sample.size)
    except OSError as error:
        raise UnreadableImage(sample.key, f"{sample.shard.name}: {error.strerror}") from error
    if len(content) < sample.size:
        raise UnreadableImage(sample.key, f"{sample.shard.name} has become shorter")
    return content
