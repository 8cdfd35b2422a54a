"""`make fuzz`: schemathesis against a real server, stateful sequences included.

Starts the API on SQLite in a folder that is gone afterwards, without a worker, so that jobs stay
queued. Zero 5xx, and every answer as the OpenAPI document says; the status is that of the run.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.acceptance.harness import Deployment

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "use_after_free",
    "unsupported_method",
    "allow_header_conformance",
)
STREAMS = "/stream$"
"""Never-ending answers are no documents."""


def main() -> int:
    """Fuzz for a while; the exit status of schemathesis."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=300, help="how long (300)")
    parser.add_argument("--seed", type=int, default=0, help="of what is sent (0)")
    parser.add_argument("--checks", default=",".join(CHECKS), help="of schemathesis")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="carot-fuzz-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        served = Deployment(
            folder, {"CAROT_DATA_DIR": str(folder / "data"), "CAROT_MAX_UPLOAD_BYTES": "5000000"}
        )
        stack.callback(served.stop)
        served.migrate()
        served.start("api", "api")
        served.await_ready()
        status = subprocess.run(
            [
                str(Path(sys.executable).parent / "schemathesis"),
                "run",
                f"{served.client.url}/openapi.json",
                "--max-time",
                str(arguments.seconds),
                "--seed",
                str(arguments.seed),
                "--phases=examples,coverage,fuzzing,stateful",
                "--checks",
                arguments.checks,
                "--exclude-path-regex",
                STREAMS,
                "--request-timeout=30",
                "--continue-on-failure",
                "--warnings=off",
                "--no-color",
            ],
            cwd=folder,
            check=False,
        ).returncode
        served.check()
        return status


if __name__ == "__main__":
    sys.exit(main())
