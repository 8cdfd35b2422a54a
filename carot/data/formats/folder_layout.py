"""Class folders, in split folders or not: `class/name.png`, `train/class/name.png`.

What is not clearly that is refused: a folder that is taken for a class and is none makes a model
that answers with names of folders.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from carot.data.labels import composed
from carot.data.splits import SPLITS, is_split_word, split_named
from carot.errors import DataError
from carot.warnings import CodedWarning

NAMES_IN_MESSAGE = 10
PART = re.compile(
    r"(?:.*[\W_])?(?:"
    r"(?:(?:k|cross)?folds?|splits?|parts?|subsets?)[\W_]*(?:\d+|[\W_][a-z])|"
    r"(?:batch(?:es)?|shards?|chunks?|cv|images?|imgs?|sets?|data(?:sets?)?)[\W_]*\d+)",
    re.IGNORECASE,
)
"""Names of folders that hold a part of all images: `fold_0`, `images_part_1`."""

HIVE = re.compile(r"(?:label|class|category|target)=.+", re.IGNORECASE)
"""Folders that say what they are named after: `label=cat`."""


@dataclass(frozen=True)
class FolderImage:
    """An image in a class folder; `rest` is its path within that."""

    file: str
    class_name: str
    split: str | None
    rest: str


@dataclass
class FolderImages:
    """All of them."""

    images: list[FolderImage] = field(default_factory=list)
    warnings: list[CodedWarning] = field(default_factory=list)


class _Tree:
    """Images by the folders that they lie in.

    Attributes:
        inside: folder to the folders directly in it, those without images as well.
        direct: folders with images directly in them.
        holding: folders with images in them at any depth.
    """

    def __init__(self, folders: Iterable[str], images: Iterable[str]) -> None:
        self.inside: dict[str, set[str]] = {}
        self.images = sorted(images)
        self.direct = {posixpath.dirname(image) for image in self.images}
        self.holding = {
            "/".join(parts[:i])
            for parts in (folder.split("/") for folder in self.direct)
            for i in range(1, len(parts) + 1)
        }
        for folder in (*folders, *self.direct):
            parts = folder.split("/")
            paths = ["/".join(parts[:i]) for i in range(len(parts) + 1)] if folder else []
            for parent, child in pairwise(paths):
                self.inside.setdefault(parent, set()).add(child)

    def children(self, folder: str) -> list[str]:
        """The folders directly in one, sorted."""
        return sorted(self.inside.get(folder, ()))

    def only_child(self, folder: str) -> str | None:
        """The one folder in a folder without images of its own."""
        children = self.children(folder)
        return children[0] if len(children) == 1 and folder not in self.direct else None


def top_folder(folders: Collection[str], files: Iterable[str]) -> str:
    """The one folder around all of `files`, with its slash, or "" when there is none."""
    tree = _Tree(folders, files)
    top = _top(tree)
    return f"{top}/" if top else ""


def class_folders(folders: Collection[str], images: Sequence[str]) -> FolderImages:
    """The images of a data set by class folder.

    Args:
        folders: all there are, those without images as well.

    Raises:
        DataError: an image outside of the class folders, folders beside those of splits, class
            folders one level deeper, parts or folds in place of classes, a class without images.
    """
    tree = _Tree(folders, images)
    top = _top(tree)
    found = FolderImages()
    splits = _split_folders(tree, top, found)
    if not splits:
        _add_classes(found, tree, top, None)
        found.warnings += _wrapper_like_split(top)
    for folder, split in splits.items():
        _add_classes(found, tree, _within(tree, folder), split)
    stray = sorted(set(tree.images) - {image.file for image in found.images})
    if stray:
        raise _refused(
            f"{stray[0]}: not in a class folder; images lie at class/name.png or "
            "train/class/name.png, or a table names them"
        )
    return found


def _wrapper_like_split(top: str) -> list[CodedWarning]:
    name = posixpath.basename(top)
    if not any(is_split_word(word) for word in re.split(r"[\W_\d]+", name)):
        return []
    message = (
        f"{name}, the folder around everything, is not taken for a split: its images are dealt "
        "out to all of them"
    )
    return [CodedWarning(code="class_named_like_split", message=message)]


def _top(tree: _Tree) -> str:
    """Down through folders that are the only ones, to where there are several or images."""
    top = ""
    while (child := tree.only_child(top)) is not None:
        if is_split_word(posixpath.basename(child)) or child in tree.direct:
            return top  # only one split, or only one class
        if not tree.children(child):
            return top
        top = child
    return top


def _within(tree: _Tree, folder: str) -> str:
    """The folder in which a split's classes lie: archives repeat its name (`train/train/cat`)."""
    while (child := tree.only_child(folder)) is not None:
        if posixpath.basename(child) != posixpath.basename(folder) or child in tree.direct:
            break
        folder = child
    return folder


