"""`carot keys`, and where clients take their key from."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from api.access.exposure import has_keys, is_loopback
from cli.client import Client
from cli.credentials import KeyFile, NoKeyInFile, api_key
from cli.main import app
from store.access.keys import authenticate
from store.database import Database
from store.tables import ApiKey
from tests.acceptance.harness import free_port
from tests.paths import ROOT


def run(*arguments: str, status: int = 0) -> str:
    """What a command prints on stdout."""
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == status, done.output
    return done.stdout if status == 0 else done.output


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.output.out.width", 300)
    monkeypatch.setattr(KeyFile, "chosen", None)


def create(folder: Path, *options: str) -> str:
    return run("keys", "create", "--data-dir", str(folder), *options).strip()


def looked_up(folder: Path, token: str) -> ApiKey | None:
    database = Database(f"sqlite:///{folder / 'carot.db'}")
    try:
        with database.reading() as session:
            proven = authenticate(session, token)
            return None if proven is None else session.get_one(ApiKey, proven.id)
    finally:
        database.close()


def test_the_first_key_makes_the_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new' / 'carot.db'}"
    assert not has_keys(url)
    token = create(tmp_path / "new", "--scope", "admin", "--name", "me")
    key = looked_up(tmp_path / "new", token)
    assert key is not None
    assert (key.name, key.scopes, key.expires_at) == ("me", ["admin"], None)
    assert has_keys(url)


def test_everything_that_can_be_wished(tmp_path: Path) -> None:
    options = ("--scope", "predict", "--scope", "jobs:read", "--project", "pets", "--expires", "2")
    told = json.loads(create(tmp_path, *options, "--max-running-jobs", "3", "--json"))
    assert told["scopes"] == ["jobs:read", "predict"]
    assert told["project"] == "pets"
    key = looked_up(tmp_path, told["token"])
    assert key is not None
    assert key.max_running_jobs == 3
    assert key.expires_at is not None
    assert (key.expires_at - key.created_at).days == 2


def test_the_list_shows_no_secret(tmp_path: Path) -> None:
    tokens = [create(tmp_path, "--scope", "predict"), create(tmp_path, "--scope", "admin")]
    text = run("keys", "list", "--data-dir", str(tmp_path))
    documents = json.loads(run("keys", "list", "--data-dir", str(tmp_path), "--json"))
    assert [each["id"] for each in documents] == [t.partition(".")[0] for t in reversed(tokens)]
    for token in tokens:
        identity, _, secret = token.partition(".")
        assert identity in text
        assert secret not in text + json.dumps(documents)


def test_the_list_of_one_project(tmp_path: Path) -> None:
    create(tmp_path, "--scope", "predict")
    theirs = create(tmp_path, "--scope", "predict", "--project", "pets")
    listed = run("keys", "list", "--project", "pets", "--data-dir", str(tmp_path), "--json")
    assert [each["id"] for each in json.loads(listed)] == [theirs.partition(".")[0]]
    message = run("keys", "list", "--project", "none", "--data-dir", str(tmp_path), status=1)
    assert "Traceback" not in message


def test_revoking(tmp_path: Path) -> None:
    token = create(tmp_path, "--scope", "predict")
    run("keys", "revoke", token.partition(".")[0], "--data-dir", str(tmp_path))
    assert looked_up(tmp_path, token) is None
    assert "revoked" in run("keys", "list", "--data-dir", str(tmp_path))
    assert has_keys(f"sqlite:///{tmp_path / 'carot.db'}"), "authentication stays on"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("create",), 2),
        (("create", "--scope", "root"), 2),
        (("create", "--scope", "admin", "--expires", "0"), 2),
        (("create", "--scope", "admin", "--max-running-jobs", "0"), 2),
        (("create", "--scope", "admin", "--project", ""), 2),
        (("create", "--scope", "admin", "--name", "a\nb"), 2),
        (("list",), 1),
        (("revoke", "key_x"), 1),
    ],
)
def test_wrong_wishes_write_nothing(
    tmp_path: Path, arguments: tuple[str, ...], status: int
) -> None:
    run("keys", *arguments, "--data-dir", str(tmp_path / "d"), status=status)
    assert not (tmp_path / "d").exists()


def test_an_unknown_key_cannot_be_revoked(tmp_path: Path) -> None:
    token = create(tmp_path, "--scope", "predict")
    run("keys", "revoke", f"key_{'0' * 26}", "--data-dir", str(tmp_path), status=1)
    assert looked_up(tmp_path, token) is not None


def test_a_database_from_before_there_were_keys(tmp_path: Path) -> None:
    from alembic import command

    from store.schema import alembic_config

    database = Database(f"sqlite:///{tmp_path / 'carot.db'}")
    command.upgrade(alembic_config(database.url), "0001")
    database.close()
    assert not has_keys(f"sqlite:///{tmp_path / 'carot.db'}")


# Clients --------------------------------------------------------------------------------------


def test_where_a_client_takes_its_key_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert api_key() is None
    for name in ("by-variable", "by-option"):
        (tmp_path / name).write_text(f"key_{name}\n")
    monkeypatch.setenv("CAROT_API_KEY_FILE", str(tmp_path / "by-variable"))
    assert api_key() == "key_by-variable"
    monkeypatch.setenv("CAROT_API_KEY", " key_itself ")
    assert api_key() == "key_itself"
    monkeypatch.setattr(KeyFile, "chosen", tmp_path / "by-option")
    assert api_key() == "key_by-option"


@pytest.mark.parametrize("content", [None, b"", b"two words", b"\xff", "schlüssel".encode()])
def test_files_that_hold_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(KeyFile, "chosen", path)
    with pytest.raises(NoKeyInFile):
        api_key()


def test_no_option_takes_the_key_itself() -> None:
    done = CliRunner().invoke(app, ["--help"])
    assert "--key-file" in done.output
    assert "--key " not in done.output
    assert "--api-key" not in done.output


@pytest.mark.slow
def test_a_service_with_keys_in_its_own_process(tmp_path: Path) -> None:
    """Refuses to listen elsewhere without keys, and serves whoever shows one."""
    environment = {
        "CAROT_DATA_DIR": str(tmp_path),
        "CAROT_PORT": str(port := free_port()),
        "CAROT_HOST": "0.0.0.0",
        "PATH": "/usr/bin:/bin",
    }
    command = [sys.executable, "-m", "api"]
    refused = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert refused.returncode == 1
    assert "carot keys create" in refused.stderr
    token = create(tmp_path, "--scope", "jobs:read")
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with Client(f"http://127.0.0.1:{port}", key=token) as client:
            assert client.wait_until_ready(60)
            assert client.get("/jobs")["data"] == []
        assert httpx.get(f"http://127.0.0.1:{port}/jobs").status_code == 401
        # A stranger's upload is answered although nobody reads it.
        upload = httpx.post(
            f"http://127.0.0.1:{port}/datasets",
            content=bytes(8 << 20),
            headers={"Content-Type": "application/zip"},
        )
        assert upload.status_code == 401
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize(
    ("host", "only_here"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.7", False),
        ("carot.example", False),
        ("", False),
    ],
)
def test_what_only_this_machine_reaches(host: str, only_here: bool) -> None:
    assert is_loopback(host) is only_here
