"""Thresholds of sets that follow labels: each counts once, and moving the alias begins anew."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from carot.calibration.monitoring.online_coverage import OnlineCoverage, label_score
from store.database import Database
from store.models.aliases import set_alias
from store.models.coverage import COVERAGES
from store.models.evidence import Served, coverages
from store.predictions.labels import Given, give_labels
from store.tables import DEFAULT_PROJECT
from tests.store.predictions.predicted import a_checkpoint, a_model, predict

LOGITS = np.array([0.5, 2.0, -3.0], dtype="<f4")


def label(database: Database, ids: list[str], name: str, *, replace: bool = False) -> None:
    with database.session() as session:
        give_labels(session, DEFAULT_PROJECT, [Given(id, name, replace) for id in ids])


def now(database: Database, checkpoint: str) -> tuple[OnlineCoverage, ...]:
    with database.reading() as session:
        return coverages(session, Served(DEFAULT_PROJECT, "pets", checkpoint, None))


def expected(labels: list[int]) -> tuple[OnlineCoverage, ...]:
    scores = [label_score(LOGITS.astype(float).tolist(), each) for each in labels]
    return tuple(OnlineCoverage.fresh(coverage).update(scores) for coverage in COVERAGES)


def test_every_label_moves_them_in_its_order(database: Database) -> None:
    checkpoint = a_model(database)
    assert now(database, checkpoint) == expected([])
    ids = predict(database, checkpoint, count=9, logits=LOGITS.tobytes())
    # Given out of the predictions' order.
    label(database, ids[6:], "hen")
    label(database, ids[:6], "dog")
    assert now(database, checkpoint) == expected([2, 2, 2, *[1] * 6])


def test_a_second_label_and_one_without_logits_move_nothing(database: Database) -> None:
    checkpoint = a_model(database)
    ids = predict(database, checkpoint, count=3, logits=LOGITS.tobytes())
    label(database, [ids[0], ids[0]], "cat")
    label(database, ids[:1], "hen", replace=True)
    bare = predict(database, checkpoint, count=2, logits=None)
    broken = predict(database, checkpoint, logits=np.full(3, np.nan, "<f4").tobytes())
    label(database, bare + broken, "cat")
    assert now(database, checkpoint) == expected([0])


def test_moving_the_alias_begins_anew(database: Database) -> None:
    checkpoint = a_model(database)
    label(database, predict(database, checkpoint, count=5, logits=LOGITS.tobytes()), "hen")
    other = a_checkpoint(database)
    for target in (other, checkpoint):
        with database.session() as session:
            set_alias(session, DEFAULT_PROJECT, "pets", target)
        assert now(database, target) == expected([])


def test_labels_given_at_once_count_once_each(database: Database) -> None:
    checkpoint = a_model(database)
    ids = predict(database, checkpoint, count=8, logits=LOGITS.tobytes())

    url = database.url.render_as_string(hide_password=False)

    def give_all(start: int) -> None:
        own = Database(url)
        try:
            for id in ids[start:] + ids[:start]:
                label(own, [id], "hen")
        finally:
            own.close()

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(give_all, start) for start in range(0, 8, 2)]:
            done.result(120)
    assert now(database, checkpoint) == expected([2] * 8)
