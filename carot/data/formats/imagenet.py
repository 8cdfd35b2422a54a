"""ImageNet and its shifted relatives, read from folders as they are published.

    imagenet:PATH            PATH/train/n…/*.JPEG and PATH/val/n…/*.JPEG; val alone can be evaluated
    imagenet-v2:PATH         PATH/0/ … PATH/999/, folders by class index
    imagenet-r:PATH          PATH/n…/; in the same way imagenet-a:PATH and imagenet-sketch:PATH
    imagenet-c:PATH/NAME/3   PATH/NAME/3/n…/ or, as in the archives, PATH/noise/NAME/3/n…/

The class folders of the relatives may lie one folder deeper, as archives unpack. Classes are the
WordNet ids of the folders that are there, in ImageNet's order; the relatives have a test split
only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from carot.data.formats.class_folders import ListedSource, list_images, subfolders, unpacked
from carot.data.formats.files import CORRUPTION_GROUPS, corruption_folders
from carot.data.formats.wordnet import WORDNET_ID, imagenet_ids, imagenet_index
from carot.data.splits import split_of
from carot.errors import DataError

SHARES = {"validation": 0.01, "calibration": 0.02, "train": 0.97}
"""How `train/` is dealt out, by a hash of the file name; `val/` is what everybody tests on."""


def open_imagenet(root: Path, split: str) -> ListedSource:
    """One split of ImageNet: `test` is `val/`, the others are dealt out of `train/` (`SHARES`).

    Raises:
        DataError: neither folder is there, or its folders are not ImageNet's classes.
    """
    parts = [name for name in ("train", "val") if (root / name).is_dir()]
    if not parts:
        raise DataError(f"{root} has neither train/ nor val/", field="dataset")
    folders = {part: _by_wordnet_id(root / part) for part in parts}
    # Every split has the same classes, whichever folder its images are in.
    classes = _in_order(wordnet_id for found in folders.values() for wordnet_id in found)
    wanted = "val" if split == "test" else "train"
    keys, names = list_images(root, folders.get(wanted, {}))
    pairs = zip(keys, names, strict=True)
    if split == "test":
        return _source(root, pairs, classes)
    return _source(root, [pair for pair in pairs if _dealt_to(pair[0]) == split], classes)


def open_v2(root: Path, split: str) -> ListedSource:
    """ImageNet-V2, whose folders are class indices.

    Raises:
        DataError: no such folder, or its folders are no indices from 0 to 999.
    """
    base = unpacked(root, str.isdecimal, "folders by class index (0 to 999)")
    ids = imagenet_ids()
    folders: dict[str, Path] = {}
    for folder in subfolders(base):
        if not folder.name.isdecimal() or int(folder.name) >= len(ids):
            raise DataError(f"{folder} is no class index from 0 to 999", field="dataset")
        folders[ids[int(folder.name)]] = folder
    return _test_split(base, folders, split)


def open_relative(root: Path, split: str) -> ListedSource:
    """A test set in WordNet-id folders: ImageNet-R, -A and -Sketch.

    Raises:
        DataError: no such folder, or its folders are not classes of ImageNet.
    """
    base = unpacked(root, _is_wordnet_id, "folders by WordNet id (n01440764 …)")
    return _test_split(base, _by_wordnet_id(base), split)


def open_c(path: Path, split: str) -> ListedSource:
    """One corruption and severity of ImageNet-C: `path` ends in both, such as `fog/3`.

    Raises:
        DataError: no such folder, with or without one of CORRUPTION_GROUPS before the corruption.
    """
    found = next((each for each in corruption_folders(path) if each.is_dir()), None)
    if found is None:
        raise DataError(
            f"{path}: no such folder, nor below {', '.join(CORRUPTION_GROUPS)} in "
            f"{path.parent.parent}; a reference ends in a corruption and a "
            "severity, such as imagenet-c:PATH/fog/3",
            field="dataset",
        )
    return open_relative(found, split)


OPENERS: dict[str, Callable[[Path, str], ListedSource]] = {
    "imagenet": open_imagenet,
    "imagenet-v2": open_v2,
    "imagenet-r": open_relative,
    "imagenet-a": open_relative,
    "imagenet-sketch": open_relative,
    "imagenet-c": open_c,
}


def _by_wordnet_id(folder: Path) -> dict[str, Path]:
    found = {each.name: each for each in subfolders(folder)}
    strange = sorted(found.keys() - set(imagenet_ids()))
    if strange:
        raise DataError(
            f"{folder}: {', '.join(strange[:10])}: no WordNet ids of ImageNet's classes",
            field="dataset",
        )
    if not found:
        raise DataError(f"{folder}: no folders by WordNet id (n01440764 …)", field="dataset")
    return found


def _is_wordnet_id(name: str) -> bool:
    return WORDNET_ID.fullmatch(name) is not None


def _in_order(wordnet_ids: Iterable[str]) -> list[str]:
    classes = sorted(set(wordnet_ids), key=imagenet_index().__getitem__)
    if len(classes) < 2:
        raise DataError(f"only one class ({classes[0]}); a classifier needs two", field="dataset")
    return classes


def _dealt_to(key: str) -> str:
    # The name and not the content: reading 1.28 million files takes hours.
    return split_of(key.rpartition("/")[2].encode(), SHARES)


def _test_split(base: Path, folders: Mapping[str, Path], split: str) -> ListedSource:
    classes = _in_order(folders)
    if split != "test":
        return _source(base, (), classes)
    ordered = {wordnet_id: folders[wordnet_id] for wordnet_id in classes}
    return _source(base, zip(*list_images(base, ordered), strict=True), classes)


def _source(root: Path, pairs: Iterable[tuple[str, str]], classes: list[str]) -> ListedSource:
    index = {name: i for i, name in enumerate(classes)}
    keys, labels = [], []
    for key, name in pairs:
        keys.append(key)
        labels.append(index[name])
    return ListedSource(root, keys, labels, classes)
