"""The dashboard's files: their types, their caching, their policy, and nothing else."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

import api.dashboard.files
from api.dashboard.files import Dashboard
from tests.api.helpers import Start, new_key, state_of

STATIC = Path(api.dashboard.files.__file__).parent / "static"
REFERENCE = re.compile(r"""(?:src|href)="(/[^"]+)"|from "(\.{1,2}/[^"]+)"|import\("(\./[^"]+)"\)""")


def test_strangers_get_the_page_and_no_data(client: TestClient) -> None:
    new_key(client, "admin")
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert client.get("/index").status_code == 401


def test_the_policy_lets_in_nothing_but_files_of_this_server(client: TestClient) -> None:
    answer = client.get("/")
    policy = dict(
        each.strip().partition(" ")[::2]
        for each in answer.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in str(policy)
    assert "http" not in str(policy)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    # What the policy would not let in is not there either.
    assert not re.search(r"<style|\son\w+=|\sstyle=|<script(?![^>]*\ssrc=)", answer.text)


def test_everything_that_is_named_is_there_and_kept_for_long(client: TestClient) -> None:
    shell = client.get("/").text
    waiting = {found for match in REFERENCE.finditer(shell) for found in match.groups() if found}
    seen: set[str] = set()
    while waiting:
        path = waiting.pop()
        seen.add(path)
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["content-type"].partition(";")[0] in {
            "text/javascript",
            "text/css",
            "image/svg+xml",
        }
        if path.endswith(".js") and "plotly" not in path:
            for match in REFERENCE.finditer(answer.text):
                for found in filter(None, match.groups()[1:]):
                    joined = Path(path).parent / found
                    waiting.add(str(_plain(joined)))
        waiting -= seen
    build = state_of(client).dashboard.build
    named = {path.removeprefix(f"/dashboard/{build}/") for path in seen}
    there = {path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file()}
    # Read by way of a script: see components/chart.js.
    assert there - named - {"index.html"} == {"css/plotly.css"}


def _plain(path: Path) -> Path:
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return Path(*parts)


def test_what_is_there_already_is_not_sent_again(client: TestClient) -> None:
    dashboard = state_of(client).dashboard
    charts = f"/dashboard/plotly/{dashboard.charts_version}/plotly.min.js"
    for path in ("/", f"/dashboard/{dashboard.build}/app.js", charts):
        first = client.get(path)
        again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        other = client.get(path, headers={"If-None-Match": '"else"'})
        assert other.status_code == 200
    assert client.get("/").headers["cache-control"] == "no-cache"


def test_files_are_packed_for_those_who_can_unpack(client: TestClient) -> None:
    dashboard = state_of(client).dashboard
    path = f"/dashboard/{dashboard.build}/core/api.js"
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    packed = client.get(path, headers={"Accept-Encoding": "br, gzip;q=0.5"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == "Accept-Encoding"
    assert packed.content == plain.content == (STATIC / "core" / "api.js").read_bytes()
    assert packed.headers["etag"] != plain.headers["etag"]
    assert int(packed.headers["content-length"]) == len(gzip.compress(plain.content, 6, mtime=0))
    refused = client.get(path, headers={"Accept-Encoding": "gzip;q=0"})
    assert "content-encoding" not in refused.headers


@pytest.mark.parametrize(
    "name",
    [
        "index.html",
        "../files.py",
        "..%2ffiles.py",
        "core/../../files.py",
        "%2e%2e/%2e%2e/callers.py",
        "/etc/passwd",
        "core",
        "",
        "app.js%00",
        "app.js/",
        "APP.JS",
    ],
)
def test_a_name_is_no_path(client: TestClient, name: str) -> None:
    build = state_of(client).dashboard.build
    answer = client.get(f"/dashboard/{build}/{name}")
    assert answer.status_code == 404, answer.text


def test_another_build_is_gone(client: TestClient) -> None:
    assert client.get("/dashboard/0123456789abcdef/app.js").status_code == 404
    assert client.get("/dashboard/plotly/0.0.0/plotly.min.js").status_code == 404


def test_a_build_is_named_after_all_of_it() -> None:
    assert Dashboard().build == Dashboard().build
    assert re.fullmatch(r"[0-9a-f]{16}", Dashboard().build)


def test_no_module_takes_markup_or_speaks_to_others() -> None:
    words = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|https?://"
    )
    modules = [path for path in STATIC.rglob("*") if path.suffix in (".js", ".css", ".html")]
    assert len(modules) > 25
    for path in modules:
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert re.findall(words, text) == [], path


def test_without_keys_other_names_are_refused(start: Start) -> None:
    client = start()
    assert client.get("/", headers={"Host": "elsewhere.example"}).status_code == 421
