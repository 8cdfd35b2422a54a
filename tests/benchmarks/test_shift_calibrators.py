"""Calibrators made for shift are compared on stored logits, and the verdicts are right."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from benchmarks import shift_calibrators
from benchmarks.provenance import RESULTS
from tests.carot.calibration.drawn_logits import drawn
from tests.paths import DOCS


def stored(folder: Path) -> None:
    """One run of a model that is right in distribution and four times too sharp under shift."""
    folder.mkdir(parents=True)
    for name, temperature in (("calibration", 1.0), ("test", 1.0), ("snow", 4.0)):
        logits, labels = drawn(1000, 5, temperature=temperature, seed=len(name))
        zero_shot = logits / temperature
        tensors = {"logits_NC": logits, "labels_N": labels, "zero_shot_NC": zero_shot}
        save_file(tensors, folder / f"{name}.safetensors")


def test_other_suites_are_measured_from_their_logits(tmp_path: Path) -> None:
    for run in ("a", "b"):
        stored(tmp_path / "cats" / run)
    out = tmp_path / "found.json"
    shift_calibrators.main(["--logits", str(tmp_path / "cats"), "--json", str(out)])
    document = json.loads(out.read_text(encoding="utf-8"))
    assert (document["suite"], list(document["runs"])) == ("cats", ["a", "b"])
    # The zero-shot logits are the calibrated ones here; a temperature of other images is not.
    verdicts = document["verdicts"]
    assert verdicts["zero_shot_confidence"] == verdicts["zero_shot_range_each"] == "helps"
    assert verdicts["temperature"] != "helps"
    assert set(verdicts) == {
        "temperature",
        "zero_shot_range_each",
        "zero_shot_range",
        "zero_shot_confidence",
    }
    # With zero-shot logits that are the right ones, the likelihood is that of these.
    logits, labels = drawn(1000, 5, temperature=4.0, seed=4)
    exact = float(torch.nn.functional.cross_entropy(logits / 4, labels))
    found = document["summary"]["zero_shot_range_each"]["ood_nll"]
    assert all(math.isclose(each, exact, rel_tol=1e-9) for each in found)


def test_a_folder_without_logits_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        shift_calibrators.main(["--logits", str(tmp_path)])
    assert "no RUN/calibration.safetensors" in capsys.readouterr().err


def test_the_page_has_the_table_of_the_results() -> None:
    stored_results = RESULTS / "shift_calibrators_digits.json"
    document = json.loads(stored_results.read_text(encoding="utf-8"))
    page = (DOCS / "calibration.md").read_text(encoding="utf-8")
    assert "\n".join(shift_calibrators.page_table(document)) in page
