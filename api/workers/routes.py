"""Route that lists workers.

They belong to no project. Whoever may look at jobs may see them all, since a job that waits raises
the question whether anybody is there to take it; which job one holds is told to its project only.
"""

from __future__ import annotations

from fastapi import APIRouter

from api.access.callers import JobsReader
from api.context import ContextDep
from api.web.schemas import Cursor, Limit, Page
from api.workers.schemas import DeviceView, WorkerView
from store.jobs import workers as store

router = APIRouter(prefix="/workers", tags=["workers"])


@router.get("")
def list_workers(
    context: ContextDep, caller: JobsReader, cursor: Cursor = None, limit: Limit = 50
) -> Page[WorkerView]:
    """Workers of the last day, the latest started first, with their GPUs and what they do."""
    with context.database.reading() as session:
        page = store.list_workers(session, caller.project, cursor=cursor, limit=limit)
        data = [_view(each) for each in page.data]
    return Page(data=data, next_cursor=page.next_cursor)


def _view(holder: store.Holder) -> WorkerView:
    row = holder.row
    return WorkerView(
        id=row.id,
        name=row.name,
        host=row.host,
        pid=row.pid,
        queues=row.queues,
        devices=[DeviceView(**device) for device in row.devices],
        version=row.version,
        state=holder.state.value,
        job_id=holder.job_id,
        silent_after_seconds=row.silent_after_seconds,
        started_at=row.started_at,
        heartbeat_at=row.heartbeat_at,
        stopped_at=row.stopped_at,
    )
