"""Jobs that take several checkpoints: what their trainer is given, and what becomes of results."""

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from carot.evaluation.reports import Report
from store.artifacts.bundles import pack
from store.artifacts.rows import commit
from store.datasets.datasets import create_dataset
from store.errors import NotFound
from store.jobs.states import JobState
from store.models.aliases import get_alias
from store.models.checkpoints import get_checkpoint
from store.reports.reports import get_report
from store.tables import DEFAULT_PROJECT, Checkpoint, Job
from tests.worker.conftest import Workshop
from tests.worker.stores import Counting
from worker.trainer_process import MAX_LINE

pytestmark = pytest.mark.slow

DIGITS = "builtin:digits"
# Makes the report of a finished fine-tuning one of the job's own kind.
RUN = """
import shutil
spec = json.loads((folder / "spec.json").read_text())
os.chdir(folder)
results()
report = json.loads(Path("report.json").read_text())
report["datasets"][1]["dataset"] = spec["evaluation"]["datasets"][0]["dataset"]
def candidate(chosen, **fields):
    return {"name": "x", "accuracy": 0.5, "nll": 1.0, "calibration_error": 0.1, "sigma_min": 0.1,
        "score": 1.0, "chosen": chosen, "datasets": report["datasets"]} | fields
def finish(**fields):
    report.update({"kind": spec["kind"], "spec": spec, "model": spec.get("model")}, **fields)
    Path("report.json").write_text(json.dumps(report))
def method(name):
    card = Path("checkpoint/classifier.json")
    card.write_text(json.dumps(json.loads(card.read_text()) | {"method": name}))
"""


def checkpoints(workshop: Workshop, count: int) -> list[dict[str, str]]:
    """Checkpoints as a spec names them."""
    made = [workshop.run(workshop.job(), "results()").checkpoint_id for _ in range(count)]
    return [{"checkpoint": str(identity)} for identity in made]


@pytest.fixture
def dataset(workshop: Workshop, tmp_path: Path) -> str:
    """An uploaded data set."""
    (tmp_path / "images/test/a").mkdir(parents=True)
    (tmp_path / "images/test/a/1.png").write_bytes(b"an image")
    stored = workshop.stored(pack(tmp_path / "images"))
    with workshop.database.session() as session:
        return create_dataset(
            session, DEFAULT_PROJECT,
            name="own", source={}, classes=["a"], splits={}, images=1, bytes=8,
            artifact=commit(session, workshop.artifacts, stored),
        ).id  # fmt: skip


def spec(kind: str, dataset: str, **fields: Any) -> dict[str, Any]:
    rows = [{"name": "own", "dataset": dataset}]
    return {"kind": kind, "dataset": DIGITS, "evaluation": {"datasets": rows}, **fields}


def report_of(workshop: Workshop, job: Job) -> tuple[str | None, dict[str, Any]]:
    """The report's checkpoint and document."""
    assert job.state == JobState.SUCCEEDED, workshop.events(job.id)[-1].message
    with workshop.database.reading() as session:
        row = get_report(session, DEFAULT_PROJECT, str(job.report_id))
    assert "models/" not in json.dumps(row.document)
    assert "folder:" not in json.dumps(row.document)
    assert row.document["spec"] == job.spec
    assert Report.model_validate(row.document).kind == job.kind
    return row.checkpoint_id, row.document


def test_a_selection_points_at_the_chosen_checkpoint(workshop: Workshop, dataset: str) -> None:
    models = checkpoints(workshop, 3)
    program = """
    shutil.rmtree("checkpoint")
    assert "model" not in spec
    for model in spec["models"]:
        assert model["checkpoint"] is None
        assert (Path(model["folder"]) / "classifier.json").exists()
    candidates = [candidate(i == 1, model=model) for i, model in enumerate(spec["models"])]
    finish(rule="bound", candidates=candidates)
    """
    job_id = workshop.queued(spec("select", dataset, models=models), "best")
    job = workshop.run(job_id, RUN + textwrap.dedent(program))
    assert job.checkpoint_id == models[1]["checkpoint"]
    checkpoint_id, document = report_of(workshop, job)
    assert checkpoint_id == models[1]["checkpoint"]
    assert document["model"] is None
    assert [each["model"] for each in document["candidates"]] == job.spec["models"]
    for rows in (document["datasets"], *(each["datasets"] for each in document["candidates"])):
        assert [row["dataset"] for row in rows] == [DIGITS, dataset]
    with workshop.database.reading() as session:
        assert get_alias(session, DEFAULT_PROJECT, "best").checkpoint_id == models[1]["checkpoint"]
        assert len(session.scalars(select(Checkpoint.id)).all()) == len(models)


