"""What the API says of a job with adapters before it is queued."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

BODY = {
    "kind": "finetune",
    "model": {"architecture": "carot-mini"},
    "dataset": "builtin:digits",
}


def test_a_check_says_all_of_them_and_their_rate(client: TestClient) -> None:
    def checked(**body: Any) -> dict[str, Any]:
        answer = client.post("/jobs/check", json=BODY | body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["warnings"] == []
        spec: dict[str, Any] = answer.json()["spec"]
        return spec

    full, lora = checked(), checked(adapters={"rank": 4})
    assert full["adapters"] is None
    assert lora["adapters"] == {
        "kind": "lora", "rank": 4, "alpha": 16.0,
        "targets": ["query", "key", "value", "output"], "towers": ["image", "text"],
    }  # fmt: skip
    assert lora["training"]["learning_rate"] > 2 * full["training"]["learning_rate"]
    lora["training"]["learning_rate"] = full["training"]["learning_rate"]
    assert lora["training"] == full["training"]


@pytest.mark.parametrize(
    ("more", "field", "message"),
    [
        ({"adapters": {"rank": 0}}, "adapters.rank", "greater than or equal to 1"),
        ({"adapters": {"towers": []}}, "adapters.towers", "at least 1"),
        (
            {"adapters": {}, "method": {"name": "zero_shot"}, "preset": None},
            "adapters",
            "zero_shot trains no tower, so there is nothing to adapt; leave adapters out",
        ),
    ],
)
def test_a_mistake_is_a_problem_that_names_the_field(
    client: TestClient, more: dict[str, Any], field: str, message: str
) -> None:
    for route in ("/jobs", "/jobs/check"):
        answer = client.post(route, json=BODY | more)
        assert answer.status_code == 422
        [error] = answer.json()["errors"]
        assert error["field"] == field
        assert message in error["message"]
