"""Supervisors with small programs for trainers: real processes, real databases."""

import json
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from carot.specs import AnySpec, FinetuneSpec, RunSpec
from store.artifacts import ArtifactStore, open_store
from store.artifacts.rows import Stored, store_pending
from store.database import Database
from store.jobs.events import list_events
from store.jobs.jobs import Wishes, create_job
from store.jobs.transitions import find
from store.settings import Settings
from store.tables import DEFAULT_PROJECT, Job, JobEvent
from worker.supervisor import Supervisor

PATIENCE_SECONDS = 60.0
A_DATASET = "ds_01jd3v8m9x2k4q6r8t0v2w4y6z"
RUN: TypeAdapter[AnySpec] = TypeAdapter(RunSpec)
SPEC: dict[str, Any] = {"model": {"architecture": "carot-mini"}, "dataset": "builtin:digits"}

PRELUDE = """
import json, os, signal, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
def say(type, **data):
    print(json.dumps({"type": type, **data}), flush=True)
def step(n, **changes):
    say("step_done", **{"step": n, "total_steps": 10, "epoch": n / 10, "loss": 1 / n,
        "losses": {"contrastive": 0.5}, "learning_rate": 0.1, "rate": 2.0} | changes)
def snapshot(n):
    aside = folder / "aside"
    aside.mkdir()
    (aside / "snapshot.json").write_text(json.dumps({"step": n}))
    if (folder / "snapshot").exists():
        (folder / "snapshot").rename(folder / f"old{n}")
    aside.rename(folder / "snapshot")
    say("snapshot_saved", step=n, path="snapshot")
def results():
    here = Path(os.environ["RESULTS"])
    for path in here.rglob("*"):
        target = folder / path.relative_to(here)
        if path.is_dir():
            target.mkdir()
        else:
            target.write_bytes(path.read_bytes())
"""


@dataclass
class Workshop:
    """A database, an artifact store, and supervisors over them."""

    settings: Settings
    database: Database
    artifacts: ArtifactStore
    scripts: Path
    stopping: threading.Event = field(default_factory=threading.Event)

    def job(self, **changes: Any) -> str:
        """A queued job."""
        kind = "evaluate" if changes.pop("evaluate", False) else "finetune"
        alias, wishes = changes.pop("alias", None), changes.pop("wishes", None)
        return self.queued(SPEC | {"kind": kind} | changes, alias, wishes)

    def queued(
        self, document: dict[str, Any], alias: str | None = None, wishes: Wishes | None = None
    ) -> str:
        """A queued job of any kind."""
        spec = RUN.validate_python(document)
        with self.database.session() as session:
            return create_job(
                session, spec, project=DEFAULT_PROJECT, name="a job", alias=alias, wishes=wishes
            ).id

    def stored(self, chunks: Iterable[bytes]) -> Stored:
        """The bundle of a data set, to be committed with its row."""
        return store_pending(self.database, self.artifacts, chunks, "dataset")

    def look(self, job_id: str) -> Job:
        """The job as it stands."""
        with self.database.reading() as session:
            return find(session, job_id)

    def events(self, job_id: str) -> list[JobEvent]:
        """All that happened to it."""
        with self.database.reading() as session:
            return list_events(session, job_id, limit=1000)

    def supervisor(self, program: str, **settings: Any) -> Supervisor:
        """One whose trainer is the program given."""
        script = self.scripts / f"{len(list(self.scripts.iterdir()))}.py"
        script.write_text(PRELUDE + textwrap.dedent(program))
        return Supervisor(
            self.settings.model_copy(update=settings),
            self.database,
            self.artifacts,
            worker="tester",
            command=lambda _processes: [sys.executable, str(script)],
            stopping=self.stopping,
        )

    def run(self, job_id: str, program: str, **settings: Any) -> Job:
        """Run it once, here and now."""
        self.supervisor(program, **settings).run_one()
        return self.look(job_id)

    def start(self, job_id: str, program: str, **settings: Any) -> threading.Thread:
        """Run it once, in a thread."""
        supervisor = self.supervisor(program, **settings)
        thread = threading.Thread(target=supervisor.run_one, daemon=True)
        thread.start()
        return thread

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for something to become true."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, "it never happened"
            time.sleep(0.05)

    def until_step(self, job_id: str, step: int) -> None:
        """Wait until the trainer has reported a step."""
        self.until(lambda: (self.look(job_id).progress or {}).get("step", -1) >= step)


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a finished run leaves, measured on made-up logits."""
    import torch

    from carot.evaluation.measuring import measure
    from carot.evaluation.reports import build_report
    from carot.specs import EvaluationDataset

    folder = tmp_path_factory.mktemp("results")
    random = torch.Generator().manual_seed(0)
    rows = [
        EvaluationDataset(name="clean", dataset="builtin:digits", in_distribution=True),
        EvaluationDataset(name="own", dataset=f"folder:datasets/{A_DATASET}"),
    ]
    logits_NC, features_ND = torch.randn(30, 3, generator=random), torch.randn(30, 4)
    labels_N = torch.arange(30) % 3
    measured = [
        measure(row, logits_NC, labels_N, features_ND, calibration=None, skipped=()) for row in rows
    ]
    report = build_report(
        FinetuneSpec.model_validate(SPEC),
        measured,
        classes=["a", "b", "c"],
        method="carot",
        architecture="carot-mini",
        calibration=None,
    )
    (folder / "report.json").write_text(report.model_dump_json())
    (folder / "checkpoint").mkdir()
    card = {
        "architecture": "carot-mini",
        "method": "carot",
        "classes": ["a", "b", "c"],
        "templates": ["a {}."],
    }
    (folder / "checkpoint" / "classifier.json").write_text(json.dumps(card))
    (folder / "checkpoint" / "head.safetensors").write_bytes(bytes(range(256)) * 100)
    (folder / "logits").mkdir()
    (folder / "logits" / "0.npz").write_bytes(b"logits")
    return folder


@pytest.fixture
def workshop(
    database_url: str, tmp_path: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Workshop]:
    monkeypatch.setenv("RESULTS", str(results))
    settings = Settings(
        data_dir=tmp_path / "data",
        database_url=database_url,
        lease_seconds=30,
        heartbeat_seconds=1,
        cancel_grace_seconds=20,
    )
    database = Database(database_url)
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    shop = Workshop(settings, database, open_store(settings, database), scripts)
    yield shop
    shop.stopping.set()
    database.close()


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
