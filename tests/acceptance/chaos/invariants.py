"""What must hold after a batch: each check gives a list of what is wrong, one line each."""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from cli.client import Client
from store.artifacts import ArtifactStore
from store.artifacts.bundles import unpack
from store.artifacts.rows import COMMITTED
from store.database import Database
from store.jobs.states import TERMINAL, JobState, Transition
from store.retention.retention import collect_garbage
from store.tables import Artifact, BlobChunk, Checkpoint, Job, JobEvent, JobMetric, Report
from tests.acceptance.chaos import audit
from tests.acceptance.chaos.batch import Batch, Order
from tests.acceptance.chaos.material import STEPS, differing
from tests.acceptance.chaos.world import World

PAGE = 7  # events a page: few, so that pages have seams


@dataclass(frozen=True)
class Record:
    """All that the database says about a batch."""

    jobs: Mapping[str, Job]
    events: Mapping[str, Sequence[JobEvent]]
    checkpoints: Mapping[str, Sequence[Checkpoint]]
    reports: Mapping[str, Sequence[Report]]
    losses: Mapping[str, Sequence[int]]
    log: Sequence[audit.Entry]


def read(database: Database, ids: Sequence[str]) -> Record:
    """The record of these jobs."""
    with database.reading() as session:

        def by_job(rows: Iterable[object]) -> dict[str, list]:
            found: dict[str, list] = {job_id: [] for job_id in ids}
            for row in rows:
                found[row.job_id].append(row)  # type: ignore[attr-defined]
            return found

        jobs = session.scalars(select(Job).where(Job.id.in_(ids)))
        events = select(JobEvent).where(JobEvent.job_id.in_(ids)).order_by(JobEvent.seq)
        losses = select(JobMetric).where(JobMetric.job_id.in_(ids), JobMetric.name == "loss")
        rows = by_job(session.scalars(losses.order_by(JobMetric.step)))
        return Record(
            {job.id: job for job in jobs},
            by_job(session.scalars(events)),
            by_job(session.scalars(select(Checkpoint).where(Checkpoint.job_id.in_(ids)))),
            by_job(session.scalars(select(Report).where(Report.job_id.in_(ids)))),
            {job_id: [row.step for row in found] for job_id, found in rows.items()},
            [entry for entry in audit.entries(database) if entry.job_id in ids],
        )


def ended_rightly(order: Order, record: Record) -> list[str]:
    """Accepted, and in the terminal state that it must be in, with a reason if that is failure."""
    if order.id is None:
        return [f"{order.name} was never accepted"]
    job = record.jobs[order.id]
    said = f"{order.name} ({job.id}) is {job.state}, error {job.error}"
    asked = any(
        event.data.get("transition") in (Transition.ASK_TO_CANCEL, Transition.CANCEL_WAITING)
        for event in record.events[job.id]
    )
    # A cancel that came too late changes nothing; one that was accepted may not be ignored.
    right = "succeeded" if order.state == "cancelled" and not asked else order.state
    wrong = []
    if job.state != right:
        wrong.append(f"{said}; it should be {right}")
    if order.code and (job.error or {}).get("code") != order.code:
        wrong.append(f"{said}; the code should be {order.code}")
    if job.state == JobState.FAILED and not (job.error or {}).get("message"):
        wrong.append(f"{said}, without a reason")
    if job.lease_expires_at is not None or job.worker is not None or job.finished_at is None:
        wrong.append(f"{said}, but still held")
    return wrong


def states_alternate(job: Job, events: Sequence[JobEvent]) -> list[str]:
    """Each state follows from the one before, and each claim has a new fence."""
    state, fence, wrong = "", 0, []
    for event in (each for each in events if each.type == "state"):
        to = event.data["state"]
        if name := event.data.get("transition"):
            change = Transition(name).change
            if state not in change.sources or to != change.target:
                wrong.append(f"{job.id}: event {event.seq} {name} from {state} to {to}")
            expected = fence + (name in audit.CLAIMS)
            if event.data["fence"] != expected:
                wrong.append(f"{job.id}: event {event.seq} has fence {event.data['fence']}")
            fence = event.data["fence"]
        state = to
    if state != job.state or fence != job.fence:
        wrong.append(f"{job.id} is {job.state} under {job.fence}, its events say {state}, {fence}")
    return wrong


def events_are_numbered(job: Job, events: Sequence[JobEvent]) -> list[str]:
    """From 1, without gaps or repeats, and as many as the job says."""
    seqs = [event.seq for event in events]
    if seqs != list(range(1, job.event_seq + 1)):
        return [f"{job.id}: events {seqs} of {job.event_seq}"]
    return []


def results_are_single(job: Job, record: Record) -> list[str]:
    """A success has one report, and one checkpoint if it trained; anything else has neither."""
    checkpoints = [row.id for row in record.checkpoints[job.id]]
    reports = [row.id for row in record.reports[job.id]]
    done = job.state == JobState.SUCCEEDED
    wanted = int(done), int(done and job.kind == "finetune")
    wrong = []
    if (len(reports), len(checkpoints)) != wanted:
        wrong.append(f"{job.id} ({job.state}) has reports {reports}, checkpoints {checkpoints}")
    named = [i for i in (job.report_id, job.checkpoint_id) if i is not None]
    if named != reports + checkpoints:
        wrong.append(f"{job.id} names other results than it has")
    return wrong


