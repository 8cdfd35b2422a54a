"""One attempt at a job, from the claim to its end. Holds no transaction while it waits."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import structlog
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from carot.errors import DataError, SpecError
from carot.events import Failed, Warning
from carot.warnings import Code
from store.artifacts import ArtifactStore
from store.database import Database
from store.errors import ArtifactError, IllegalTransition, NotBeneathRoot, NotFound, StaleFence
from store.jobs.claims import Claim, fail, lose_attempt, mark_cancelled, mark_paused, release
from store.jobs.exits import Exit, ExitReason
from store.jobs.states import JobState
from store.jobs.transitions import find
from store.settings import Settings
from worker.child import DONE, FAILED
from worker.exits import how_it_ended, oom_kills
from worker.heartbeat import Heartbeat, Verdict
from worker.launch import ForkServer
from worker.materialise import Materialiser, Materials
from worker.relay import Relay
from worker.results import Linked, Results
from worker.trainer_process import Command, TrainerProcess

POLL_SECONDS = 0.1
RETRY_SECONDS = 1.0
HEARING_SECONDS = 0.5
"""What a trainer may take from saving a snapshot to saying so; else it is looked at again."""
MAX_MESSAGE = 4000
log = structlog.get_logger("worker")


class GivenUp(Exception):
    """The attempt ends early: cancelled, taken over, or the worker shuts down."""


class Attempt:
    """A claimed job in the hands of this worker.

    Args:
        command: of the trainer, for a number of processes; `folder` is added to it.
        stopping: set when this process is to end.
        folder: where everything of this attempt lies.
        fork_server: from which the trainer is forked, where it can be.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        artifacts: ArtifactStore,
        command: Command,
        stopping: threading.Event,
        held: Claim,
        folder: Path,
        fork_server: ForkServer | None = None,
    ) -> None:
        self._settings = settings
        self._database = database
        self._command = command
        self._stopping = stopping
        self._held = held
        self._folder = folder
        self._fork_server = fork_server
        self._relay = Relay()
        self._heartbeat = Heartbeat(database, settings, held, self._relay)
        self._materialiser = Materialiser(
            database, artifacts, folder, self._check, settings.dataset_root
        )
        self._results = Results(database, artifacts, held, folder, self._check)
        self._stored_step = -1
        self._finishing = False

    def run(self) -> None:
        """Bring the job to an end, or give it back.

        Raises:
            StaleFence: somebody else has the job; nothing was written since.
        """
        with self._heartbeat:
            try:
                self._run()
            except GivenUp:
                self._give_up()
            except (StaleFence, SQLAlchemyError):
                raise
            except IllegalTransition:  # a cancel came in at the last moment
                self._end(self._confirm)
            except (ArtifactError, NotFound, NotBeneathRoot, DataError, SpecError) as error:
                self._fail(_code(type(error).__name__), str(error))
            except Exception as error:
                log.exception("worker_failed")
                self._lose(Exit(ExitReason.WORKER_ERROR, f"the worker failed: {error!r}"))

    def _run(self) -> None:
        materials = self._materialiser.prepare(self._held)
        if materials.snapshot_lost is not None:
            self._warn(
                "snapshot_lost",
                f"starting again, as the snapshot cannot be used: {materials.snapshot_lost}",
            )
        kills = oom_kills()
        trainer = TrainerProcess(
            self._command(self._held.processes),
            self._folder,
            self._relay.on_line,
            self._fork_server,
        )
        try:
            code = self._watch(trainer)
        finally:
            trainer.close()
        if self._heartbeat.verdict is not None:
            raise GivenUp
        killed_for_memory = kills is not None and (oom_kills() or 0) > kills
        self._finish(code, how_it_ended(code, trainer.last_words(), killed_for_memory), materials)

    def _watch(self, trainer: TrainerProcess) -> int:
        while (code := trainer.poll()) is None:
            if self._heartbeat.verdict is Verdict.STALE:
                trainer.kill()
            elif self._heartbeat.verdict is not None or self._stopping.is_set():
                trainer.stop(self._settings.cancel_grace_seconds)
            else:
                self._keep_snapshot(ended=False)
            time.sleep(POLL_SECONDS)
        return code

    def _finish(self, code: int, exit: Exit, materials: Materials) -> None:
        failure = self._relay.failure
        self._finishing = True
        if code == DONE:
            self._flush()
            self._insist(lambda: self._results.keep(materials))
        elif code == FAILED and failure is not None:
            self._fail(_code(failure.error), failure.message, failure)
        elif self._stopping.is_set():
            raise GivenUp
        else:
            self._keep_snapshot(ended=True)
            self._lose(exit)

    def _check(self) -> None:
        """Asked between the pieces of whatever takes long."""
        verdict = self._heartbeat.verdict
        useless = verdict in (Verdict.CANCELLED, Verdict.STALE)
        asked = verdict is not None or self._stopping.is_set()
        if useless or (asked and not self._finishing):
            raise GivenUp

    def _keep_snapshot(self, *, ended: bool) -> None:
        """Store the newest snapshot, if it is not; without one a restart begins further back.

        Args:
            ended: whether the trainer has, and all that it ever said is here.
        """
        event = self._relay.snapshot
        if event is None or event.step == self._stored_step:
            return
        before, self._stored_step = self._stored_step, event.step
        try:
            with self._results.linked_snapshot() as snapshot:
                if snapshot is not None and self._has_curves_of(snapshot, ended=ended):
                    self._stored_step = snapshot.step
                    self._results.keep_snapshot(snapshot)
                elif snapshot is not None:
                    self._stored_step = before
        except GivenUp:
            self._stored_step = before
        except StaleFence:
            raise
        except Exception as error:
            step = self._stored_step
            log.exception("snapshot_not_kept", step=step)
            self._warn("snapshot_not_kept", f"the snapshot of step {step}: {error}")

    def _has_curves_of(self, snapshot: Linked, *, ended: bool) -> bool:
        """Have the curves up to a snapshot in the database, before it is there itself.

        A worker killed in between would leave a gap that no later attempt fills, as it goes on
        behind the snapshot; which may be newer than what the trainer was heard of.
        """
        if not ended and not self._relay.has_heard_of(snapshot.step, within=HEARING_SECONDS):
            return False
        self._relay.flush(self._database, self._held, self._settings.lease_seconds, due=False)
        return True

    def _give_up(self) -> None:
        match self._heartbeat.verdict:
            case Verdict.STALE:
                raise StaleFence(f"{self._held.job_id} was taken away")
            case Verdict.CANCELLED:
                self._end(self._confirm)
            case Verdict.PAUSED:
                self._keep_last_snapshot()
                self._end(self._confirm)
            case Verdict.TIME_LIMIT:
                self._keep_last_snapshot()
                self._out_of_time()
            case _:
                self._keep_last_snapshot()
                self._end(lambda session: release(session, self._held))

    def _keep_last_snapshot(self) -> None:
        self._finishing = True
        self._keep_snapshot(ended=True)

    def _out_of_time(self) -> None:
        limit = self._held.max_seconds
        message = f"it has run for the {limit:g} s that it may; a retry goes on with as many"
        self._fail(ExitReason.TIME_LIMIT, message, exit=Exit(ExitReason.TIME_LIMIT, message))

    def _fail(
        self, code: str, message: str, failure: Failed | None = None, exit: Exit | None = None
    ) -> None:
        error = {
            "code": code,
            "message": message[:MAX_MESSAGE],
            "field": None if failure is None else failure.field,
            "names": [] if failure is None else list(failure.names),
        }
        self._end(lambda session: fail(session, self._held, error, exit))

    def _lose(self, exit: Exit) -> None:
        exit = replace(exit, message=exit.message[:MAX_MESSAGE])
        self._end(lambda session: lose_attempt(session, self._held, exit))

    def _end(self, change: Callable[[Session], object]) -> None:
        """Write what is left to say, then the change of state; cancel or pause may be faster."""
        self._flush()
        try:
            self._insist(lambda: self._in_session(change))
        except IllegalTransition:
            self._insist(lambda: self._in_session(self._confirm))

    def _confirm(self, session: Session) -> None:
        """Whichever it was asked for last."""
        if find(session, self._held.job_id).state == JobState.PAUSING:
            mark_paused(session, self._held)
        else:
            mark_cancelled(session, self._held)

    def _in_session(self, change: Callable[[Session], object]) -> None:
        with self._database.session() as session:
            change(session)

    def _flush(self) -> None:
        lease = self._settings.lease_seconds
        self._insist(lambda: self._relay.flush(self._database, self._held, lease, due=True))

    def _insist(self, act: Callable[[], object]) -> None:
        """Hours of training are not lost because the database is away for a moment."""
        while True:
            try:
                act()
            except OperationalError as error:
                if self._heartbeat.verdict is Verdict.STALE:
                    raise StaleFence(f"{self._held.job_id}: the database was away") from error
                log.warning("database_away", error=str(error))
                time.sleep(RETRY_SECONDS)
            else:
                return

    def _warn(self, code: Code, message: str) -> None:
        self._relay.warn(Warning(code=code, message=message))


def _code(name: str) -> str:
    """`TooManyUnreadable` is `too_many_unreadable`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
