"""ObjectNet (Barbu et al. 2019) among the classes that it shares with ImageNet.

    objectnet:PATH    PATH/images/FOLDER/*.png and PATH/mappings/, or both one folder deeper

Its four mapping files lead from folders to ImageNet's class indices:

    folder_to_objectnet_label.json    {folder: ObjectNet's name of the class}
    objectnet_to_imagenet_1k.json     {that name: labels of ImageNet classes, joined by "; "};
                                      only classes that both sets have are in it
    imagenet_to_label_2012_v2         an ImageNet label a line, in an order of its own
    pytorch_to_imagenet_2012_id.json  {ImageNet's class index: number of that line, from 0}

A class may stand for several of ImageNet's ("Chair" for three of them).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from carot.data.formats.class_folders import ListedSource, list_images, unpacked
from carot.data.formats.wordnet import imagenet_ids
from carot.errors import DataError, UnreadableImage

BORDER = 2  # pixels: the images carry a red frame, so that nobody trains on them unawares
MAPPINGS = "mappings"


class FramedSource(ListedSource):
    """Listed images without their frame."""

    def image(self, index: int) -> Image.Image:
        image = super().image(index)
        width, height = image.size
        if min(width, height) <= 2 * BORDER:
            raise UnreadableImage(self.keys[index], f"{width}x{height} pixels are all frame")
        return image.crop((BORDER, BORDER, width - BORDER, height - BORDER))


def open_objectnet(root: Path, split: str) -> FramedSource:
    """The images of the shared classes; there is a test split only.

    Classes are named like their folders and sorted; `members` are ImageNet's WordNet ids.

    Raises:
        DataError: a folder or mapping file is missing, or the mappings do not fit together.
    """
    base = unpacked(root, lambda name: name == MAPPINGS, f"folder {MAPPINGS}/")
    members = shared_classes(base / MAPPINGS)
    folders = {name: base / "images" / name for name in sorted(members)}
    missing = [name for name, folder in folders.items() if not folder.is_dir()]
    if missing:
        raise DataError(
            f"{base / 'images'} lacks the folders {', '.join(missing[:10])}"
            + (f" and {len(missing) - 10} more" if len(missing) > 10 else ""),
            field="dataset",
        )
    keys, names = list_images(base, folders if split == "test" else {})
    index = {name: i for i, name in enumerate(folders)}
    labels = [index[name] for name in names]
    return FramedSource(base, keys, labels, list(folders), [members[name] for name in folders])


def shared_classes(mappings: Path) -> dict[str, tuple[str, ...]]:
    """The WordNet ids that each folder of a shared class stands for, in ImageNet's order.

    Raises:
        DataError: a file is missing or of another form, or a name in one is not in the next.
    """
    folder_of = {
        name: folder for folder, name in _table(mappings, "folder_to_objectnet_label.json").items()
    }
    path = mappings / "imagenet_to_label_2012_v2"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}", field="dataset") from error
    numbers: dict[str, list[int]] = {}
    for number, line in enumerate(lines):
        numbers.setdefault(line.strip(), []).append(number)
    index_of = {
        line: index for index, line in _table(mappings, "pytorch_to_imagenet_2012_id.json").items()
    }
    ids = imagenet_ids()
    found: dict[str, tuple[str, ...]] = {}
    for name, labels in _table(mappings, "objectnet_to_imagenet_1k.json").items():
        try:
            indices = []
            for label in labels.split("; "):
                [number] = numbers[label]  # "crane" is there twice, but in no shared class
                indices.append(int(index_of[number]))
            folder = folder_of[name]
            if "/" in folder or folder in ("", ".", ".."):
                raise ValueError("not the name of a folder")
            found[folder] = tuple(ids[index] for index in sorted(indices))
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise DataError(
                f"{mappings}: the class {name!r} does not lead to ImageNet's classes ({labels!r})",
                field="dataset",
            ) from error
    if len(found) < 2:
        raise DataError(f"{mappings}: fewer than two shared classes", field="dataset")
    return found


def _table(mappings: Path, name: str) -> dict[str, Any]:
    path = mappings / name
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}", field="dataset") from error
    if not isinstance(table, dict):
        raise DataError(f"{path} is no table of names", field="dataset")
    return table
