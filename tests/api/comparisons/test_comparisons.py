"""`GET /comparisons`, on reports whose logits are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient

from carot.calibration.metrics.comparing import METRICS, compare, contributions
from tests.api.helpers import bearer, context_of, new_key
from tests.api.reports.stored_logits import Row, add_measured, temperature
from tests.api.rows import add_checkpoint, add_report

ROW = Row.of()
SHIFTED = Row.of(seed=1, name="noise", shift="noise")


def sharper(row: Row) -> Row:
    """The same answers with far too much confidence."""
    return replace(row, logits=row.logits * 5)


def guesses(row: Row) -> Row:
    return replace(row, logits=row.logits.roll(1, 0))


def ask(client: TestClient, *reports: str, **more: Any) -> dict[str, Any]:
    answer = client.get("/comparisons", params={"report": list(reports)} | more)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def test_what_differs_and_what_does_not(client: TestClient, tmp_path: Path) -> None:
    context = context_of(client)
    first, one = add_measured(context, tmp_path, [ROW, SHIFTED])
    second, two = add_measured(context, tmp_path, [sharper(ROW), sharper(SHIFTED)])
    third, _ = add_measured(context, tmp_path, [guesses(ROW), guesses(SHIFTED)])
    found = ask(client, first, second, third)
    assert [each["report_id"] for each in found["models"]] == [first, second, third]
    assert [each["checkpoint_id"] for each in found["models"]][:2] == [one, two]
    assert [each["name"] for each in found["datasets"]] == ["test", "noise"]
    assert found["tests"] == 2 * 2 * 4
    assert found["left_out"] == []
    row = found["datasets"][0]
    assert row["models"][1]["raw"]["ece"] > row["models"][0]["raw"]["ece"] + 0.05
    differences = {(each["report_id"], each["metric"]): each for each in row["differences"]}
    assert len(differences) == 8
    same = differences[second, "accuracy"]
    assert (same["value"], same["real"], same["better"]) == (0.0, False, None)
    for metric in ("nll", "brier", "debiased_squared"):
        assert differences[second, metric]["real"], metric
        assert differences[second, metric]["better"] is False
        assert differences[second, metric]["interval"][0] > 0
    assert differences[third, "accuracy"]["real"]
    assert differences[third, "accuracy"]["better"] is False
    expected = compare([contributions(each.logits.float(), each.labels) for each in
                        (ROW, sharper(ROW), guesses(ROW))])  # fmt: skip
    for report, tested in zip((second, third), expected, strict=True):
        for each in tested:
            shown = differences[report, each.metric]
            assert shown["value"] == pytest.approx(each.difference.value, abs=1e-12)
            assert shown["interval"] == pytest.approx(each.difference.interval, abs=1e-12)
            assert shown["p_value"] == pytest.approx(each.p_value, abs=1e-12)
            assert shown["adjusted_p_value"] >= shown["p_value"]
    # The values are those of the reports.
    for metric in METRICS:
        figures = [each["raw"][metric] for each in row["models"]]
        assert differences[second, metric]["value"] == pytest.approx(figures[1] - figures[0])


def test_calibrated_and_raw(client: TestClient, tmp_path: Path) -> None:
    context, sharp = context_of(client), sharper(ROW)
    first, _ = add_measured(context, tmp_path, [ROW], calibrator=temperature(ROW))
    second, _ = add_measured(context, tmp_path, [sharp], calibrator=temperature(sharp))
    calibrated, raw = (ask(client, first, second, confidence=c) for c in ("calibrated", "raw"))
    assert not any(each["real"] for each in calibrated["datasets"][0]["differences"])
    assert sum(each["real"] for each in raw["datasets"][0]["differences"]) == 3
    figures = [each["calibrated"]["nll"] for each in calibrated["datasets"][0]["models"]]
    [nll] = [e for e in calibrated["datasets"][0]["differences"] if e["metric"] == "nll"]
    assert nll["value"] == pytest.approx(figures[1] - figures[0], abs=1e-9)
    assert {each["confidence"] for each in calibrated["models"]} == {"calibrated"}
    assert {each["confidence"] for each in raw["models"]} == {"raw"}


def test_images_are_paired_by_name(client: TestClient, tmp_path: Path) -> None:
    context, sharp = context_of(client), sharper(ROW)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    moved = replace(
        sharp,
        logits=sharp.logits[order],
        labels=sharp.labels[order],
        keys=[sharp.keys[i] for i in order.tolist()],
    )
    first, _ = add_measured(context, tmp_path, [ROW])
    reports = [add_measured(context, tmp_path, [each])[0] for each in (sharp, moved)]
    one, other = (ask(client, first, each)["datasets"][0]["differences"] for each in reports)
    for a, b in zip(one, other, strict=True):
        assert a["interval"] == pytest.approx(b["interval"], abs=1e-9)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (replace(ROW, keys=[f"x{key}" for key in ROW.keys]), "300 are"),
        (replace(ROW, labels=ROW.labels.roll(1)), "other labels"),
        (replace(ROW, dataset="ds_x"), "not every one"),
    ],
    ids=["images", "labels", "data set"],
)
def test_what_cannot_be_paired(
    client: TestClient, tmp_path: Path, other: Row, message: str
) -> None:
    context = context_of(client)
    first, _ = add_measured(context, tmp_path, [ROW, SHIFTED])
    second, _ = add_measured(context, tmp_path, [other])
    answer = client.get("/comparisons", params={"report": [first, second]})
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "invalid_data"
    assert message in str(problem["errors"])
    # Beside something that can be, it is left out with the reason.
    third, _ = add_measured(context, tmp_path, [other, SHIFTED])
    found = ask(client, first, third)
    assert [each["name"] for each in found["datasets"]] == ["noise"]
    assert message in str(found["left_out"])


def test_other_classes_throughout(client: TestClient, tmp_path: Path) -> None:
    context = context_of(client)
    first, _ = add_measured(context, tmp_path, [ROW])
    second, _ = add_measured(context, tmp_path, [ROW], classes=("cat", "dog", "cow"))
    answer = client.get("/comparisons", params={"report": [first, second]})
    assert (answer.status_code, answer.json()["code"]) == (422, "class_mismatch")


def test_checkpoints_stand_for_their_newest_report(client: TestClient, tmp_path: Path) -> None:
    context = context_of(client)
    _, one = add_measured(context, tmp_path, [ROW])
    newest, _ = add_measured(context, tmp_path, [sharper(ROW)], checkpoint=one)
    add_report(context, one, {"version": 1})  # without logits
    other, two = add_measured(context, tmp_path, [ROW])
    answer = client.get("/comparisons", params={"checkpoint": [one, two]}).json()
    assert [each["report_id"] for each in answer["models"]] == [newest, other]


def test_what_is_refused(client: TestClient, tmp_path: Path) -> None:
    context = context_of(client)
    first, one = add_measured(context, tmp_path, [ROW])
    bare = add_checkpoint(context, b"bare")

    def refused(**params: Any) -> tuple[int, str]:
        answer = client.get("/comparisons", params=params)
        return answer.status_code, answer.json()["detail"]

    assert refused(report=[first])[0] == 422
    assert refused()[0] == 422
    assert refused(report=[first] * 11)[0] == 422
    assert refused(report=[first, first]) == (422, "checkpoint: two of them are the same report")
    assert refused(report=[first], checkpoint=[one])[0] == 422
    assert refused(report=[first, "rep_" + 26 * "0"])[0] == 404
    assert refused(checkpoint=[one, bare])[0] == 422
    assert refused(report=[first, "../x"])[0] == 404


def test_reports_of_others_are_unknown(client: TestClient, tmp_path: Path) -> None:
    context = context_of(client)
    ids = [add_measured(context, tmp_path, [ROW])[0] for _ in range(2)]
    own, other = (bearer(new_key(client, "models:read", project=p)) for p in ("default", "other"))
    params = {"report": ids}
    assert client.get("/comparisons", params=params, headers=own).status_code == 200
    # An answer that is remembered is no way around it.
    assert client.get("/comparisons", params=params, headers=other).status_code == 404
