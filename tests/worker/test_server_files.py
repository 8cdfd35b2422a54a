"""Jobs that name files of the server, in the hands of a worker."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from store.reports import get_report
from store.states import JobState
from tests.worker.conftest import Workshop

pytestmark = pytest.mark.slow

LOOK = """
spec = json.loads((folder / "spec.json").read_text())
os.chdir(folder)
path = spec["dataset"].partition(":")[2]
say("warning", code="other", message=json.dumps([spec, Path(path).read_text()]))
results()
report = json.loads((folder / "report.json").read_text())
for row in report["datasets"]:
    row["dataset"] = spec["dataset"]
(folder / "report.json").write_text(json.dumps(report))
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "pets").mkdir(parents=True)
    (root / "pets" / "pets.csv").write_text("filepath,label\n0.png,cat\n1.png,dog\n")
    return root


def seen(workshop: Workshop, job_id: str) -> tuple[dict[str, Any], str]:
    [row] = [row for row in workshop.events(job_id) if row.data.get("code") == "other"]
    spec, content = json.loads(row.data["message"])
    return spec, content


def test_a_run_opens_files_beneath_the_root_and_reports_what_was_asked(
    workshop: Workshop, root: Path
) -> None:
    rows = [{"name": "a", "dataset": "csv:pets/pets.csv"}, {"name": "b", "dataset": "folder:pets"}]
    job_id = workshop.job(dataset="csv:pets/pets.csv", evaluation={"datasets": rows})
    job = workshop.run(job_id, LOOK, dataset_root=root)
    assert job.state == JobState.SUCCEEDED, job.error
    spec, content = seen(workshop, job_id)
    assert content.startswith("filepath,label")
    assert spec["dataset"] == "csv:datasets/root/pets/pets.csv"
    assert spec["evaluation"]["datasets"][1]["dataset"] == "folder:datasets/root/pets"
    with workshop.database.reading() as session:
        document = get_report(session, str(job.report_id)).document
    assert document["dataset"] == document["spec"]["dataset"] == "csv:pets/pets.csv"
    assert {row["dataset"] for row in document["datasets"]} == {"csv:pets/pets.csv"}
    # Only the link to the root went with the folder of the attempt.
    assert (root / "pets" / "pets.csv").exists()
    assert not list((workshop.settings.data_dir / "scratch").glob("job_*"))


def test_the_spec_is_the_same_beneath_another_root(
    workshop: Workshop, root: Path, tmp_path: Path
) -> None:
    shutil.copytree(root, tmp_path / "other")  # a snapshot of the one worker serves the other
    specs = []
    for place in (root, tmp_path / "other"):
        job_id = workshop.job(dataset="csv:pets/pets.csv")
        workshop.run(job_id, LOOK, dataset_root=place)
        specs.append(seen(workshop, job_id)[0])
    assert specs[0] == specs[1]


@pytest.mark.parametrize("reference", ["csv:pets/pets.csv", "folder:pets", "webdataset:pets"])
def test_a_worker_without_a_root(workshop: Workshop, reference: str) -> None:
    job = workshop.run(workshop.job(dataset=reference), "results()")
    assert (job.state, job.attempts) == (JobState.FAILED, 1)
    assert job.error is not None
    assert job.error["code"] == "not_beneath_root"
    assert "CAROT_DATASET_ROOT" in job.error["message"]


@pytest.mark.parametrize("reference", ["folder:..", "folder:/etc", "folder:gone", "folder:pets"])
def test_what_the_api_let_through_is_checked_again(
    workshop: Workshop, root: Path, reference: str
) -> None:
    (root / "pets" / "sly").symlink_to("/etc")
    job = workshop.run(workshop.job(dataset=reference), "results()", dataset_root=root)
    assert (job.state, job.attempts) == (JobState.FAILED, 1)
    assert job.error is not None
    assert job.error["code"] == "not_beneath_root"
    assert str(root) not in job.error["message"]


def test_a_table_that_cannot_be_read(workshop: Workshop, root: Path) -> None:
    (root / "pets" / "pets.csv").write_bytes(b"\xff")
    job = workshop.run(workshop.job(dataset="csv:pets/pets.csv"), "results()", dataset_root=root)
    assert job.state == JobState.FAILED
    assert job.error is not None
    assert job.error["code"] == "data_error"
