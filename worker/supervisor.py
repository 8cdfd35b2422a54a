"""Claims jobs and cleans up behind them. Loads no torch."""

from __future__ import annotations

import re
import shutil
import threading
from pathlib import Path

import structlog

from store.artifacts import ArtifactStore
from store.database import Database
from store.errors import NotFound, StaleFence
from store.jobs.claims import Claim, claim_next
from store.jobs.states import HELD
from store.jobs.transitions import find
from store.logs import bound
from store.settings import Settings
from worker.attempt import Attempt
from worker.launch import ForkServer
from worker.trainer_process import Command, trainer_command

SCRATCH = re.compile(r"(job_[0-9a-z]{26})-(\d+)")
log = structlog.get_logger("worker")


class Supervisor:
    """Runs jobs one at a time, for as long as there are some.

    Args:
        worker: a name for people.
        command: of the trainer, for a number of processes; the attempt's folder is added.
        stopping: set when this process is to end; the job is then given back.
        fork_server: from which trainers are forked; None for a new interpreter each.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        artifacts: ArtifactStore,
        *,
        worker: str,
        command: Command = trainer_command,
        stopping: threading.Event | None = None,
        fork_server: ForkServer | None = None,
    ) -> None:
        self._settings = settings
        self._database = database
        self._artifacts = artifacts
        self._worker = worker
        self._command = command
        self._stopping = stopping or threading.Event()
        self._fork_server = fork_server
        self._scratch = settings.data_dir / "scratch"

    def run(self) -> None:
        """Bring jobs to their ends until none is left that this worker may take."""
        while self.run_one():
            pass

    def run_one(self) -> bool:
        """Claim the job that is first in line and bring it to an end; False when there is none."""
        if self._stopping.is_set():
            return False
        with self._database.session() as session:
            held = claim_next(
                session, self._worker, self._settings.lease_seconds, self._settings.queues
            )
        if held is None:
            return False
        with bound(job_id=held.job_id, fence=held.fence, attempt=held.attempt, worker=held.worker):
            self._attempt(held)
        return True

    def clean_scratch(self) -> None:
        """Delete the folders of attempts that are over: their workers were killed.

        To be called again and again: a worker that follows one that was killed starts while the
        lease of that one still makes its folder look alive. Any thread may.
        """
        for folder in self._scratch.glob("job_*"):
            if not self._is_live(folder):
                shutil.rmtree(folder, ignore_errors=True)

    def _attempt(self, held: Claim) -> None:
        log.info("job_claimed", kind=held.kind)
        folder = self._scratch / f"{held.job_id}-{held.fence}"
        try:
            Attempt(
                self._settings,
                self._database,
                self._artifacts,
                self._command,
                self._stopping,
                held,
                folder,
                self._fork_server,
            ).run()
        except StaleFence as error:
            log.warning("job_taken_away", reason=str(error))
        else:
            log.info("attempt_over")
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _is_live(self, folder: Path) -> bool:
        match = SCRATCH.fullmatch(folder.name)
        if match is None:
            return True  # not ours
        try:
            with self._database.reading() as session:
                job = find(session, match[1])
                return job.state in HELD and job.fence == int(match[2])
        except NotFound:
            return False
