"""The service in processes that may be killed: as it is deployed, and as it is embedded."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from cli.client import Client
from store.artifacts import ArtifactStore, open_store
from store.database import Database
from store.settings import Settings
from store.tables import Job, JobEvent
from tests.acceptance.chaos import audit
from tests.acceptance.chaos.mailbox import Mailbox
from tests.acceptance.chaos.material import CLASSES, SPLITS
from tests.acceptance.chaos.proxy import Proxy, awaited
from tests.acceptance.chaos.servers import OwnServer
from tests.acceptance.harness import Deployment, Process, free_port
from tests.acceptance.stored import store_dataset, store_model
from tests.services import ROOT

LEASE_SECONDS = 4.0
TIMES = {
    "CAROT_LEASE_SECONDS": str(LEASE_SECONDS),
    "CAROT_HEARTBEAT_SECONDS": "0.7",
    "CAROT_SWEEP_SECONDS": "0.5",
    "CAROT_RING_SECONDS": "2",
    "CAROT_CANCEL_GRACE_SECONDS": "5",
    # No fault may use up the attempts of a job; `SECOND` has few, to show what happens then.
    "CAROT_MAX_ATTEMPTS": "100",
}
API, SECOND = "api", "api2"
FEW_ATTEMPTS = 2


class World(Deployment):
    """Processes by name, what they run on, and a database connection that is not theirs.

    Attributes:
        kind: `deployed` or `embedded`.
        workers: names of the worker processes.
        apis: names of the API processes.
        database: for looking on.
        model: the id of a stored checkpoint to start from.
        good, torn: ids of data sets, see `material`.
    """

    kind = ""
    workers: Sequence[str] = ("worker",)
    apis: Sequence[str] = (API,)

    def __init__(self, folder: Path, environment: Mapping[str, str], material: Path) -> None:
        super().__init__(folder, {**TIMES, **environment})
        self.material = material
        self.settings = Settings(
            data_dir=Path(environment.get("CAROT_DATA_DIR", folder / "looking-on")),
            database_url=environment.get("CAROT_DATABASE_URL", ""),
        )
        self.database = Database(self.settings.database_url)
        self.artifacts: ArtifactStore = open_store(self.settings, self.database)
        self.model = self.good = self.torn = ""
        self._starts = 0
        self._commands: dict[str, Sequence[str]] = {}
        self._ports = {SECOND: free_port()}

    def start(self, name: str, *command: str) -> Process:
        """Start `python -m command…`, whose database connections bear its name."""
        self._starts += 1
        self._commands[name] = command
        before = self.environment
        changes = {"PGAPPNAME": f"{name}.{self._starts}"}
        if name == SECOND:
            changes |= {
                "CAROT_PORT": str(self._ports[SECOND]),
                "CAROT_MAX_ATTEMPTS": str(FEW_ATTEMPTS),
            }
        if command[0].startswith("tests."):
            changes |= {"PYTHONPATH": str(ROOT)}
        self.environment = before | changes
        try:
            return super().start(name, *command)
        finally:
            self.environment = before

    def start_all(self) -> None:
        """Every process, ready, on a fresh database with the material in it."""
        self.migrate()
        audit.install(self.database)
        for name in self.apis:
            self.start(name, "api")
        for name in self.workers:
            self.start(name, "worker")
        self._store_material()
        self.await_ready()
        self.good = self.client.upload(self.material / "good.zip", "good")["id"]

    def second_client(self) -> Client:
        """A client of the API whose jobs have few attempts."""
        return Client(f"http://127.0.0.1:{self._ports[SECOND]}")

    def kill(self, name: str) -> None:
        """SIGKILL to one process; what it started is left to itself."""
        process = self.processes.pop(name)
        os.kill(process.pid, signal.SIGKILL)
        process.finish(10)

    def end(self, name: str) -> None:
        """SIGTERM to one process, and its end."""
        self.processes.pop(name).stop()

    def restart(self, name: str) -> None:
        """Start a process that was killed as it was started before."""
        self.start(name, *self._commands[name])

    def held_by(self, worker: str) -> dict[str, int]:
        """Jobs that a worker holds, with their fences."""
        name = f"carot-{self.processes[worker].pid}@"
        return {j.id: j.fence for j in self.jobs().values() if (j.worker or "").startswith(name)}

    def jobs(self) -> dict[str, Job]:
        """All jobs as they stand; waits while the database is away."""
        deadline = time.monotonic() + 60
        while True:
            try:
                with self.database.reading() as session:
                    return {job.id: job for job in session.scalars(select(Job))}
            except OperationalError:
                assert time.monotonic() < deadline, "the database stays away"
                time.sleep(0.05)

    def count_events(self, words: str) -> int:
        """How many events of all jobs say this; while the database is away, 0."""
        query = select(func.count()).where(JobEvent.message.contains(words))
        try:
            with self.database.reading() as session:
                return session.scalar(query) or 0
        except OperationalError:
            return 0

    def meddle(self, seconds: float) -> int:
        """Lose, double and delay messages for a while; how many."""
        raise NotImplementedError

    def close(self) -> None:
        """End everything."""
        self.stop()
        self.database.close()

    def _store_material(self) -> None:
        """What no request can bring: a model of ours, and images that no upload gets past."""
        models, datasets = self.material / "models", self.material / "datasets"
        self.model = store_model(self.database, self.artifacts, models / "tiny", CLASSES)
        self.torn = store_dataset(self.database, self.artifacts, datasets / "torn", CLASSES, SPLITS)


class Deployed(World):
    """Two API processes and two workers on Postgres and Redis of their own."""

    kind = "deployed"
    workers = ("worker1", "worker2")
    apis = (API, SECOND)

    def __init__(self, folder: Path, material: Path, seed: int) -> None:
        self.postgres = OwnServer("postgres")
        self.redis = OwnServer("redis")
        self.proxy = Proxy(self.redis.port, random.Random(seed))
        servers = {"CAROT_DATABASE_URL": self.postgres.url, "CAROT_BROKER_URL": self.proxy.url}
        super().__init__(folder, servers, material)

    def meddle(self, seconds: float) -> int:
        return awaited(self.proxy, seconds)

    def close(self) -> None:
        try:
            super().close()
        finally:
            self.proxy.close()
            self.redis.close()
            self.postgres.close()


class Embedded(World):
    """One API process and one worker on one data folder, as `carot up` starts them."""

    kind = "embedded"

    def __init__(self, folder: Path, material: Path, seed: int) -> None:
        data = folder / "data"
        super().__init__(folder, {"CAROT_DATA_DIR": str(data)}, material)
        self._mailbox = Mailbox(data / "broker" / "messages", random.Random(seed))

    def meddle(self, seconds: float) -> int:
        return self._mailbox.meddle(seconds)


WORLDS: dict[str, type[Deployed] | type[Embedded]] = {"deployed": Deployed, "embedded": Embedded}
