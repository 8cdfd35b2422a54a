"""Where Postgres, Redis and a browser lie; installs them with apt where that is allowed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

# For each kind the sets of programs that do, best first.
PROGRAMS = {
    "postgres": (("initdb", "postgres"),),
    "redis": (("redis-server",), ("valkey-server",)),
    "chromium": (("chromium",), ("chromium-browser",), ("google-chrome",)),
}
PACKAGES = {"postgres": "postgresql", "redis": "redis-server", "chromium": "chromium"}
VARIABLES = {
    "postgres": "CAROT_TEST_DATABASE_URL",
    "redis": "CAROT_TEST_REDIS_URL",
    "chromium": "CAROT_TEST_CHROMIUM",
}
OTHERWISE = {
    "postgres": "name a running server in",
    "redis": "name a running server in",
    "chromium": "give the path of a browser in",
}
FOLDERS = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "usr/local/pgsql/bin", "usr/sbin")
POLICY = Path("/usr/sbin/policy-rc.d")
CLUSTERS = Path("/etc/postgresql-common/createcluster.d/carot-test.conf")


class Unavailable(Exception):
    """A program cannot be had here; the text is one line that says what is missing."""


def find_programs(kind: str) -> list[Path]:
    """The programs of a `postgres` or `redis` server, or `chromium`, installed first if need be.

    Raises:
        Unavailable: they are not here and cannot be installed.
    """
    found = look(kind)
    if found is None:
        _install(kind)
        found = look(kind)
    if found is None:
        raise Unavailable(f"{PACKAGES[kind]} is installed, but {_wanted(kind)} is nowhere")
    return found


def look(kind: str) -> list[Path] | None:
    """All programs from one folder, so that their versions agree; the newest version first."""
    folders = [Path(part) for part in os.environ.get("PATH", "").split(os.pathsep) if part]
    for pattern in FOLDERS:
        folders += sorted(Path("/").glob(pattern), key=_version, reverse=True)
    for names in PROGRAMS[kind]:
        for folder in folders:
            programs = [folder / name for name in names]
            if all(os.access(program, os.X_OK) for program in programs):
                return programs
    return None


def _version(folder: Path) -> list[int]:
    digits = folder.parent.name.removeprefix("pgsql-").split(".")
    return [int(part) for part in digits if part.isdigit()]


def _wanted(kind: str) -> str:
    return " or ".join(" and ".join(names) for names in PROGRAMS[kind])


def _install(kind: str) -> None:
    package, variable = PACKAGES[kind], VARIABLES[kind]
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        raise Unavailable(
            f"{_wanted(kind)} not found: install the package {package}, or {OTHERWISE[kind]} "
            f"{variable}"
        )
    print(f"installing {package}", flush=True)
    with one_at_a_time(Path(tempfile.gettempdir()) / "carot-test-apt.lock"), no_autostart():
        done = _apt(apt, "update", "-q")
        done = _apt(apt, "install", "-q", "-y", "--no-install-recommends", package)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["it gives no reason"])[-1]
        raise Unavailable(
            f"apt-get cannot install {package} ({reason}): install it, or {OTHERWISE[kind]} "
            f"{variable}"
        )


def _apt(*command: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [command[0], "-o", "DPkg::Lock::Timeout=120", *command[1:]],
        env=dict(os.environ, DEBIAN_FRONTEND="noninteractive"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout, done.stderr, sep="\n", flush=True)
    return done


@contextlib.contextmanager
def one_at_a_time(lock: Path) -> Iterator[None]:
    """Hold a lock that the kernel frees with its holder."""
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def no_autostart() -> Iterator[None]:
    """Keep packages from starting servers and making a cluster while they are installed."""
    made: list[Path] = []
    try:
        if not POLICY.exists():
            made.append(POLICY)
            POLICY.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
            POLICY.chmod(0o755)
        if not CLUSTERS.exists():
            made += [CLUSTERS, CLUSTERS.parent, CLUSTERS.parent.parent]
            CLUSTERS.parent.mkdir(parents=True, exist_ok=True)
            CLUSTERS.write_text("create_main_cluster = false\n", encoding="utf-8")
        yield
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # a folder that the package filled stays
                path.rmdir() if path.is_dir() else path.unlink()
