"""Details and comparisons of what real runs leave: the figures are those of their reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from carot.calibration.metrics.comparing import METRICS
from carot.data.digits import handwritten_digits
from carot.events import Silent
from carot.run import execute
from carot.specs import EvaluateSpec
from tests.api.helpers import context_of
from tests.api.reports.stored_logits import add_report_with_logits
from tests.api.rows import add_checkpoint

pytestmark = pytest.mark.slow
FEW = ("four", "seven", "nine")
TEMPLATES = (["the digit {}"], ["{}"])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """carot-mini, zero-shot with two captions; measured with and without shift."""
    folders = []
    for templates in TEMPLATES:
        rows = [
            {"name": "test", "dataset": "builtin:digits", "in_distribution": True},
            {"name": "dark", "dataset": "builtin:digits", "shift": "inverted", "severity": 5},
        ]
        spec = EvaluateSpec.model_validate(
            {
                "model": {"architecture": "carot-mini"},
                "dataset": "builtin:digits",
                "prompts": {"templates": templates},
                "evaluation": {"datasets": rows},
            }
        )
        folders.append(tmp_path_factory.mktemp("run"))
        execute(spec, folders[-1], Silent())
    return folders


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Test images of a few digits, as a folder."""
    root = tmp_path_factory.mktemp("few")
    source = handwritten_digits("test")
    for name in FEW:
        folder = root / "test" / name
        folder.mkdir(parents=True)
        chosen = [i for i, c in enumerate(source.labels) if source.classes[c] == name]
        for i in chosen:
            source.image(i).save(folder / f"{i}.png")
    return root


@pytest.mark.parametrize("kind", ["vector", "domain_temperature"])
def test_figures_among_some_classes_and_in_domains(
    client: TestClient, few: Path, tmp_path: Path, kind: str
) -> None:
    """Calibrators that see more than the logits that were kept."""
    blurred = {"dataset": "builtin:digits", "shift": "blur", "severity": 5}
    scanned = {"name": "scanned", **blurred, "split": "calibration"}
    spec = EvaluateSpec.model_validate(
        {
            "model": {"architecture": "carot-mini"},
            "dataset": "builtin:digits",
            "calibration": {"calibrator": kind, "domains": [scanned]},
            "evaluation": {
                "datasets": [
                    {"name": "test", "dataset": "builtin:digits", "in_distribution": True},
                    {"name": "few", "dataset": f"folder:{few}", "restrict": True},
                    {"name": "blurred", **blurred, "domain": "scanned"},
                    {"name": "of no domain", **blurred},
                ]
            },
        }
    )
    execute(spec, tmp_path, Silent())
    document = json.loads((tmp_path / "report.json").read_text())
    context = context_of(client)
    checkpoint = add_checkpoint(context, b"weights")
    report = add_report_with_logits(context, checkpoint, document, tmp_path / "logits")
    for row in document["datasets"]:
        found = client.get(f"/reports/{report}/classes?dataset={row['name']}").json()
        assert found["confidence"] == "calibrated"
        named = FEW if row["name"] == "few" else document["classes"]
        assert sorted(each["name"] for each in found["data"]) == sorted(named)
        sure = sum(each["images"] * each["mean_confidence"] for each in found["data"])
        expected = row["calibrated"]["mean_confidence"]
        assert sure / row["images"] == pytest.approx(expected, abs=1e-6)
        assert abs(expected - row["raw"]["mean_confidence"]) > 1e-3


def test_the_figures_are_those_of_the_reports(client: TestClient, runs: list[Path]) -> None:
    context = context_of(client)
    documents: list[dict[str, Any]] = [json.loads((f / "report.json").read_text()) for f in runs]
    ids = [
        add_report_with_logits(
            context, add_checkpoint(context, b"weights"), document, folder / "logits"
        )
        for document, folder in zip(documents, runs, strict=True)
    ]
    for confidence in ("calibrated", "raw"):
        query = {"report": ids, "confidence": confidence}
        found = client.get("/comparisons", params=query).json()
        assert [each["name"] for each in found["datasets"]] == ["test", "dark"]
        for i, dataset in enumerate(found["datasets"]):
            first, second = (document["datasets"][i][confidence] for document in documents)
            for each, metric in zip(dataset["differences"], METRICS, strict=True):
                assert each["metric"] == metric
                assert each["value"] == pytest.approx(second[metric] - first[metric], abs=1e-9)
    for i, name in enumerate(("test", "dark")):
        row = documents[0]["datasets"][i]
        classes = client.get(f"/reports/{ids[0]}/classes?dataset={name}").json()
        assert [each["name"] for each in classes["data"]] == documents[0]["classes"]
        right = sum(each["images"] * each["accuracy"] for each in classes["data"])
        assert right == pytest.approx(row["images"] * row["calibrated"]["accuracy"])
        sure = sum(each["images"] * each["mean_confidence"] for each in classes["data"])
        assert sure == pytest.approx(row["images"] * row["calibrated"]["mean_confidence"])
        mistakes = client.get(f"/reports/{ids[0]}/mistakes?dataset={name}&limit=1").json()
        assert mistakes["mistakes"] == row["images"] - round(right)
        if mistakes["data"]:
            assert client.get(mistakes["data"][0]["picture"]).status_code == 200