def _split_folders(tree: _Tree, top: str, found: FolderImages) -> dict[str, str]:
    """Folder to split; none where the folders are classes.

    Raises:
        DataError: some are splits and others with images are not, two are the same split, or
            images lie directly in those of splits.
    """
    children = tree.children(top)
    named = {child: split_named(posixpath.basename(child)) for child in children}
    splits = {child: split for child, split in named.items() if split is not None}
    others = [child for child in children if named[child] is None and child in tree.holding]
    if not splits:
        return {}
    flat = [child for child in splits if child in tree.direct]
    alike = len(flat) == len(splits) and all(other in tree.direct for other in others)
    if others and alike and len(splits) == 1:  # vehicles: bus, car, train
        message = (
            f"{_listed(splits)} is taken for a class, since it holds images itself and stands "
            f"beside {_listed(others)}"
        )
        found.warnings.append(CodedWarning(code="class_named_like_split", message=message))
        return {}
    if others:
        raise _refused(
            f"folders {_listed(others)} stand beside {_listed(splits)}; the folders of splits are "
            f"{', '.join(SPLITS)} or named after them: rename those that are, and remove the others"
        )
    if flat:
        raise _refused(
            f"images lie directly in {_listed(flat)}, which is named after a split: put them in "
            "class folders, such as train/class/name.png, or let a table name them"
        )
    for split in set(splits.values()):
        same = [child for child in splits if splits[child] == split]
        if len(same) > 1:
            raise _refused(
                f"folders {_listed(same)} are all named after the {split} split: put their class "
                f"folders together in {split}/"
            )
    return splits


def _add_classes(found: FolderImages, tree: _Tree, base: str, split: str | None) -> None:
    """The images in the class folders of `base`."""
    folders = tree.children(base)
    if folders and all(PART.fullmatch(posixpath.basename(folder)) for folder in folders):
        raise _refused(
            f"folders {_listed(folders)} look like parts or folds of the images, not like classes: "
            "sort the images into class folders, or let a table name them"
        )
    by_class: dict[str, list[str]] = {folder: [] for folder in folders}
    start = f"{base}/" if base else ""
    for image in tree.images:
        if image.startswith(start) and (first := image[len(start) :].partition("/"))[1]:
            by_class[start + first[0]].append(image)
    empty = sorted(folder for folder, images in by_class.items() if not images)
    if empty:
        raise _refused(f"class folder {empty[0]!r} has no images")
    _check_depth(tree, folders)
    names = [composed(posixpath.basename(folder)) for folder in folders]
    if all(HIVE.fullmatch(name) for name in names):
        names = [name.partition("=")[2] for name in names]
    for name, (folder, images) in zip(names, by_class.items(), strict=True):
        found.images += [
            FolderImage(image, name, split, image[len(folder) + 1 :]) for image in images
        ]


def _check_depth(tree: _Tree, folders: Sequence[str]) -> None:
    """Refuse class folders that hold no images themselves, but folders that look like classes.

    One folder of the same name in each of them, as in `cat/images/1.jpg`, does not.
    """
    deep = [folder for folder in folders if folder not in tree.direct]
    inner = {posixpath.basename(child) for folder in deep for child in tree.children(folder)}
    if len(inner) < 2 or 2 * len(deep) < len(folders):
        return
    examples = [child for folder in deep for child in tree.children(folder)]
    raise _refused(
        f"images lie one folder deeper than expected, in {_listed(examples)}: it is not clear "
        "which folders are the classes. Put the images directly into the class folders, or let a "
        "table name them"
    )


def _listed(folders: Iterable[str]) -> str:
    names = list(folders)
    more = len(names) - NAMES_IN_MESSAGE
    return ", ".join(names[:NAMES_IN_MESSAGE]) + (f" and {more} more" if more > 0 else "")


def _refused(message: str) -> DataError:
    return DataError(message, field="dataset")