def test_every_row_names_its_data_set_as_the_job_does(workshop: Workshop, dataset: str) -> None:
    """Also what the start was measured on, and things of other classes."""
    models = checkpoints(workshop, 2)
    program = """
    shutil.rmtree("checkpoint")
    candidates = [candidate(i == 1, model=model) for i, model in enumerate(spec["models"])]
    local = report["datasets"][1]["dataset"]
    figures = {"score": "confidence", "auroc": 0.9, "auroc_interval": None, "fpr95": 0.1,
        "fpr95_interval": [0.0, 0.5]}
    row = {"name": "x", "dataset": local, "split": "test", "classes": ["b"], "images": 3,
        "known_images": 4, "scores": [figures]}
    unseen = {"known": "test", "rows": [row], "chosen": None}
    finish(rule="bound", candidates=candidates, before=report["datasets"], unseen=unseen)
    """
    job = workshop.run(
        workshop.queued(spec("select", dataset, models=models), "best"),
        RUN + textwrap.dedent(program),
    )
    document = report_of(workshop, job)[1]
    assert [row["dataset"] for row in document["before"]] == [DIGITS, dataset]
    assert [row["dataset"] for row in document["unseen"]["rows"]] == [dataset]


def test_a_selection_that_chose_nothing_lists_nothing(workshop: Workshop, dataset: str) -> None:
    models = checkpoints(workshop, 2)
    program = """
    shutil.rmtree("checkpoint")
    finish(candidates=[candidate(False, model=model) for model in spec["models"]])
    """
    job_id = workshop.queued(spec("select", dataset, models=models), "best")
    job = workshop.run(job_id, RUN + textwrap.dedent(program))
    assert (job.state, job.report_id) == (JobState.QUEUED, None)
    with workshop.database.reading() as session, pytest.raises(NotFound):
        get_alias(session, DEFAULT_PROJECT, "best")


def test_an_interpolation_makes_a_checkpoint_and_a_long_report(
    workshop: Workshop, dataset: str
) -> None:
    [model] = checkpoints(workshop, 1)
    store = Counting(workshop.artifacts)
    workshop.artifacts = store
    program = f"""
    assert spec["model"] == spec["start"]
    assert (Path(spec["start"]["folder"]) / "classifier.json").exists()
    method("wise_ft")
    alphas = [n / 10 for n in range(11)]
    rows = report["datasets"] * ({MAX_LINE} // len(json.dumps(report["datasets"])) // 11 + 1)
    candidates = [candidate(a == 0.5, alpha=a, datasets=rows) for a in alphas]
    finish(rule="nll", candidates=candidates)
    """
    job_id = workshop.queued(spec("interpolate", dataset, model=model, start=model), "mixed")
    job = workshop.run(job_id, RUN + textwrap.dedent(program))
    checkpoint_id, document = report_of(workshop, job)
    assert job.method == "wise_ft"
    assert len(json.dumps(document)) > MAX_LINE
    assert document["model"] == job.spec["model"] == job.spec["start"]
    assert {each["model"] for each in document["candidates"]} == {None}
    assert checkpoint_id == job.checkpoint_id != model["checkpoint"]
    with workshop.database.reading() as session:
        made = get_checkpoint(session, DEFAULT_PROJECT, str(job.checkpoint_id))
        assert (made.method, made.job_id) == ("wise_ft", job.id)
        assert get_alias(session, DEFAULT_PROJECT, "mixed").checkpoint_id == made.id
        weights = get_checkpoint(session, DEFAULT_PROJECT, model["checkpoint"]).artifact.ref
    assert store.opened[weights] == 1


def test_a_merge_makes_a_checkpoint(workshop: Workshop, dataset: str) -> None:
    models = checkpoints(workshop, 3)
    program = """
    folders = [model["folder"] for model in spec["models"]]
    assert len(set(folders)) == 2
    assert spec["start"]["folder"] not in folders
    assert all((Path(folder) / "head.safetensors").exists() for folder in folders)
    method("model_stock")
    finish()
    """
    merge = {"method": {"name": "model_stock"}, "models": models[:2], "start": models[2]}
    job = workshop.run(
        workshop.queued(spec("merge", dataset, **merge)), RUN + textwrap.dedent(program)
    )
    checkpoint_id, document = report_of(workshop, job)
    assert document["model"] is None
    assert checkpoint_id == job.checkpoint_id not in [model["checkpoint"] for model in models]
    with workshop.database.reading() as session:
        assert get_checkpoint(session, DEFAULT_PROJECT, str(checkpoint_id)).method == "model_stock"


def test_every_attempt_gets_the_same_spec(workshop: Workshop, dataset: str) -> None:
    """A snapshot belongs to one spec."""
    job_id = workshop.queued(spec("select", dataset, models=checkpoints(workshop, 2)))
    for name in ("first", "second"):
        program = f'(folder.parent / "{name}").write_bytes((folder / "spec.json").read_bytes())'
        workshop.run(job_id, program + "\nos.abort()")
    scratch = workshop.settings.data_dir / "scratch"
    assert (scratch / "first").read_bytes() == (scratch / "second").read_bytes()


def test_a_checkpoint_that_is_gone_fails_the_job(workshop: Workshop, dataset: str) -> None:
    models = [*checkpoints(workshop, 1), {"checkpoint": "ckpt_" + "0" * 26}]
    job = workshop.run(workshop.queued(spec("select", dataset, models=models)), "results()")
    assert job.error is not None
    assert (job.state, job.error["code"]) == (JobState.FAILED, "not_found")
