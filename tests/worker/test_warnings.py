"""What a run warns of: on its job and its checkpoint, and what that does to the alias."""

from __future__ import annotations

import json
from typing import Any

import pytest

from carot.warnings import ACTIONS
from store.errors import NotFound
from store.jobs.jobs import create_job
from store.jobs.states import JobState
from store.models.aliases import get_alias
from store.models.checkpoints import get_checkpoint
from store.tables import DEFAULT_PROJECT, Job
from tests.worker.conftest import RUN, SPEC, Workshop

pytestmark = pytest.mark.slow

WARNING = {"code": "not_better_than_start", "message": "no better"}
OTHER = {"code": "no_calibration_split", "message": "raw"}


def program(*warnings: dict[str, str]) -> str:
    """A run that says these while it runs, and again in its report."""
    return f"""
    for each in {json.dumps(warnings)}:
        say("warning", **each)
        say("warning", **each)
    results()
    report = json.loads((folder / "report.json").read_text())
    report["warnings"] = {json.dumps(warnings)}
    (folder / "report.json").write_text(json.dumps(report))
    """


def run(workshop: Workshop, *warnings: dict[str, str], **how: Any) -> Job:
    with workshop.database.session() as session:
        spec = RUN.validate_python(SPEC | {"kind": "finetune"})
        identity = create_job(session, spec, project=DEFAULT_PROJECT, alias="mine", **how).id
    job = workshop.run(identity, program(*warnings))
    assert job.state == JobState.SUCCEEDED, workshop.events(identity)[-1].message
    return job


def pointed(workshop: Workshop) -> str | None:
    with workshop.database.reading() as session:
        try:
            return get_alias(session, DEFAULT_PROJECT, "mine").checkpoint_id
        except NotFound:
            return None


def test_a_model_that_is_no_better_gets_no_alias_and_says_so(workshop: Workshop) -> None:
    good = run(workshop)
    assert good.warnings == []
    assert pointed(workshop) == good.checkpoint_id
    bad = run(workshop, WARNING)
    assert bad.checkpoint_id is not None
    assert pointed(workshop) == good.checkpoint_id
    assert [each["code"] for each in bad.warnings] == ["not_better_than_start", "alias_not_moved"]
    assert str(bad.checkpoint_id) in bad.warnings[1]["message"]
    assert all(each["action"] == ACTIONS[each["code"]] for each in bad.warnings)
    told = [row.data["code"] for row in workshop.events(bad.id) if row.type == "warning"]
    assert told[-1] == "alias_not_moved"


def test_a_name_that_is_not_there_yet_is_not_made_for_it(workshop: Workshop) -> None:
    run(workshop, WARNING)
    assert pointed(workshop) is None


def test_told_to_it_moves_all_the_same(workshop: Workshop) -> None:
    job = run(workshop, WARNING, alias_when="always")
    assert pointed(workshop) == job.checkpoint_id
    assert [each["code"] for each in job.warnings] == ["not_better_than_start"]


def test_other_warnings_hold_nothing_back_and_stay_with_the_checkpoint(workshop: Workshop) -> None:
    job = run(workshop, OTHER)
    assert pointed(workshop) == job.checkpoint_id
    assert [each["code"] for each in job.warnings] == ["no_calibration_split"]  # said twice
    with workshop.database.reading() as session:
        checkpoint = get_checkpoint(session, DEFAULT_PROJECT, str(job.checkpoint_id))
    assert [each["message"] for each in checkpoint.warnings] == ["raw"]
