"""Private, throw-away servers for the tests: Postgres, Redis, and what trainers are forked from.

`ensure("postgres", folder, watched)` gives the address of a server that is started on first use,
once for all test processes that share `folder`, and that ends with the process `watched` however
that one ends. A keeper process (`python -m tests.services KIND FOLDER PROCESS`) holds the server,
since no single test process lives as long as the session does.

    folder/KIND.lock     held while somebody starts the server
    folder/KIND.json     its address and its keeper's process, once it answers
    folder/KIND.log      what keeper and server say

The server keeps its data in a folder of its own and listens on a free port of 127.0.0.1, so that
it meets no other server.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from tests.programs import PROGRAMS, Unavailable, find_programs, one_at_a_time

FOLDER = "CAROT_TEST_FOLDER"
PROCESS = "CAROT_TEST_PROCESS"
"""Variables with the folder and the process of the test session."""
KINDS = ("postgres", "redis", "trainers")
START_SECONDS = 60.0
INSTALL_SECONDS = 300.0
STOP_SECONDS = 20.0
ROOT = Path(__file__).resolve().parent.parent
POSTGRES_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    # Nobody needs these data after a crash.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


Server = subprocess.Popen[bytes]

_keepers: list[Server] = []


class Identity(TypedDict, total=False):
    """How `subprocess` runs a program as somebody else."""

    user: int
    group: int
    extra_groups: list[int]


def ensure(kind: str, folder: Path, watched: int) -> str:
    """The URL of the session's server of this kind, started when this is the first call.

    Args:
        kind: `postgres`, `redis` or `trainers`.
        folder: shared by the processes of one test session.
        watched: the process whose end is the server's end.

    Raises:
        Unavailable: it cannot be started.
    """
    note = folder / f"{kind}.json"
    with one_at_a_time(folder / f"{kind}.lock"):
        if not note.exists():
            _start_keeper(kind, folder, watched)
        answer = json.loads(note.read_text(encoding="utf-8"))
    if "error" in answer:
        raise Unavailable(answer["error"])
    return str(answer["url"])


def stop_all(folder: Path) -> None:
    """End the session's servers and wait until their data are gone."""
    for kind in KINDS:
        with contextlib.suppress(FileNotFoundError):
            answer = json.loads((folder / f"{kind}.json").read_text(encoding="utf-8"))
            if "keeper" in answer:
                _end(int(answer["keeper"]))


def _start_keeper(kind: str, folder: Path, watched: int) -> None:
    note, log = folder / f"{kind}.json", folder / f"{kind}.log"
    command = [sys.executable, "-m", "tests.services", kind, str(folder), str(watched)]
    with log.open("ab") as file:
        # A session of its own: Ctrl-C at the terminal is for the tests, which then end it.
        keeper = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    _keepers.append(keeper)
    deadline = time.monotonic() + START_SECONDS + INSTALL_SECONDS
    while not note.exists():
        if keeper.poll() is not None or time.monotonic() > deadline:
            if note.exists():
                return
            text = " / ".join(log.read_text(errors="replace").splitlines()[-5:])
            _write(note, {"error": f"{kind} did not start: {text}"})
        time.sleep(0.02)


