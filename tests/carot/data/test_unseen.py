"""Classes that are left out of a data set, or are all that is kept of it."""

from __future__ import annotations

import numpy as np
import pytest

from carot.data.source import ArraySource
from carot.data.unseen import known_classes, unseen_only, without_unseen
from carot.errors import SpecError

CLASSES = ("ant", "bee", "cat", "dog")
LABELS = np.array([3, 0, 1, 2, 1, 0, 3, 2, 2])


def source() -> ArraySource:
    pixels = np.arange(len(LABELS), dtype=np.uint8)[:, None, None].repeat(2, 1).repeat(2, 2)
    return ArraySource(pixels, LABELS, CLASSES, [f"{i}.png" for i in range(len(LABELS))])


def test_images_of_unseen_classes_are_left_out_and_labels_count_what_is_left() -> None:
    known = without_unseen(source(), ("bee", "nobody"))
    assert known.classes == ("ant", "cat", "dog")
    assert list(known.keys) == [f"{i}.png" for i in (0, 1, 3, 5, 6, 7, 8)]
    assert known.labels.tolist() == [2, 0, 1, 0, 2, 1, 1]
    assert [known.image(i).getpixel((0, 0))[0] for i in range(3)] == [0, 1, 3]  # type: ignore[index]


def test_together_they_are_the_whole() -> None:
    whole, known = source(), without_unseen(source(), ("bee", "dog"))
    others = unseen_only(source(), known.classes)
    assert others.classes == ("bee", "dog")
    assert sorted([*known.keys, *others.keys]) == list(whole.keys)
    names = dict(zip(whole.keys, (CLASSES[c] for c in LABELS), strict=True))
    for part in (known, others):
        assert [part.classes[c] for c in part.labels] == [names[key] for key in part.keys]


def test_nothing_is_wrapped_where_nothing_is_unseen() -> None:
    whole = source()
    assert without_unseen(whole, ()) is whole
    assert without_unseen(whole, ("nobody",)) is whole


def test_classes_that_stand_for_several_go_by_those() -> None:
    grouped = source()
    grouped.members = (("a1", "a2"), ("b",), ("c",), ("d1", "d2"))
    known = without_unseen(grouped, ("a2", "c"))
    assert (known.classes, known.members) == (("bee", "dog"), (("b",), ("d1", "d2")))
    # An image of ant may be of a1, which is known: it is neither.
    assert unseen_only(grouped, ("a1", "b", "d1", "d2")).classes == ("cat",)


@pytest.mark.parametrize(
    ("unseen", "message"),
    [
        (("cow", "bee"), "no classes of the data set: cow; it has ant, bee, cat, dog"),
        (CLASSES, "0 of 4 classes would be left"),
        (CLASSES[1:], "1 of 4 classes would be left"),
    ],
)
def test_what_cannot_be_left_out(unseen: tuple[str, ...], message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        known_classes(CLASSES, unseen)
    assert caught.value.field == "unseen"
    assert known_classes(CLASSES, ("bee", "dog")) == ("ant", "cat")
