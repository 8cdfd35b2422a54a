"""Labels: one truth for each prediction, whoever gives it, and however often."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.access.projects import ensure_project
from store.database import Database
from store.errors import Conflict, NotFound, StoreError, UnknownClass
from store.predictions.labels import Given, Status, class_index, give_labels
from store.predictions.log import get_prediction, list_predictions
from store.tables import DEFAULT_PROJECT, Label
from tests.store.predictions.predicted import CLASSES, a_model, predict


def give(
    database: Database, *labels: Given, project: str = DEFAULT_PROJECT
) -> list[Status | StoreError]:
    with database.session() as session:
        return give_labels(session, project, labels)


def truth(database: Database, prediction_id: str) -> int | None:
    with database.reading() as session:
        label = get_prediction(session, DEFAULT_PROJECT, prediction_id).truth
        return None if label is None else label.class_index


def test_a_label_by_name_and_by_index(database: Database) -> None:
    first, second = predict(database, a_model(database), count=2)
    assert give(database, Given(first, "hen"), Given(second, 0)) == [Status.STORED] * 2
    assert (truth(database, first), truth(database, second)) == (2, 0)


def test_the_same_label_again_changes_nothing(database: Database) -> None:
    [id] = predict(database, a_model(database))
    assert give(database, Given(id, "cat"), Given(id, 0)) == [Status.STORED, Status.UNCHANGED]
    assert give(database, Given(id, "cat", replace=True)) == [Status.UNCHANGED]
    with database.reading() as session:
        row = session.get_one(Label, id)
        assert row.changed_at is None


def test_another_label_has_to_say_so(database: Database) -> None:
    [id] = predict(database, a_model(database))
    give(database, Given(id, "cat"))
    [refused] = give(database, Given(id, "dog"))
    assert isinstance(refused, Conflict)
    assert "'cat'" in str(refused)
    assert truth(database, id) == 0
    assert give(database, Given(id, "dog", replace=True)) == [Status.REPLACED]
    assert truth(database, id) == 1
    with database.reading() as session:
        row = session.get_one(Label, id)
        assert row.changed_at is not None
        assert row.changed_at >= row.given_at


def test_a_bad_label_does_not_spoil_the_others(database: Database) -> None:
    first, second, third = predict(database, a_model(database), count=3)
    outcomes = give(
        database,
        Given(first, "cow"),
        Given("pred_" + 26 * "0", "cat"),
        Given(second, "cat"),
        Given(third, 3),
        Given(third, -1),
        Given(second, "dog"),
    )
    kinds = [type(each) for each in outcomes]
    assert kinds == [UnknownClass, NotFound, Status, UnknownClass, UnknownClass, Conflict]
    assert [truth(database, id) for id in (first, second, third)] == [None, 0, None]


def test_other_projects_predictions_are_unknown(database: Database) -> None:
    [id] = predict(database, a_model(database))
    with database.session() as session:
        other = ensure_project(session, "other").id
    [refused] = give(database, Given(id, "cat"), project=other)
    assert isinstance(refused, NotFound)
    assert truth(database, id) is None


def test_the_list_tells_labelled_from_unlabelled(database: Database) -> None:
    ids = predict(database, a_model(database), count=3)
    give(database, Given(ids[1], "cat"))
    with database.reading() as session:
        for labelled, expected in ((True, [ids[1]]), (False, [ids[2], ids[0]]), (None, ids[::-1])):
            page = list_predictions(session, DEFAULT_PROJECT, alias="pets", labelled=labelled)
            assert [row.id for row in page.data] == expected
        assert not list_predictions(session, DEFAULT_PROJECT, alias="other").data


@pytest.mark.parametrize("labels", [("cat", "cat"), ("cat", "dog")])
def test_two_at_once_leave_one_label(database: Database, labels: Sequence[str]) -> None:
    """Each in a process of its own, as far as the database can tell."""
    ids = predict(database, a_model(database), count=20)
    url = database.url.render_as_string(hide_password=False)
    start = Barrier(2)

    def work(label: str, order: Sequence[str]) -> list[Status | StoreError]:
        own = Database(url)
        start.wait(30)
        try:
            return [outcome for id in order for outcome in give(own, Given(id, label))]
        finally:
            own.close()

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(work, labels[0], ids)
        second = pool.submit(work, labels[1], ids[::-1])
        outcomes = list(zip(first.result(60), second.result(60)[::-1], strict=True))
    for id, pair in zip(ids, outcomes, strict=True):
        assert sum(each is Status.STORED for each in pair) == 1
        [late] = [each for each in pair if each is not Status.STORED]
        if labels[0] == labels[1]:
            assert late is Status.UNCHANGED
        else:
            assert isinstance(late, Conflict)
        winner = labels[pair.index(Status.STORED)]
        assert truth(database, id) == CLASSES.index(winner)


@given(names=st.lists(st.text(max_size=5), unique=True, min_size=1, max_size=8), data=st.data())
def test_every_class_is_found_and_nothing_else(names: list[str], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(names) - 1))
    assert class_index(names, names[place]) == class_index(names, place) == place
    other = data.draw(st.text(max_size=6).filter(lambda text: text not in names))
    for label in (other, len(names), -1):
        with pytest.raises(UnknownClass):
            class_index(names, label)
