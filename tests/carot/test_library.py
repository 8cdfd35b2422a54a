"""`import carot`: its public names, what it loads, and that they do what they say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import carot
from carot import library
from carot.errors import SpecError
from carot.specs import PredictSpec
from tests.carot.tiny import save_tiny, write_images
from tests.paths import ROOT

PUBLIC = {
    "Answer", "Asked", "Calibrator", "CarotError", "Classifier", "ClipModel", "EvaluateSpec",
    "FinetuneSpec", "InterpolateSpec", "MergeSpec", "Metrics", "ModelSpec", "NotAnswered",
    "PredictSpec", "Predicted", "RunResult", "SelectSpec", "calibrator_from_json", "chance_level",
    "compute_metrics", "evaluate", "execute", "expected_calibration_error", "fit",
    "fit_calibration_evidence", "fit_conformal", "fit_domain_temperature",
    "fit_ensemble_temperature", "fit_isotonic", "fit_perturbed_temperature", "fit_risk",
    "fit_smoothed_temperature", "fit_temperature", "fit_top_versus_all", "fit_vector",
    "load_model", "parse_spec", "predict", "reliability", "smooth_ece", "top_label",
    "with_adapters",
}  # fmt: skip
SPLITS = {"train": 16, "validation": 4, "calibration": 12, "test": 12}


def test_these_are_the_public_names() -> None:
    assert set(carot.HOMES) == PUBLIC
    assert set(carot.LIBRARY) == set(library.__all__)
    assert set(dir(carot)) >= PUBLIC
    for name in PUBLIC:
        assert getattr(carot, name) is not None, name


def test_another_name_is_none() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        carot.nothing  # noqa: B018


@pytest.mark.slow
def test_what_needs_no_torch_is_found_without_it() -> None:
    program = (
        "import sys, carot; carot.parse_spec; carot.FinetuneSpec; carot.CarotError; "
        "assert 'torch' not in sys.modules; carot.fit; assert 'torch' in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


def test_a_model_is_loaded_by_name_or_folder(tmp_path: Path) -> None:
    assert carot.load_model("carot-mini", device="cpu").architecture == "carot-mini"
    assert carot.load_model(save_tiny(tmp_path / "tiny"), device="cpu").image_size[0] > 0
    with pytest.raises(SpecError, match="pretrained"):
        carot.load_model("ViT-B-16")


def test_a_document_becomes_a_spec() -> None:
    spec = carot.parse_spec({"model": {"architecture": "carot-mini"}, "dataset": "builtin:digits"})
    assert isinstance(spec, carot.FinetuneSpec)
    with pytest.raises(SpecError) as caught:
        carot.parse_spec({"model": {"architecture": "carot-mini"}, "dataset": 3})
    assert caught.value.field == "dataset"


def test_metrics_and_calibrators() -> None:
    generator = torch.Generator().manual_seed(0)
    logits_NC = 3 * torch.randn(500, 10, generator=generator)
    labels_N = torch.randint(10, (500,), generator=generator)
    calibrator = carot.fit_temperature(logits_NC, labels_N)
    before = carot.expected_calibration_error(logits_NC, labels_N)
    after = carot.compute_metrics(calibrator.log_probabilities(logits_NC), labels_N)
    assert after.ece < before
    confidence_N, _ = carot.top_label(logits_NC, labels_N)
    assert (
        carot.chance_level(confidence_N)[1]
        == carot.compute_metrics(logits_NC, labels_N).ece_null_p95
    )
    assert carot.calibrator_from_json(calibrator.to_json()) == calibrator


@pytest.mark.slow
def test_fit_evaluate_predict(tmp_path: Path) -> None:
    images = tmp_path / "images"
    for split, each in SPLITS.items():
        write_images(images / split, each=each)
    chosen = {
        "model": {"folder": str(save_tiny(tmp_path / "model"))},
        "dataset": f"folder:{images}",
    }
    training = {"epochs": 1, "batch_size": 8}
    document = {**chosen, "preset": "finetune", "training": training}
    start = carot.evaluate(document, tmp_path / "start")
    assert start.checkpoint is None
    with pytest.raises(SpecError, match="fine-tuning"):
        carot.fit(carot.parse_spec({"kind": "evaluate", **chosen}), tmp_path / "not")
    result = carot.fit(document, tmp_path / "run")
    assert result.checkpoint is not None
    assert json.loads(result.report_path.read_text("utf-8"))["datasets"][0]["in_distribution"]
    paths = sorted((images / "test").rglob("*.png"))[:3]
    answers = carot.predict(paths, result.checkpoint)
    again = carot.predict([Image.open(p, formats=["PNG"]) for p in paths], result.checkpoint)
    assert answers == again
    assert all(isinstance(each, carot.Answer) for each in answers)
    asked = PredictSpec(
        model={"folder": str(result.checkpoint)}, dataset=f"folder:{images}", split="test"
    )
    scored = carot.execute(asked, tmp_path / "scored")
    assert isinstance(scored, carot.Predicted)
