"""WebDataset shards: tars in which the files of one sample share a name and stand together.

The headers are read once, into an index of where each image lies; images are read when they are
asked for. So a run has the same order, resumes the same way and is measured the same way as on a
folder of images, and no image waits in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from carot.data.formats.files import DataFile, find_files
from carot.data.formats.samples import Sample, read_samples
from carot.data.partition import Arranged, arrange
from carot.data.source import EncodedSource
from carot.errors import DataError, UnreadableImage

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar.lz4")
CLASS_NAMES = ("classes.txt", "classnames.txt")
MAX_IMAGE_BYTES = 256 << 20


class ShardSource(EncodedSource):
    """Images inside tars, read and decoded when asked for, by any number of threads."""

    def __init__(self, arranged: Arranged[Sample]) -> None:
        self.samples = arranged.items
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
        DataError: no such shards, compressed or damaged ones, a sample without an image or a
            label, a key twice in one split, fewer than two classes.
    """
    files = find_files(path, (".tar", *COMPRESSED))
    for file in files:
        if file.name.lower().endswith(COMPRESSED):
            raise DataError(
                f"{file.name}: images cannot be read from the middle of a compressed tar; "
                "decompress it",
                field="dataset",
            )
    groups = _index(tuple(files))
    are_numbers = any(isinstance(s.label, int) for samples in groups.values() for s in samples)
    names = _class_names(path, files[0].path) if are_numbers else None
    return ShardSource(arrange(groups, split, path.name, names))


@lru_cache(maxsize=4)
def _index(files: tuple[DataFile, ...]) -> dict[str | None, Sequence[Sample]]:
    """Every sample, by split. A run opens the same data set several times: the last are kept."""
    by_split: dict[str | None, dict[str, Sample]] = {}
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
    if all(isinstance(s.label, int) for samples in by_split.values() for s in samples.values()):
        return {split: list(samples.values()) for split, samples in by_split.items()}
    # Some classes are words, so that the others only look like numbers.
    return {split: [s.worded() for s in samples.values()] for split, samples in by_split.items()}


def _class_names(path: Path, shard: Path) -> list[str] | None:
    folders = dict.fromkeys((path if path.is_dir() else shard.parent, shard.parent))
    for candidate in (folder / name for folder in folders for name in CLASS_NAMES):
        if candidate.is_file():
            try:
                text = candidate.read_text(encoding="utf-8-sig")
            except UnicodeDecodeError as error:
                raise DataError(f"{candidate.name}: not UTF-8", field="dataset") from error
            return [line.strip() for line in text.rstrip().splitlines()]
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
