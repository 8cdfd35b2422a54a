"""What docker-compose.yml says, carried out without Docker on the private servers.

Each service of the project is started by its own command in its own environment, in the order that
`depends_on` gives. Only addresses are replaced: the hosts `postgres` and `redis`, and the port and
folder that a container would have to itself.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from api.__main__ import GRACE_SECONDS
from api.settings import ApiSettings
from cli.client import Client, ServiceError
from tests.acceptance import compose
from tests.acceptance.harness import (
    CLASSES,
    Process,
    digit_png,
    free_port,
    training,
    write_digits,
)
from tests.environment import plain_environment
from tests.paths import ROOT

FILE = ROOT / "docker-compose.yml"
SECRETS = {"POSTGRES_PASSWORD": "postgressecret", "REDIS_PASSWORD": "redissecret"}
OWN = ("migrate", "api", "worker")
FIRST_KEY = ("carot", "keys", "create", "--name", "admin", "--scope", "admin")


LEFT_OUT = re.compile(r"^#   (CAROT_\w+): \w.+$", re.MULTILINE)
SETTING = re.compile(r"^\| `(CAROT_\w+)` \|.*\| ([^|]*) \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return compose.load(FILE, SECRETS)


def test_secrets_are_insisted_on() -> None:
    for name in SECRETS:
        with pytest.raises(compose.Unset, match=name):
            compose.load(FILE, {k: v for k, v in SECRETS.items() if k != name})


def test_example_environment_names_every_variable_and_no_secret() -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    used = {match[1] for match in compose.VARIABLE.finditer(FILE.read_text(encoding="utf-8"))}
    assert {name for name in used if not re.search(rf"^#? ?{name}=", text, re.MULTILINE)} == set()
    given = compose.dotenv(ROOT / ".env.example")
    assert {given[name] for name in SECRETS} == {""}


def test_every_documented_setting_is_passed_or_left_out_on_purpose(
    document: dict[str, Any],
) -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    readers = {name: set(readers.split(", ")) for name, readers in SETTING.findall(page)}
    assert len(readers) > 50
    left_out = set(LEFT_OUT.findall(FILE.read_text(encoding="utf-8")))
    assert left_out <= readers.keys()
    services = document["services"]
    for reader, names in {"API": ("api",), "worker": ("worker", "worker-gpu")}.items():
        wanted = {name for name, read_by in readers.items() if reader in read_by} - left_out
        for name in names:
            assert wanted - services[name]["environment"].keys() == set(), name
            assert not left_out & services[name]["environment"].keys()


def test_what_env_says_reaches_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"CAROT_TRUSTED_PROXIES": "172.18.0.1", "CAROT_STREAMS": "7", "CAROT_LOG_LEVEL": "ERROR"}
    for variables, expected in (
        (SECRETS, ("127.0.0.1", 200, "INFO")),
        ({**SECRETS, **said}, ("172.18.0.1", 7, "ERROR")),
    ):
        environment = compose.load(FILE, variables)["services"]["api"]["environment"]
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        found = ApiSettings()
        assert (found.trusted_proxies, found.streams, found.log_level) == expected


def test_only_the_api_is_published_and_only_here(document: dict[str, Any]) -> None:
    published = {n: s["ports"] for n, s in document["services"].items() if s.get("ports")}
    assert published == {"api": ["127.0.0.1:8000:8000"]}


def test_whatever_is_waited_for_can_be_waited_for(document: dict[str, Any]) -> None:
    services = document["services"]
    for service in services.values():
        for name, need in service.get("depends_on", {}).items():
            if need["condition"] == "service_healthy":
                assert services[name]["healthcheck"]["test"]
            else:
                assert need["condition"] == "service_completed_successfully"
                assert services[name]["restart"] == "no"


def test_redis_neither_evicts_nor_forgets(document: dict[str, Any]) -> None:
    command = document["services"]["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--maxmemory-policy"] == "noeviction"
    assert options["--appendonly"] == "yes"
    assert options["--requirepass"] == SECRETS["REDIS_PASSWORD"]


def test_the_file_says_how_the_first_key_is_made() -> None:
    told = f"docker compose run --rm migrate {' '.join(FIRST_KEY)}"
    assert told in FILE.read_text(encoding="utf-8")


@pytest.mark.parametrize("given", ["", "/srv/data sets"])
def test_data_sets_in_place_are_optional_and_read_only(given: str) -> None:
    document = compose.load(FILE, SECRETS | {"CAROT_DATASET_ROOT": given})
    for name in ("api", "worker", "worker-gpu"):
        service = document["services"][name]
        [mount] = [each for each in service["volumes"] if not each.endswith(":/data")]
        source, target, mode = mount.split(":")
        assert mode == "ro"
        assert service["environment"]["CAROT_DATASET_ROOT"] == (target if given else "")
        assert source == given or source in document["volumes"]


def test_gpu_worker_differs_in_the_gpu_only(document: dict[str, Any]) -> None:
    plain, gpu = (document["services"][name] for name in ("worker", "worker-gpu"))
    assert gpu["profiles"] == ["gpu"]
    for key in ("image", "command", "depends_on", "volumes", "healthcheck"):
        assert gpu[key] == plain[key]
    assert gpu["environment"] == plain["environment"] | {"CAROT_QUEUES": "gpu"}
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


def test_there_is_time_to_drain_and_to_stop(document: dict[str, Any]) -> None:
    api = document["services"]["api"]
    drain = float(api["environment"]["CAROT_DRAIN_SECONDS"])
    # Besides what is under way: threads that send webhooks and sweep, and a batch of a model.
    assert drain + GRACE_SECONDS + 20 <= float(api["stop_grace_period"].removesuffix("s"))
    assert drain > 0


def test_image_holds_every_package_and_no_root() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    copied = set(re.findall(r"^COPY (\w+) \1$", text, re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    build = project["tool"]["hatch"]["build"]["targets"]
    assert copied == set(build["wheel"]["packages"])
    assert {f"/{name}" for name in copied} <= set(build["sdist"]["include"])
    assert "-c constraints.txt" in text
    assert re.search(r"^USER (?!root)\w+$", text.split("FROM")[-1], re.MULTILINE)


class Composed:
    """The project's own services, run as the file says."""

    def __init__(self, document: dict[str, Any], folder: Path, hosts: dict[str, str]) -> None:
        self.services: dict[str, Any] = document["services"]
        self.folder = folder
        self.hosts = hosts
        self.port = free_port()
        self.processes: list[Process] = []

    def environment(self, name: str) -> dict[str, str]:
        """The service's environment, with the addresses that it has here."""
        given = {k: str(v) for k, v in self.services[name]["environment"].items()}
        data_dir = self.folder / name
        data_dir.mkdir(exist_ok=True)
        given["CAROT_DATA_DIR"] = str(data_dir)
        for variable in ("CAROT_DATABASE_URL", "CAROT_BROKER_URL"):
            given[variable] = self.hosts[urlsplit(given[variable]).hostname or ""]
        if "CAROT_PORT" in given:
            given["CAROT_PORT"] = str(self.port)
        return plain_environment() | given

    def start(self, name: str) -> Process:
        """Start a service by its own command, once what it needs is there."""
        for need in self.services[name]["depends_on"]:
            assert need in ("postgres", "redis", "migrate")
        command = self.services[name]["command"]
        process = Process(name, command, self.environment(name), self.folder)
        self.processes.append(process)
        return process

    def run(self, name: str, *command: str) -> str:
        """What a command prints in a service's environment: `docker compose run --rm NAME …`."""
        environment = self.environment(name)
        done = subprocess.run(
            command,
            env=environment,
            executable=shutil.which(command[0], path=environment["PATH"]),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def await_health(self, name: str) -> None:
        """Wait until the service's health check is content."""
        deadline = time.monotonic() + 60
        while not self.is_healthy(name):
            assert time.monotonic() < deadline, f"{name} is not healthy"

    def is_healthy(self, name: str) -> bool:
        """What the service's own health check says."""
        kind, *command = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        done = subprocess.run(
            command,
            env=self.environment(name),
            executable=shutil.which(command[0], path=self.environment(name)["PATH"]),
            capture_output=True,
            check=False,
        )
        return done.returncode == 0


@pytest.fixture
def composed(
    document: dict[str, Any], tmp_path: Path, database: str, broker: str
) -> Iterator[Composed]:
    composed = Composed(document, tmp_path, {"postgres": database, "redis": broker})
    yield composed
    for process in reversed(composed.processes):
        process.stop()


@pytest.mark.acceptance
@pytest.mark.services
@pytest.mark.timeout(300)
def test_services_of_the_file_do_a_job(composed: Composed, tmp_path: Path) -> None:
    api = composed.start("api")
    assert api.finish(60) == 1
    assert "carot keys create" in api.tail(), "without a key it listens to nobody"
    key = composed.run("migrate", *FIRST_KEY).strip()
    assert composed.start("migrate").finish(60) == 0
    api = composed.start("api")
    assert not composed.is_healthy("api"), "it cannot be ready yet: the check checks nothing"
    worker = composed.start("worker")
    url = f"http://127.0.0.1:{composed.port}"
    with Client(url) as stranger:
        assert stranger.wait_until_ready(60), api.tail()
        with pytest.raises(ServiceError) as refused:
            stranger.get("/jobs")
        assert refused.value.problem is not None
        assert refused.value.problem["status"] == 401
    with Client(url, key=key) as client:
        assert client.wait_until_ready(60), api.tail()
        composed.await_health("api")
        dataset = client.upload(write_digits(tmp_path / "digits.zip"), "digits")
        job = client.post("/jobs", training(dataset["id"], epochs=1) | {"alias": "digits"})
        for _ in client.watch(job["id"]):
            worker.check()
        ended = client.get(f"/jobs/{job['id']}")
        assert ended["state"] == "succeeded", f"{ended['error']}\n{worker.tail()}"
        answer = client.predict([("one", digit_png("one"))], model="digits", top_k=3)
    assert {guess["label"] for guess in answer["predictions"][0]["top"]} == set(CLASSES)
    composed.await_health("worker")
    assert worker.stop() == 0
    assert not composed.is_healthy("worker")
    assert api.stop() == 0
