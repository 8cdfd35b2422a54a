"""Labels: what images really showed, given after their predictions.

Those who give labels to predictions of one calibrator wait for each other, in any number of
processes, on the row of its e-process. So the test sees every label once, in the order in which
they are given; see `store.models.evidence`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from store.database import database_now
from store.errors import Conflict, NotFound, StoreError, UnknownClass
from store.models.coverage import follow
from store.models.evidence import Served, hold, weigh
from store.predictions.log import class_names
from store.tables import Label, Prediction

MAX_SHOWN = 100


class Status(StrEnum):
    """What became of a label."""

    STORED = "stored"
    UNCHANGED = "unchanged"
    REPLACED = "replaced"


@dataclass(frozen=True)
class Given:
    """One label as it is given: a class name, or an index into the checkpoint's classes.

    Attributes:
        replace: whether it may take the place of another label.
    """

    prediction_id: str
    label: str | int
    replace: bool = False


@dataclass(frozen=True)
class _Kept:
    """A label that is there, or is to be."""

    class_index: int
    status: Status


def give_labels(
    session: Session, project: str, given: Sequence[Given], *, key_id: str | None = None
) -> list[Status | StoreError]:
    """Store labels, and let tests and thresholds of what they are about see them.

    A label that cannot be stored does not keep the others from it. A second label for the same
    prediction changes nothing when it is the same; another one needs `replace`, and then takes the
    first one's place everywhere but in the test and the thresholds, which have seen that.

    Returns:
        For each label what became of it, or `NotFound`, `UnknownClass` or `Conflict`.
    """
    found = _found(session, project, [each.prediction_id for each in given])
    served = {id: _served(project, row) for id, row in found.items()}
    held = hold(session, set(served.values()))
    before = _labels(session, found)
    classes = class_names(session, [row.checkpoint_id for row in found.values()])
    after = dict(before)
    outcomes: list[Status | StoreError] = []
    told: dict[Served, list[tuple[float, bool]]] = defaultdict(list)
    first: dict[Served, dict[str, int]] = defaultdict(dict)
    for each in given:
        try:
            row = found.get(each.prediction_id)
            if row is None:
                raise NotFound("prediction", each.prediction_id)
            index = class_index(classes[row.checkpoint_id], each.label)
            status = _status(after.get(row.id), index, each, classes[row.checkpoint_id])
        except StoreError as error:
            outcomes.append(error)
            continue
        after[row.id] = index
        outcomes.append(status)
        if status is Status.STORED:
            told[served[row.id]].append((row.confidence, index == row.class_index))
            first[served[row.id]][row.id] = index
    _write(session, before, after, key_id)
    for who, seen in told.items():
        follow(session, held[who], first[who])
        weigh(session, who, held[who], seen)
    return outcomes


def not_written(session: Session, project: str, ids: Collection[str]) -> set[str]:
    """Which of these predictions a project does not have."""
    there: set[str] = set()
    for some in _pieces(sorted(ids)):
        query = select(Prediction.id).where(
            Prediction.id.in_(some), Prediction.project_id == project
        )
        there.update(session.scalars(query))
    return set(ids) - there


def class_index(classes: Sequence[str], label: str | int) -> int:
    """The place of a label among a checkpoint's classes.

    Raises:
        UnknownClass: there is no such class.
    """
    if isinstance(label, int):
        if not 0 <= label < len(classes):
            raise UnknownClass(f"no class {label}; the model knows 0 to {len(classes) - 1}")
        return label
    if label not in classes:
        known = ", ".join(classes[:10]) + (", …" if len(classes) > 10 else "")
        raise UnknownClass(f"no class {label[:MAX_SHOWN]!a}; the model knows {known}")
    return classes.index(label)


def _status(old: int | None, index: int, given: Given, classes: Sequence[str]) -> Status:
    if old is None:
        return Status.STORED
    if old == index:
        return Status.UNCHANGED
    if not given.replace:
        raise Conflict(
            f"{given.prediction_id} was labelled {classes[old]!r}; say `replace` to change that"
        )
    return Status.REPLACED


def _found(session: Session, project: str, ids: Sequence[str]) -> dict[str, Any]:
    columns = (
        Prediction.id,
        Prediction.alias,
        Prediction.checkpoint_id,
        Prediction.calibrator_id,
        Prediction.class_index,
        Prediction.confidence,
    )
    rows: dict[str, Any] = {}
    for some in _pieces(sorted(set(ids))):
        query = (
            select(*columns)
            .where(Prediction.id.in_(some), Prediction.project_id == project)
            .order_by(Prediction.id)
            .with_for_update(read=True, key_share=True)  # nobody removes it meanwhile
        )
        rows |= {row.id: row for row in session.execute(query)}
    return rows


def _served(project: str, row: Any) -> Served:
    return Served(project, row.alias, row.checkpoint_id, row.calibrator_id)


def _labels(session: Session, found: Mapping[str, Any]) -> dict[str, int]:
    labels: dict[str, int] = {}
    for some in _pieces(sorted(found)):
        query = select(Label.prediction_id, Label.class_index).where(Label.prediction_id.in_(some))
        labels |= dict(session.execute(query).all())
    return labels


def _write(
    session: Session, before: Mapping[str, int], after: Mapping[str, int], key_id: str | None
) -> None:
    rows = [
        {"prediction_id": id, "class_index": index, "key_id": key_id}
        for id, index in after.items()
        if id not in before
    ]
    if rows:
        session.execute(insert(Label), rows)
    for id, index in after.items():
        if id in before and before[id] != index:
            values = {"class_index": index, "key_id": key_id, "changed_at": database_now()}
            session.execute(update(Label).where(Label.prediction_id == id).values(values))


def _pieces(ids: Sequence[str], size: int = 1000) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]
