"""Among which classes a data set is measured: from a classifier's logits to those of the set.

Robustness sets often have only some of a classifier's classes, or classes that stand for several
of them. The logits are restricted before the softmax, so that confidence is shared out among the
classes that can be right. Shape suffixes: N images, C classes of the classifier, K of the data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from carot.errors import ClassMismatch

if TYPE_CHECKING:
    from torch import Tensor

LISTED = 10


@dataclass(frozen=True)
class LabelSpace:
    """The K classes of a data set, seen from a classifier of C.

    Attributes:
        classes: the K names.
        members: for each of them the indices of the classifier's classes that it stands for, one
            or more; None where the classes are the classifier's own.
    """

    classes: tuple[str, ...]
    members: tuple[tuple[int, ...], ...] | None = None

    def project(self, logits_NC: Tensor) -> Tensor:
        """Logits of shape (N, K): the largest among each class's members."""
        if self.members is None:
            return logits_NC
        first = [indices[0] for indices in self.members]
        logits_NK = logits_NC[:, first]
        for turn in range(1, max(map(len, self.members))):
            # Those with fewer members repeat their first, which changes no maximum.
            column = [m[turn] if turn < len(m) else m[0] for m in self.members]
            logits_NK = logits_NK.maximum(logits_NC[:, column])
        return logits_NK


def label_space(
    found: Sequence[str],
    wanted: Sequence[str],
    *,
    members: Sequence[Sequence[str]] | None,
    restrict: bool,
    name: str,
    field: str,
) -> LabelSpace:
    """The label space of a data set for a classifier.

    Args:
        found: the data set's classes.
        wanted: the classifier's.
        members: names of the classifier's classes for each of the data set's; None for its own.
        restrict: whether classes that differ are meant to.
        name: the row, for messages.
        field: where a mismatch is at fault.

    Raises:
        ClassMismatch: they differ without `restrict`, or with it the data set has a class that
            the classifier lacks, or only one.
    """
    if members is None and tuple(found) == tuple(wanted):
        return LabelSpace(tuple(found))
    groups = [(each,) for each in found] if members is None else members
    if not restrict:
        raise ClassMismatch(
            _difference([each for group in groups for each in group], wanted, name)
            + "; set restrict to measure among its own classes only",
            field=field,
        )
    index = {each: i for i, each in enumerate(wanted)}
    unknown = [each for group in groups for each in group if each not in index]
    if unknown:
        raise ClassMismatch(
            f"{name}: restrict leaves out classes that the data set lacks, but it has "
            f"{_listed(unknown)}, which the classifier does not know",
            field=field,
        )
    if len(found) < 2:
        raise ClassMismatch(f"{name}: one class only, so every answer is right", field=field)
    indices = tuple(tuple(index[each] for each in group) for group in groups)
    return LabelSpace(tuple(found), indices)


def _difference(found: Sequence[str], wanted: Sequence[str], name: str) -> str:
    missing = sorted(set(wanted) - set(found))
    extra = sorted(set(found) - set(wanted))
    parts = []
    if missing:
        parts.append(f"lacks {_listed(missing)}")
    if extra:
        parts.append(f"has {_listed(extra)} besides")
    same = "lists them in another order" if len(found) == len(wanted) else "groups them"
    return f"{name}: its classes differ from those of training: it {' and '.join(parts) or same}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")
