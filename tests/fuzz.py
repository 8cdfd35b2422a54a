"""`make fuzz`: schemathesis against a real server, stateful sequences included.

Starts the API on SQLite in a folder that is gone afterwards, without a worker, so that jobs stay
queued. Half of the time ids are made up, half of the time they are those of things that exist.
Zero 5xx, and every answer as the OpenAPI document says; the status is 0 only then.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx

from store.artifacts import open_store
from store.database import Database
from store.settings import Settings
from tests.acceptance.harness import Deployment
from tests.api.rows import add_checkpoint, add_report

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "use_after_free",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)
SETTINGS = {
    "CAROT_MAX_UPLOAD_BYTES": "5000000",
    "CAROT_RATE_PER_MINUTE": "0",
    "CAROT_FAILURES_PER_MINUTE": "0",
    "CAROT_WEBHOOK_ALLOW": "127.0.0.1",
}
STREAMS = "/stream$"
"""Never-ending answers are no documents."""
REVOKING = "DELETE /keys/{key_id}"
"""Sooner or later it hits the key that all of this is done with."""


def main() -> int:
    """Fuzz for a while; 0 when nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=300, help="how long (300)")
    parser.add_argument("--seed", type=int, default=0, help="of what is sent (0)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="carot-fuzz-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        served = Deployment(folder, SETTINGS | {"CAROT_DATA_DIR": str(folder / "data")})
        stack.callback(served.stop)
        served.migrate()
        key = _new_key(served)
        served.start("api", "api")
        served.await_ready()
        headers = {"Authorization": f"Bearer {key}"}
        statuses = []
        for known in ({}, _things(served.client.url, headers, folder / "data")):
            statuses.append(_run(served, key, known, arguments.seconds // 2, arguments.seed))
            served.check()
        if httpx.get(f"{served.client.url}/jobs", headers=headers).status_code != 200:
            print("the key was revoked on the way: what came after that says nothing")
            return 1
        return max(statuses)


def _run(served: Deployment, key: str, known: Mapping[str, str], seconds: int, seed: int) -> int:
    """One run of schemathesis; its status."""
    values = "".join(f'"path.{name}" = "{value}"\n' for name, value in known.items())
    (served.folder / "schemathesis.toml").write_text(f"[parameters]\n{values}" if known else "")
    command = [
        str(Path(sys.executable).parent / "schemathesis"),
        "run",
        f"{served.client.url}/openapi.json",
        f"--header=Authorization: Bearer {key}",
        f"--max-time={seconds}",
        f"--seed={seed}",
        f"--checks={','.join(CHECKS)}",
        f"--exclude-path-regex={STREAMS}",
        f"--exclude-name={REVOKING}",
        "--phases=examples,coverage,fuzzing,stateful",
        "--request-timeout=30",
        "--continue-on-failure",
        "--no-color",
    ]
    return subprocess.run(command, cwd=served.folder, check=False).returncode


def _new_key(served: Deployment) -> str:
    """A key for everything."""
    command = [sys.executable, "-m", "cli.main", "keys", "create", "--scope", "admin", "--json"]
    made = subprocess.run(
        command, env=served.environment, check=True, capture_output=True, text=True
    )
    return str(json.loads(made.stdout)["token"])


def _things(url: str, headers: Mapping[str, str], data_dir: Path) -> dict[str, str]:
    """Something for every parameter of a path."""
    settings = Settings(data_dir=data_dir)
    database = Database(settings.database_url)
    rows: Any = SimpleNamespace(database=database, artifacts=open_store(settings, database))
    checkpoint = add_checkpoint(rows, b"weights that are none")
    known = {"checkpoint_id": checkpoint, "report_id": add_report(rows, checkpoint, {"version": 1})}
    database.close()
    with httpx.Client(base_url=url, headers=dict(headers), timeout=60.0) as client:

        def made(path: str, body: dict[str, Any]) -> str:
            return str(client.post(path, json=body).raise_for_status().json()["id"])

        model = {"architecture": "carot-mini"}
        job = {"kind": "finetune", "model": model, "dataset": "builtin:digits"}
        client.put("/models/fuzzed", json={"checkpoint": checkpoint}).raise_for_status()
        return known | {
            "alias": "fuzzed",
            "dataset_id": made("/datasets", {"source": "builtin:digits"}),
            "job_id": made("/jobs", job),
            "webhook_id": made("/webhooks", {"url": "http://127.0.0.1:9/hook", "states": []}),
        }


if __name__ == "__main__":
    sys.exit(main())
