"""Uploaded archives and folders of images, checked member by member and made into one bundle.

An archive is hostile until shown otherwise: it is never extracted. Its members are listed and
checked first, then read one at a time, bounded, into a deterministic tar of the original image
bytes, `<split>/<class>/<name>` or `<class>/<name>`, and an index that says what each shows, so that
nobody has to recognise it again. A manifest lies beside it. Needs no torch.

    archive ─► members.Members (names, sizes; refused here: links, climbing paths, bombs)
            ─► layouts.Plan (which member is which image of which class and split)
            ─► bundle (a tar) + Manifest (counts, and what was left out)
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from carot.data.dealing import deal, halve
from carot.data.decoding.depth import UNKNOWN, Depth
from carot.data.decoding.images import FORMATS, check_size
from carot.data.formats.bundle_index import INDEX_NAME, Entry, written_index
from carot.data.formats.layouts import Plan, Planned, plan_layout
from carot.data.formats.members import Limits, Members, open_members
from carot.data.inspection import Inspection
from carot.data.labels import in_order
from carot.data.near_copies import NearCopy
from carot.data.splits import SPLITS
from carot.errors import ClassMismatch, DataError, TooManyUnreadable, UnreadableImage
from carot.specs.base import OnCopies
from carot.warnings import CodedWarning

NAMES_IN_MESSAGE = 10
NEAR_COPIES = 1000
"""Most that are listed."""


@dataclass
class Manifest:
    """What a bundle holds.

    Attributes:
        classes: the class names in order.
        splits: split name to class name to number of images, as training will see them.
        images: images in the bundle.
        bytes: their summed size.
        unreadable: "name: reason" of each image that was left out.
        warnings: for the person who uploaded it.
        near_copies: images of two splits that look alike, the most alike first.
        depth: what the numbers of deep images span.
    """

    classes: tuple[str, ...] = ()
    splits: dict[str, dict[str, int]] = field(default_factory=dict)
    images: int = 0
    bytes: int = 0
    unreadable: tuple[str, ...] = ()
    warnings: tuple[CodedWarning, ...] = ()
    near_copies: tuple[NearCopy, ...] = ()
    depth: Depth = UNKNOWN


def normalise(
    source: Path,
    bundle: BinaryIO,
    limits: Limits | None = None,
    copies: OnCopies = "leave_out",
) -> Manifest:
    """Check `source`, a zip, tar or tar.gz file or a folder, and write its images to `bundle`.

    The same images under the same names give the same bytes, whatever archive they came in.

    Args:
        copies: what to do about images that are in two splits.

    Raises:
        DataError: not an archive, hostile, damaged, without images or classes, of no layout that
            `plan_layout` knows; copies that are refused; `TooManyUnreadable` when more than
            `limits.unreadable_share` cannot be decoded.
    """
    limits, inspection = limits or Limits(), Inspection()
    try:
        with open_members(source, limits) as members:
            manifest = _write(plan_layout(members), members, bundle, limits, inspection)
        if copies == "refuse":
            inspection.copies.refuse("the upload", "file")
    except DataError as error:
        error.field = "file"
        raise
    return manifest


def _write(
    plan: Plan, members: Members, bundle: BinaryIO, limits: Limits, inspection: Inspection
) -> Manifest:
    digests: list[bytes] = []
    left_out: list[tuple[str, str]] = []
    unreadable: list[str] = list(plan.missing)
    classes: set[str] = set()
    index: list[Entry] = []
    total = 0
    with tarfile.open(fileobj=bundle, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for planned in sorted(plan.images, key=_place_of_split):
            content = members.read(planned.member)
            try:
                _check_image(content, planned.member)
            except UnreadableImage as error:
                unreadable.append(str(error))
                continue
            classes.add(planned.class_name)
            if not inspection.take(content, planned.split, planned.target):
                left_out.append((planned.split or "", planned.class_name))
                continue
            _append(tar, planned.target, content)
            digests.append(hashlib.sha256(content).digest())
            index.append(Entry(planned.target, planned.class_name, planned.split, planned.captions))
            total += len(content)
        _append(tar, INDEX_NAME, written_index(index))
    images = len(index)
    _check_unreadable(unreadable, images, limits)
    splits = _splits(index, digests, plan)
    near = inspection.near_copies({e.file: s for e, s in zip(index, splits, strict=True)})
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for entry, split in zip(index, splits, strict=True):
        counts[split][entry.label] += 1
    for split, name in left_out:
        counts[split][name] += 0  # a class whose images are all copies is known all the same
    _check_classes(classes, counts, plan, limits)
    return Manifest(
        classes=tuple(in_order(classes)),
        splits={
            name: {each: counts[name][each] for each in in_order(counts[name])}
            for name in SPLITS
            if counts[name].total()
        },
        images=images,
        bytes=total,
        unreadable=tuple(unreadable),
        warnings=(*_warnings(unreadable, counts, plan, members), *inspection.warnings(len(near))),
        near_copies=tuple(near[:NEAR_COPIES]),
        depth=inspection.depth(),
    )


def _place_of_split(planned: Planned) -> int:
    """Images of earlier splits come first, so that copies are found in the later ones."""
    return 0 if planned.split is None else SPLITS.index(planned.split)


def _check_image(content: bytes, name: str) -> None:
    """Format, size and wholeness, with as little decoding as the format allows."""
    if not content:
        raise UnreadableImage(name, "the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's word on bombs: the limit here is our own
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                check_size(image, name)
                if image.format == "PNG":
                    image.verify()  # checksums of all chunks, without inflating them
                else:
                    image.draft("RGB", (image.width // 8, image.height // 8))
                    image.load()
    except UnreadableImage:
        raise
    # A decoder meets arbitrary bytes: whatever it raises means the same to the caller.
    except Exception as error:
        known = "cannot identify" in str(error)
        reason = f"not one of {', '.join(FORMATS)}" if known else (str(error) or repr(error))
        raise UnreadableImage(name, reason) from error


def _append(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o644
    tar.addfile(entry, io.BytesIO(content))


def _splits(index: list[Entry], digests: list[bytes], plan: Plan) -> list[str]:
    """The split of each image, as `carot.data.formats.folder` finds it."""
    places: defaultdict[str | None, list[int]] = defaultdict(list)
    for place, entry in enumerate(index):
        places[entry.split].append(place)
    splits = [""] * len(index)
    for named, members in places.items():
        labels = [index[place].label for place in members]
        own = [digests[place] for place in members]
        if named is None:
            found = deal(own, labels)
        elif named == "validation" and "calibration" not in plan.split_folders:
            found = halve(own, labels)
        else:
            found = [named] * len(members)
        for place, split in zip(members, found, strict=True):
            splits[place] = split
    return splits


def _check_unreadable(unreadable: list[str], images: int, limits: Limits) -> None:
    total = images + len(unreadable)
    if len(unreadable) > limits.unreadable_share * total:
        listed = "; ".join(unreadable[:NAMES_IN_MESSAGE])
        more = len(unreadable) - NAMES_IN_MESSAGE
        raise TooManyUnreadable(
            f"{len(unreadable)} of {total} images cannot be read, more than "
            f"{limits.unreadable_share:.0%}: {listed}" + (f"; and {more} more" if more > 0 else ""),
            unreadable,
        )


def _check_classes(
    classes: set[str], counts: defaultdict[str, Counter[str]], plan: Plan, limits: Limits
) -> None:
    if len(plan.classes) > limits.classes:
        raise DataError(
            f"{len(plan.classes)} classes are more than the {limits.classes} of one data set",
            field="file",
        )
    for name in sorted(plan.classes - classes):
        raise DataError(f"class {name!r} has no readable images", field="file")
    if len(classes) < 2:
        raise DataError(
            f"only one class ({next(iter(classes))!r}); a classifier needs two or more",
            field="file",
        )
    if not plan.split_folders:
        return
    reference = "train" if "train" in plan.split_folders else next(iter(counts))
    for split in counts:
        unknown = sorted(set(counts[split]) - set(counts[reference]))
        if unknown:
            raise ClassMismatch(
                f"{split}/ has classes that {reference}/ does not: "
                f"{', '.join(unknown[:NAMES_IN_MESSAGE])}",
                field="file",
            )


def _warnings(
    unreadable: list[str],
    counts: defaultdict[str, Counter[str]],
    plan: Plan,
    members: Members,
) -> tuple[CodedWarning, ...]:
    found = list(plan.warnings)
    if members.guessed:
        message = (
            f"{len(members.guessed)} names are not in UTF-8, and the zip does not say in what; "
            f"by code page 437 they are as {members.guessed[0]!r}"
        )
        found.append(CodedWarning(code="names_guessed", message=message))
    if unreadable:
        listed = "; ".join(unreadable[:NAMES_IN_MESSAGE])
        plural = "s" * (len(unreadable) != 1)
        message = f"{len(unreadable)} unreadable image{plural} left out: {listed}"
        found.append(CodedWarning(code="unreadable_image", message=message))
    for name in SPLITS:
        if not counts[name].total():
            message = f"no images in the {name} split"
            found.append(CodedWarning(code="empty_split", message=message, names=(name,)))
    return tuple(found)
