"""Warnings of jobs: what the run warned of, beside its events, where lists can show it."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy.orm import Session

from carot.warnings import CodedWarning, first_of_each
from store.jobs.claims import Claim, check_fence
from store.jobs.transitions import find


def add_warnings(session: Session, held: Claim, warnings: Iterable[CodedWarning]) -> None:
    """Add those that the job does not have yet, at most a hundred in all.

    Raises:
        StaleFence: the job is no longer this worker's.
    """
    check_fence(session, held)
    job = find(session, held.job_id)
    had = [CodedWarning.model_validate(each) for each in job.warnings]
    job.warnings = [each.model_dump(mode="json") for each in first_of_each([*had, *warnings])]
    session.flush()