def _end(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while _alive(process) and time.monotonic() < deadline:
        time.sleep(0.02)


def _alive(process: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        # A keeper that is this process's child stays a zombie until it is waited for.
        if os.waitpid(process, os.WNOHANG)[0] == process:
            return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _write(note: Path, content: dict[str, object]) -> None:
    temporary = note.with_suffix(".tmp")
    temporary.write_text(json.dumps(content), encoding="utf-8")
    temporary.rename(note)


def keep(kind: str, folder: Path, watched: int) -> None:
    """The keeper's life: one server until SIGTERM, or until the process `watched` is gone."""
    stopping = False

    def on_signal(_number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, on_signal)
    note = folder / f"{kind}.json"
    server: subprocess.Popen[bytes] | None = None
    data: Path | None = None
    try:
        programs = find_programs(kind) if kind in PROGRAMS else []
        data = make_folder(kind)
        server, url = STARTERS[kind](programs, data)
        _write(note, {"url": url, "keeper": os.getpid()})
        while not stopping and _alive(watched) and server.poll() is None:
            time.sleep(0.1)
    except Unavailable as error:
        _write(note, {"error": str(error)})
    finally:
        if server is not None:
            _finish(server)
        if data is not None:
            shutil.rmtree(data, ignore_errors=True)


def make_folder(kind: str) -> Path:
    """A new folder that other users can reach: Postgres may run as one of them."""
    for parent in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):
        if parent.is_dir() and all(p.stat().st_mode & 0o001 for p in (parent, *parent.parents)):
            folder = Path(tempfile.mkdtemp(prefix=f"carot-test-{kind}-", dir=parent))
            folder.chmod(0o711)
            return folder
    raise Unavailable("no temporary folder that other users can reach; set TMPDIR")


def _finish(server: subprocess.Popen[bytes]) -> None:
    # To Postgres SIGINT is the fast stop; to Redis a stop without saving, as it saves nowhere.
    server.send_signal(signal.SIGINT)
    try:
        server.wait(STOP_SECONDS / 2)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def start_postgres(
    programs: Sequence[Path], data: Path, options: Mapping[str, str] = POSTGRES_OPTIONS
) -> tuple[subprocess.Popen[bytes], str]:
    """A server for the role `carot`, without a password and, by default, without durability."""
    initdb, postgres = programs
    cluster = data / "cluster"
    cluster.mkdir()
    identity = _unprivileged()
    if identity:
        os.chown(cluster, identity["user"], identity["group"])
    flags = ["-U", "carot", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
    made = subprocess.run(
        [str(initdb), "-D", str(cluster), *flags],
        cwd=cluster,
        capture_output=True,
        text=True,
        check=False,
        **identity,
    )
    if made.returncode != 0:
        raise Unavailable(f"initdb failed: {made.stderr.strip()}")
    settings = [part for pair in options.items() for part in ("-c", "=".join(pair))]

    def command(port: int) -> list[str]:
        return [str(postgres), "-D", str(cluster), "-p", str(port), *settings]

    server, port = _on_a_free_port(command, cluster, identity)
    url = f"postgresql://carot@127.0.0.1:{port}/postgres"
    _await_recovery(url)
    return server, url


def _await_recovery(url: str) -> None:
    """Postgres listens before it is ready to serve."""
    import psycopg

    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            if time.monotonic() >= deadline:
                raise Unavailable("postgres does not come to serve") from None
            time.sleep(0.05)
        else:
            return


def start_redis(programs: Sequence[Path], data: Path) -> tuple[subprocess.Popen[bytes], str]:
    """A server that keeps nothing on disk and, like the deployed one, evicts nothing."""
    flags = ["--bind", "127.0.0.1", "--databases", "64", "--save", "", "--appendonly", "no"]
    flags += ["--maxmemory-policy", "noeviction", "--dir", str(data)]

    def command(port: int) -> list[str]:
        return [str(programs[0]), "--port", str(port), *flags]

    server, port = _on_a_free_port(command, data, {})
    return server, f"redis://127.0.0.1:{port}/0"


def start_again(ended: subprocess.Popen[bytes], cwd: Path, port: int, *, kind: str) -> Server:
    """The server that has ended once more: the same command, the same data, the same port.

    Raises:
        Unavailable: it does not come up.
    """
    identity = _unprivileged() if kind == "postgres" else Identity()
    arguments = ended.args
    assert isinstance(arguments, list)
    server = subprocess.Popen(
        arguments, cwd=cwd, stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent, **identity
    )
    if not _accepts(server, port):
        raise Unavailable(f"{kind} does not start again on its data")
    return server


def start_trainers(_programs: Sequence[Path], data: Path) -> tuple[subprocess.Popen[bytes], str]:
    """The process of which trainers are forks, with the environment that workers have in tests."""
    from tests.environment import plain_environment
    from worker.launch import start_server

    data.chmod(0o700)
    server, path = start_server(data, plain_environment())
    return server, str(path)


STARTERS = {"postgres": start_postgres, "redis": start_redis, "trainers": start_trainers}


def _on_a_free_port(
    command: Callable[[int], list[str]], cwd: Path, identity: Identity
) -> tuple[subprocess.Popen[bytes], int]:
    # Between picking a port and binding it somebody else may take it: then try again.
    for _ in range(5):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        server = subprocess.Popen(
            command(port),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            preexec_fn=_die_with_parent,
            **identity,
        )
        if _accepts(server, port):
            return server, port
    raise Unavailable(f"{command(0)[0]} does not start; run it by hand to see why")


def _accepts(server: subprocess.Popen[bytes], port: int) -> bool:
    """Whether the server comes to accept connections before it ends."""
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            time.sleep(0.1)  # had another server answered, ours would be ending now
            return server.poll() is None
        time.sleep(0.02)
    server.kill()
    server.wait()
    return False


def _die_with_parent() -> None:
    # Runs after the change of user, which would undo it.
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _unprivileged() -> Identity:
    """Root becomes `postgres` or `nobody`: Postgres refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise Unavailable("Postgres refuses to run as root, and there is no `postgres` or `nobody`")


if __name__ == "__main__":
    keep(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
