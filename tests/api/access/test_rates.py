"""How often somebody may ask."""

from __future__ import annotations

import re
import time

import pytest
from fastapi.testclient import TestClient

from api.access.rates import Rates, address_of
from api.web.problems import Problem
from tests.api.access.test_keys import from_address
from tests.api.helpers import Start, bearer, new_key


@pytest.fixture(autouse=True)
def _within_a_minute() -> None:
    """Windows begin with the minute; behind its end one more passes."""
    left = 60 - time.time() % 60
    if left < 5:
        time.sleep(left)


def statuses(
    client: TestClient, times: int, path: str = "/presets", **options: object
) -> list[int]:
    return [client.get(path, **options).status_code for _ in range(times)]  # type: ignore[arg-type]


def test_each_key_has_its_own_rate(start: Start) -> None:
    client = start(rate_per_minute=5)
    first, second = bearer(new_key(client)), bearer(new_key(client))
    found = statuses(client, 12, headers=first)
    assert found[:5] == [200] * 5
    assert 429 in found
    assert client.get("/presets", headers=second).status_code == 200


def test_who_asks_too_often_is_told_when_to_come_back(start: Start) -> None:
    client = start(rate_per_minute=2)
    key = bearer(new_key(client))
    first = client.get("/presets", headers=key)
    assert first.headers["ratelimit-policy"] == '"key";q=2;w=60'
    assert re.fullmatch(r'"key";r=1;t=\d+', first.headers["ratelimit"])
    answers = [client.get("/presets", headers=key) for _ in range(6)]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["code"] == "too_many_requests"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert re.fullmatch(r'"key";r=0;t=\d+', refused.headers["ratelimit"])


def test_errors_tell_what_is_left_too(start: Start) -> None:
    client = start(rate_per_minute=100)
    key = bearer(new_key(client, "predict"))
    for path in ("/jobs", "/nowhere"):
        assert "ratelimit" in client.get(path, headers=key).headers


def test_zero_is_no_limit(start: Start) -> None:
    client = start(rate_per_minute=0, failures_per_minute=0)
    key = bearer(new_key(client))
    answers = [client.get("/presets", headers=key) for _ in range(20)]
    assert {answer.status_code for answer in answers} == {200}
    assert "ratelimit" not in answers[0].headers
    assert set(statuses(client, 20, headers=bearer("key_x.y"))) == {401}


def test_health_is_not_counted(start: Start) -> None:
    client = start(rate_per_minute=1)
    new_key(client)
    assert set(statuses(client, 10, "/health/live")) == {200}
    assert set(statuses(client, 10, "/health/ready")) == {200}


def test_strangers_are_counted_by_address(start: Start) -> None:
    client = start(rate_per_minute=3)
    new_key(client)
    one, other = from_address(client, "10.0.0.7"), from_address(client, "10.0.0.8")
    assert 429 in statuses(one, 10)
    assert other.get("/presets").status_code == 401
    assert 429 in [one.post("/session", json={}).status_code for _ in range(10)]


def test_an_open_server_counts_others_than_its_own_machine(start: Start) -> None:
    client = start(insecure=True, rate_per_minute=3)
    assert 429 in statuses(from_address(client, "10.0.0.7"), 10)
    assert set(statuses(from_address(client, "127.0.0.1"), 10)) == {200}


def test_wrong_keys_are_counted_harder(start: Start) -> None:
    client = start(failures_per_minute=3)
    right, wrong = new_key(client), bearer(f"key_{'0' * 26}.{'A' * 43}")
    guesser, other = from_address(client, "10.0.0.7"), from_address(client, "10.0.0.8")
    found = statuses(guesser, 10, headers=wrong)
    assert found[:3] == [401] * 3
    assert found[-1] == 429
    refused = guesser.get("/presets", headers=wrong)
    assert "retry-after" in refused.headers
    assert "3 wrong keys" in refused.json()["detail"]
    assert guesser.post("/session", json={"key": "x"}).status_code == 429
    assert other.get("/presets", headers=bearer(right)).status_code == 200


def test_wrong_keys_lock_no_right_one_out(start: Start) -> None:
    """Behind a proxy that is not trusted, all share one address."""
    client = start(failures_per_minute=3)
    right, wrong = new_key(client), bearer(f"key_{'0' * 26}.{'A' * 43}")
    shared = from_address(client, "10.0.0.7")
    assert statuses(shared, 10, headers=wrong)[-1] == 429
    assert set(statuses(shared, 10, headers=bearer(right))) == {200}
    assert shared.post("/session", json={"key": right}).status_code == 201
    assert shared.get("/presets", headers=wrong).status_code == 429


def test_guesses_at_one_key_are_counted_from_all_addresses(start: Start) -> None:
    client = start(failures_per_minute=3)
    right, other = new_key(client), new_key(client)
    guess = bearer(f"{right.partition('.')[0]}.{'A' * 43}")
    guessers = [from_address(client, f"10.0.0.{n}") for n in range(6)]
    found = [each.get("/presets", headers=guess).status_code for each in guessers]
    assert found == [401] * 3 + [429] * 3
    another = bearer(f"{other.partition('.')[0]}.{'A' * 43}")
    assert guessers[5].get("/presets", headers=another).status_code == 401
    assert guessers[0].get("/presets", headers=bearer(right)).status_code == 200


def test_wrong_sign_ins_are_counted_with_them(start: Start) -> None:
    client = start(failures_per_minute=3)
    new_key(client)
    found = [client.post("/session", json={"key": "x"}).status_code for _ in range(10)]
    assert found[:3] == [401] * 3
    assert found[-1] == 429


def test_an_old_cookie_is_no_guess(start: Start) -> None:
    client = start(failures_per_minute=2)
    key = bearer(new_key(client))
    assert set(statuses(client, 10, headers={"Cookie": f"carot_session={'A' * 43}"})) == {401}
    assert client.get("/presets", headers=key).status_code == 200


def test_counters_are_independent() -> None:
    rates = Rates(1, 0)
    standing = rates.take("key", "a")
    assert standing is not None
    assert (standing.remaining, standing.quota) == (0, 1)
    rates.take("key", "b")
    rates.take("address", "a")
    refused = 0
    for _ in range(3):
        try:
            rates.take("key", "a")
        except Problem as problem:
            refused += problem.status == 429
    assert refused >= 2


@pytest.mark.parametrize(
    ("client", "counted"),
    [
        (("192.0.2.1", 5), "192.0.2.1"),
        (("::ffff:192.0.2.1", 5), "192.0.2.1"),
        (("2001:db8:1:2:3:4:5:6", 5), "2001:db8:1:2::/64"),
        (("2001:db8:1:2:ffff::1", 5), "2001:db8:1:2::/64"),
        (("testclient", 5), "local"),
        (None, "local"),
    ],
)
def test_who_is_counted(client: tuple[str, int] | None, counted: str) -> None:
    assert address_of({"client": client}) == counted
