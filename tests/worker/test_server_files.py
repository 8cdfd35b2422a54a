"""Jobs that name files of the server, in the hands of a worker."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from carot.evaluation.reports import Report
from carot.evaluation.suites import suite
from store.jobs.states import JobState
from store.reports.reports import get_report
from store.tables import DEFAULT_PROJECT
from tests.carot.data.formats.imagenet_tree import build_family
from tests.carot.tiny import save_tiny
from tests.worker.conftest import RUN, Workshop

pytestmark = pytest.mark.slow

LOOK = """
spec = json.loads((folder / "spec.json").read_text())
os.chdir(folder)
path = spec["dataset"].partition(":")[2]
say("warning", code="other", message=json.dumps([spec, Path(path).read_text()]))
results()
report = json.loads((folder / "report.json").read_text())
rows = spec["evaluation"]["datasets"] or [spec]
report["datasets"] = [report["datasets"][0] | {"dataset": row["dataset"]} for row in rows]
(folder / "report.json").write_text(json.dumps(report))
"""


CHILD = "from worker.child import main; sys.exit(main(folder))"
FAMILY = ["imagenet", "imagenet-v2", "imagenet-r", "imagenet-a", "imagenet-sketch", "objectnet"]


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
    calibration = {"domains": [{"name": "d", "dataset": "folder:pets"}]}
    job_id = workshop.job(
        dataset="csv:pets/pets.csv", evaluation={"datasets": rows}, calibration=calibration
    )
    job = workshop.run(job_id, LOOK, dataset_root=root)
    assert job.state == JobState.SUCCEEDED, job.error
    spec, content = seen(workshop, job_id)
    assert spec["calibration"]["domains"][0]["dataset"] == "folder:datasets/root/pets"
    assert content.startswith("filepath,label")
    assert spec["dataset"] == "csv:datasets/root/pets/pets.csv"
    assert spec["evaluation"]["datasets"][1]["dataset"] == "folder:datasets/root/pets"
    with workshop.database.reading() as session:
        document = get_report(session, DEFAULT_PROJECT, str(job.report_id)).document
    assert document["dataset"] == document["spec"]["dataset"] == "csv:pets/pets.csv"
    assert [row["dataset"] for row in document["datasets"]] == [row["dataset"] for row in rows]
    # Only the link to the root went with the folder of the attempt.
    assert (root / "pets" / "pets.csv").exists()
    assert not list((workshop.settings.data_dir / "scratch").glob("job_*"))


@pytest.mark.parametrize("given", ["family", "./family/"])
def test_a_suite_becomes_rows_for_the_run_only(workshop: Workshop, root: Path, given: str) -> None:
    for name in ("imagenet", "imagenet-c/weather", *FAMILY[1:]):
        (root / "family" / name).mkdir(parents=True)
    for corruption in suite("imagenet-c").rows[1].each or ():
        (root / "family" / "imagenet-c" / "weather" / corruption / "2").mkdir(parents=True)
    path = given.rstrip("/")
    c = "imagenet-c"
    for name, references in (
        ("imagenet", [f"{name}:{{}}/{name}" for name in FAMILY]),
        (
            c,
            [
                "imagenet:{}/imagenet",
                f"{c}:{{}}/{c}/gaussian_noise/2",
                f"{c}:{{}}/{c}/shot_noise/2",
            ],
        ),
    ):
        evaluation = {"suite": name, "root": given, "severities": [2]}
        job_id = workshop.job(dataset="csv:pets/pets.csv", evaluation=evaluation)
        asked = workshop.look(job_id).spec
        job = workshop.run(job_id, LOOK, dataset_root=root)
        assert job.state == JobState.SUCCEEDED, job.error
        found = seen(workshop, job_id)[0]["evaluation"]
        assert (found["suite"], found["root"]) == (None, None)
        assert [row["dataset"] for row in found["datasets"]][: len(references)] == [
            each.format(f"datasets/root/{path}") for each in references
        ]
        assert [row["in_distribution"] for row in found["datasets"]].count(True) == 1
        restricted = {row["name"] for row in found["datasets"] if row["restrict"]}
        assert restricted == ({"imagenet-r", "imagenet-a", "objectnet"} if name != c else set())
        with workshop.database.reading() as session:
            document = get_report(session, DEFAULT_PROJECT, str(job.report_id)).document
        assert document["spec"] == job.spec == asked
        assert document["spec"]["evaluation"]["root"] == given
        assert [row["dataset"] for row in document["datasets"]][: len(references)] == [
            each.format(path) for each in references
        ]


@pytest.mark.parametrize("given", ["family", "..", "/", "/etc", "out"])
def test_a_suite_that_is_not_there_ends_the_job(workshop: Workshop, root: Path, given: str) -> None:
    (root / "out").symlink_to(root.parent)
    for name in FAMILY:
        (root.parent / name).mkdir()
    job_id = workshop.job(evaluation={"suite": "imagenet", "root": given})
    job = workshop.run(job_id, "results()", dataset_root=root)
    assert (job.state, job.attempts) == (JobState.FAILED, 1)
    assert job.error is not None
    assert job.error["code"] == "not_beneath_root"
    assert str(root) not in job.error["message"]


def test_a_suite_that_this_worker_lacks(workshop: Workshop, root: Path) -> None:
    job_id = workshop.job(evaluation={"suite": "next-year", "root": "family"})
    job = workshop.run(job_id, "results()", dataset_root=root)
    assert (job.state, job.attempts) == (JobState.FAILED, 1)
    assert job.error is not None
    assert job.error["code"] == "spec_error"


# The child sees a folder, never the database.
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_whole_run_of_a_suite(workshop: Workshop, root: Path) -> None:
    build_family(root / "family")
    document = {
        "kind": "evaluate",
        "model": {"folder": str(save_tiny(root.parent / "model"))},
        "dataset": "imagenet:family/imagenet",
        "prompts": {"templates": ["a photo of a {}."]},
        "evaluation": {"suite": "imagenet", "root": "family"},
    }
    job = workshop.run(workshop.queued(document), CHILD, dataset_root=root)
    assert job.state == JobState.SUCCEEDED, job.error
    with workshop.database.reading() as session:
        report = Report.model_validate(
            get_report(session, DEFAULT_PROJECT, str(job.report_id)).document
        )
    assert report.spec == RUN.validate_python(document)
    assert [row.dataset for row in report.datasets] == [f"{x}:family/{x}" for x in FAMILY]
    assert [row.classes for row in report.datasets] == [10, 10, 3, 2, 10, 3]
    assert report.in_distribution == "imagenet"
    assert report.calibrator is not None


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
