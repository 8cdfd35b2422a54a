"""What trainers report may hold anything; both databases take it."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from sqlalchemy import text

from store.column_types import clean
from store.database import Database
from store.jobs.claims import beat, claim, fail, record_event, record_metrics
from store.jobs.events import list_events, list_metrics
from store.jobs.transitions import find
from tests.store.conftest import claimed, new_job

ODD = ["a\0b", "a\udcffb", "\ud83d", "日本", "\\u0000", "' OR 1=1 --"]


@pytest.mark.parametrize("word", ODD)
def test_odd_text_is_stored_and_read_back(database: Database, word: str) -> None:
    held = claimed(database, new_job(database))
    with database.session() as session:
        record_event(session, held, "warning", word, data={word: [word, {"deep": (word,)}]})
        fail(session, held, {"code": "data_error", "message": word, "names": [word]})
    with database.reading() as session:
        *_, warning, _failed = list_events(session, held.job_id)
        job = find(session, held.job_id)
    expected = clean(word)
    assert warning.message == expected
    assert warning.data == {expected: [expected, {"deep": [expected]}]}
    assert job.error == {"code": "data_error", "message": expected, "names": [expected]}
    assert expected.encode()
    assert "\0" not in expected


def test_ordinary_values_stay_as_they_are() -> None:
    value: dict[str, Any] = {"a": [1, 2.5, True, None, "é"], "b": {"c": -0.0, "d": 10**20}}
    assert clean(value) == value


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_become_none(database: Database, value: float) -> None:
    held = claimed(database, new_job(database))
    with database.session() as session:
        beat(session, held, 60, {"loss": value, "step": 3})
        record_event(session, held, "evaluation_done", "", data={"metrics": {"ece": value}})
        record_metrics(session, held, [(1, "loss", value), (2, "loss", 0.5)])
    with database.reading() as session:
        assert find(session, held.job_id).progress == {"loss": None, "step": 3}
        assert list_events(session, held.job_id)[-1].data == {"metrics": {"ece": None}}
        assert list_metrics(session, held.job_id) == {"loss": [(1, None), (2, 0.5)]}


def test_no_error_is_null_in_the_database(database: Database) -> None:
    job_id = new_job(database)
    with database.session() as session:
        assert claim(session, job_id, "w", 60) is not None
        count = text("SELECT count(*) FROM jobs WHERE error IS NULL AND progress IS NULL")
        assert session.scalar(count) == 1


@pytest.mark.parametrize(("resolution", "steps"), [(1, [9]), (2, [0, 9]), (4, [0, 3, 6, 9])])
def test_a_curve_is_thinned_to_few_points(
    database: Database, resolution: int, steps: list[int]
) -> None:
    held = claimed(database, new_job(database))
    with database.session() as session:
        record_metrics(session, held, [(step, "loss", 0.0) for step in range(10)])
        curves = list_metrics(session, held.job_id, resolution=resolution)
    assert [step for step, _ in curves["loss"]] == steps


def test_a_thinned_curve_keeps_its_spikes(database: Database) -> None:
    rng = random.Random(0)
    values: list[float | None] = [rng.random() for _ in range(5000)]
    values[1234], values[4321], values[2000:2200] = 50.0, -50.0, [None] * 200
    held = claimed(database, new_job(database))
    with database.session() as session:
        record_metrics(session, held, [(i, "loss", value) for i, value in enumerate(values)])
        for resolution in (8, 9, 100, 1001, 4999):
            thin = list_metrics(session, held.job_id, resolution=resolution)["loss"]
            assert len(thin) <= resolution
            assert len(thin) > resolution / 2 - 2
            assert thin == sorted(set(thin), key=lambda point: point[0])
            assert all(values[step] == value for step, value in thin)
            assert (thin[0][0], thin[-1][0]) == (0, 4999)
            assert {(1234, 50.0), (4321, -50.0)} <= set(thin)
        assert list_metrics(session, held.job_id, resolution=5000)["loss"][2000] == (2000, None)
        thin = list_metrics(session, held.job_id, resolution=500)["loss"]
    assert None in {value for _, value in thin}, "a gap stays one"
