"""docs/inference-protocol.md: its examples work, and its tables have what is there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from api.protocol_v2.outputs import BY_DEFAULT, metadata
from api.protocol_v2.requests import ASKED, MOST_PROBABILITIES
from tests.api.helpers import Start
from tests.api.predict.test_predict import Service, png
from tests.api.protocol_v2.test_protocol import PATH, values
from tests.api.serving import listening
from tests.paths import DOCS

PAGE = (DOCS / "inference-protocol.md").read_text(encoding="utf-8")


def example(language: str) -> str:
    [text] = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(text)


@pytest.fixture
def service(start: Start) -> Service:
    return Service(start())


def test_the_program_runs(
    service: Service,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, level in {"a.png": 255, "b.png": 0}.items():
        (tmp_path / name).write_bytes(png(level))
    monkeypatch.chdir(tmp_path)
    program = example("python").replace("0.05", "0.2").replace("open(name, ", "open_file(name, ")
    with listening(service.client) as port:
        url = f"127.0.0.1:{port}"
        exec(program.replace("localhost:8000", url), {"open_file": _Read})
    assert "[b'bright' b'dark']" in capsys.readouterr().out


class _Read:
    """An open file that is closed once it was read; the page does without."""

    def __init__(self, name: str, _mode: str) -> None:
        self._path = Path(name)

    def read(self) -> bytes:
        return self._path.read_bytes()


def test_the_request_is_answered(service: Service) -> None:
    document = json.loads(example("json")) | {"parameters": {"coverage": 0.9}}
    assert list(values(service.client.post(PATH, json=document))) == [
        "label", "confidence", "abstain"
    ]  # fmt: skip


def test_the_table_has_every_output() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (\[.+?\]) \|(.*)\|$", PAGE, re.MULTILINE)
    told = {name: (kind, shape) for name, kind, shape, _ in rows}
    known = {
        each.name: (each.datatype, "[N]" if each.shape == [-1] else "[N, C]")
        for each in metadata(7)
    }
    assert told == known
    asked_for = {name for name, _, _, meaning in rows if "where asked for" in meaning}
    assert asked_for == known.keys() - set(BY_DEFAULT)
    assert f"up to {MOST_PROBABILITIES} classes" in PAGE


def test_what_can_be_asked_is_told() -> None:
    [sentence] = re.findall(r"^`parameters` are (.*?), as in", PAGE, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", sentence)) == set(ASKED)


def test_every_route_is_told(service: Service) -> None:
    paths = service.client.get("/openapi.json").json()["paths"]
    told = set(re.findall(r"`(?:GET|POST) (/v2[^`]*)`", PAGE))
    assert told == {path for path in paths if path.startswith("/v2") and "version}" not in path}
    version = "/v2/models/{alias}/versions/{version}"
    assert {version, f"{version}/ready", f"{version}/infer"} <= paths.keys()
    assert f"`{version}`" in PAGE