def curves_are_whole(job: Job, steps: Sequence[int]) -> list[str]:
    """A run that succeeded has told of every step, whoever made it."""
    trained = job.state == JobState.SUCCEEDED and job.kind == "finetune"
    missing = sorted(set(range(1, STEPS + 1)) - set(steps))
    return [f"{job.id}: no loss of steps {missing}"] if trained and missing else []


def pages_equal_rows(client: Client, job: Job, events: Sequence[JobEvent]) -> list[str]:
    """Pages of events and the stream, taken up again in its midst, say what the rows say."""
    rows = [(event.seq, event.type) for event in events]
    paged: list[tuple[int, str]] = []
    while True:
        after = paged[-1][0] if paged else 0
        page = client.get(f"/jobs/{job.id}/events", after_seq=after, limit=PAGE)["data"]
        if not page:
            break
        paged += [(each["seq"], each["type"]) for each in page]
    streamed = [
        (int(each["id"]), each["event"]) for each in client.watch(job.id) if each["id"] is not None
    ]
    wrong = []
    if paged != rows:
        wrong.append(f"{job.id}: pages say {paged}, rows {rows}")
    if streamed != rows:
        wrong.append(f"{job.id}: the stream says {streamed}, rows {rows}")
    return wrong


def artifacts_are_whole(database: Database, artifacts: ArtifactStore) -> list[str]:
    """Every committed artifact can be read and is what was written."""
    wrong = []
    with database.reading() as session:
        rows = session.scalars(select(Artifact).where(Artifact.state == COMMITTED)).all()
    for row in rows:
        seen, size = hashlib.sha256(), 0
        try:
            for piece in artifacts.open(row.ref):
                seen.update(piece)
                size += len(piece)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is wrong
            # Unless the service itself has thrown it away meanwhile, as a snapshot of the past.
            with database.reading() as session:
                if session.get(Artifact, row.id) is not None:
                    wrong.append(f"{row.id} ({row.kind}): {error!r}")
            continue
        if (seen.hexdigest(), size) != (row.sha256, row.size):
            wrong.append(f"{row.id} ({row.kind}) is not what was written")
    return wrong


def nothing_is_left(database: Database, artifacts: ArtifactStore) -> list[str]:
    """Once garbage is collected: no pending rows, no snapshots, no bytes without a row."""
    collect_garbage(database, artifacts, older_than_seconds=0.0, snapshot_days=0.0)
    with database.reading() as session:
        rows = session.scalars(select(Artifact)).all()
        chunks = set(session.scalars(select(BlobChunk.blob_key).distinct()))
    wrong = [
        f"{row.id} ({row.kind}) is {row.state}"
        for row in rows
        if row.state != COMMITTED or row.kind == "snapshot"
    ]
    used = {str(row.blob_key).partition(".")[0] for row in rows}
    wrong += [f"chunks of {key} belong to nothing" for key in chunks - used]
    kept = {str(row.blob_key) for row in rows}
    wrong += [f"{key} belongs to nothing" for key in artifacts.abandoned(-60) if _of(key, kept)]
    return wrong


def _of(key: str, kept: set[str]) -> bool:
    return not any(each == key or each.startswith(f"{key}.") for each in kept)


def scratch_is_clean(folders: Iterable[Path], live: Callable[[str], bool]) -> list[str]:
    """Workers keep no folder of an attempt that is over."""
    return [
        f"{path.name} is left in a worker's scratch"
        for folder in folders
        for path in folder.glob("job_*")
        if not live(path.name)
    ]


def weights_equal(artifacts: ArtifactStore, checkpoint: Checkpoint, reference: Path) -> list[str]:
    """Every byte of every tensor is that of a run without faults."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "checkpoint")
        try:
            unpack(artifacts.open(checkpoint.artifact.ref), target)
        except tarfile.TarError as error:
            return [f"{checkpoint.id}: {error}"]
        different = differing(target, reference)
    return [f"{checkpoint.id} of {checkpoint.job_id}: other weights: {different}"] * bool(different)


def check(world: World, batch: Batch) -> tuple[list[str], list[str], list[str]]:
    """Everything: jobs that were lost, what was done twice, what else is wrong."""
    record = read(world.database, batch.ids)
    lost = [line for order in batch.orders for line in ended_rightly(order, record)]
    twice, wrong = audit.intruders(record.log), list(batch.refusals)
    names = Counter(job.name for job in world.jobs().values())
    twice += [f"{o.name} is there {names[o.name]} times" for o in batch.orders if names[o.name] > 1]
    for order in batch.orders:
        if order.id is None:
            continue
        job = record.jobs[order.id]
        twice += results_are_single(job, record)
        wrong += states_alternate(job, record.events[job.id])
        wrong += events_are_numbered(job, record.events[job.id])
        wrong += curves_are_whole(job, record.losses[job.id])
        wrong += pages_equal_rows(world.client, job, record.events[job.id])
        for checkpoint in record.checkpoints[job.id] if order.spec else ():
            reference = world.material / "references" / str(order.spec) / "checkpoint"
            wrong += weights_equal(world.artifacts, checkpoint, reference)
    wrong += artifacts_are_whole(world.database, world.artifacts)
    wrong += nothing_is_left(world.database, world.artifacts)
    assert all(job.state in TERMINAL for job in record.jobs.values())
    return lost, twice, wrong
