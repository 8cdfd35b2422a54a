"""The benchmarks of correctness run, say what they promise, and would notice a difference."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from benchmarks import bound, bound_toy, ece_floor, parity
from benchmarks.bound_toy import Objective
from benchmarks.correlations import correlate, standardised
from benchmarks.provenance import revision, write_results
from tests.paths import ROOT


def run(path: Path, *arguments: str) -> str:
    """What a benchmark prints that is started as its docstring says."""
    # An installed checkout is on the path; tests may be another one than that.
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, path.relative_to(ROOT), *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


# Provenance


def test_results_say_where_they_come_from_and_name_no_machine(tmp_path: Path) -> None:
    write_results(tmp_path / "new" / "file.json", {"figure": 1.5})
    document = read(tmp_path / "new" / "file.json")
    assert list(document) == ["provenance", "figure"]
    said = document["provenance"]
    assert set(said) == {"machine", "versions", "commit", "dirty", "date"}
    assert set(said["machine"]) == {"cpu", "cores", "threads", "gpu"}
    assert set(said["versions"]) == {"python", "torch", "numpy", "open_clip"}
    assert said["versions"]["torch"] == torch.__version__
    assert str(ROOT) not in json.dumps(said)
    assert str(Path.home()) not in json.dumps(said)


def test_results_are_json_that_everybody_reads(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_results(tmp_path / "file.json", {"figure": float("nan")})
    assert not (tmp_path / "file.json").exists()


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert revision()["commit"] is None
    assert revision()["dirty"] is None


# Parity


@pytest.mark.slow
def test_parity_holds_and_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parity.main(["--quick", "--json", str(tmp_path / "parity.json")])
    assert "above 1e-6" not in capsys.readouterr().out
    document = read(tmp_path / "parity.json")
    assert document["within"] is True
    assert set(document["worst"]) == {"contrastive", "cross_norm", "orthogonality",
                                      "distillation", "total"}  # fmt: skip
    for row in document["worst"].values():
        assert max(row["value"], row["gradient"]) <= 1e-6
        assert max(row["value_float64"], row["gradient_float64"]) <= 1e-13
    assert [int(batch) for batch in document["by_batch"]["total"]] == list(parity.BATCHES)
    assert document["gap_of_110"] == {"released_is_finite": False, "ours": 0.0}


@pytest.mark.slow
def test_the_schedule_is_the_listed_one(tmp_path: Path) -> None:
    parity.main(["--quick", "--json", str(tmp_path / "parity.json")])
    schedule = read(tmp_path / "parity.json")["schedule"]
    assert schedule["updates"] == len(schedule["momentum"]) == 51
    assert schedule["largest_difference_from_listed"] < 6e-4
    assert schedule["largest_difference_from_formula"] < 1e-15
    for row in schedule["share_of_start_left"].values():
        assert row["computed"] == pytest.approx(row["listed"], rel=0.08)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "terms"),
    [
        ({"orthogonality_form": "squared"}, {"orthogonality", "total"}),
        ({"cross_norm_form": "squared"}, {"cross_norm", "total"}),
        ({"distillation_weight": 1.4}, {"total"}),
    ],
)
def test_parity_notices_another_loss(
    change: dict[str, Any], terms: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "RELEASED", parity.RELEASED.model_copy(update=change))
    model = parity.random_model(*parity.WIDTHS[0])
    case = next(parity.cases(parity.WIDTHS[0][0], 1, 0.0))
    ours, theirs, _ = parity.both(model, case, torch.float64)
    found = parity.differences(ours, theirs)
    assert {term for term, row in found.items() if row["gradient"] > 1e-3} == terms


# The floor of ECE averaged over batches


@pytest.fixture(scope="module")
def floors(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("floors")
    ece_floor.main(["--quick", "--json", f"{folder}/a.json", "--plot", f"{folder}/a.svg"])
    return read(folder / "a.json"), folder


@pytest.mark.slow
def test_floors_are_near_those_found_before(floors: tuple[dict[str, Any], Path]) -> None:
    document, _ = floors
    rows = {(row["predictor"], row["images"]): row["ece"] for row in document["floors"]}
    sure, unsure = rows["sure", 50_000], rows["unsure", 7_500]
    assert sure["512"]["mean"] == pytest.approx(0.033, abs=0.003)
    assert sure["256"]["mean"] == pytest.approx(0.046, abs=0.003)
    assert sure["1024"]["mean"] == pytest.approx(0.023, abs=0.003)
    assert sure["whole"]["mean"] == pytest.approx(0.005, abs=0.003)
    assert unsure["512"]["mean"] == pytest.approx(0.045, abs=0.004)
    assert unsure["whole"]["mean"] == pytest.approx(0.013, abs=0.005)
    bias = [row["batch_mean"]["mean"] - row["true"] for row in document["gaps"]]
    assert bias == sorted(bias, reverse=True)
    assert bias[0] > 0.028
    assert abs(bias[-1]) < 0.005


@pytest.mark.slow
def test_a_rerun_draws_the_same_bytes(floors: tuple[dict[str, Any], Path]) -> None:
    document, folder = floors
    said = run(ROOT / "benchmarks" / "ece_floor.py", "--quick",
               "--json", f"{folder}/b.json", "--plot", f"{folder}/b.svg")  # fmt: skip
    assert "perfectly calibrated" in said
    assert read(folder / "b.json")["floors"] == document["floors"]
    drawn = (folder / "a.svg").read_bytes()
    assert drawn == (folder / "b.svg").read_bytes()
    assert b"<svg" in drawn
    assert b"<dc:date>" not in drawn


def literal_ece(confidence: np.ndarray, correct: np.ndarray, bins: int) -> float:
    total = 0.0
    for index in range(bins):
        inside = (confidence > index / bins) & (confidence <= (index + 1) / bins)
        if inside.any():
            gap = abs(correct[inside].mean() - confidence[inside].mean())
            total += inside.sum() / len(confidence) * gap
    return float(total)


def test_floors_agree_with_a_literal_implementation() -> None:
    found = ece_floor.floor(ece_floor.UNSURE, 3000, 2)
    batches, whole = [], []
    for seed in range(2):
        confidence, correct = (t.numpy() for t in ece_floor.draw(ece_floor.UNSURE, 3000, seed))
        parts = [slice(start, start + 512) for start in range(0, 3000, 512)]
        weighted = [len(confidence[p]) * literal_ece(confidence[p], correct[p], 10) for p in parts]
        batches.append(sum(weighted) / 3000)
        whole.append(literal_ece(confidence, correct, 10))
    assert found["512"]["mean"] == pytest.approx(np.mean(batches), abs=1e-12)
    assert found["whole"]["mean"] == pytest.approx(np.mean(whole), abs=1e-12)
    assert found["whole"]["sd"] == pytest.approx(np.std(whole, ddof=1), abs=1e-12)


# The bound


@pytest.mark.slow
def test_correlations_of_the_toy_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    json_path, plot_path = tmp_path / "bound.json", tmp_path / "bound.svg"
    bound.main(["--quick", "--json", str(json_path), "--plot", str(plot_path)])
    said = capsys.readouterr().out
    toy = read(json_path)["toy"]
    assert toy["models"] == len(toy["rows"]) == 9
    assert {row["objective"] for row in toy["rows"]} == set(bound.OBJECTIVES)
    assert set(toy["correlations"]) == {"all", "repeat 0", "with OC", "strong OC",
                                        "without OC"}  # fmt: skip
    for outcome in bound.OUTCOMES:
        y = [row[outcome] for row in toy["rows"]]
        for term in ("inverse_sigma_min", "id_ece"):
            found = toy["correlations"]["all"][outcome][term]
            x = [row[term] for row in toy["rows"]]
            assert found["pearson"] == pytest.approx(stats.pearsonr(x, y).statistic)
            assert found["spearman"] == pytest.approx(stats.spearmanr(x, y).statistic)
            assert f"{found['pearson']:+.2f} [" in said
    for row in toy["rows"]:
        assert 0 < row["sigma_min"] < 1
        assert row["ood_error"] > row["id_error"] > bound_toy.FLIPS - 0.05
    assert plot_path.read_text(encoding="utf-8").startswith("<?xml")


def test_the_full_toy_has_111_models() -> None:
    assert bound_toy.FULL.repeats * len(bound_toy.FULL.objectives) == 111
    assert len(set(bound_toy.FULL.objectives)) == 37


def test_the_shift_takes_the_label_from_some_features_and_halves_others() -> None:
    test, shifted = bound_toy.draw(4000, torch.Generator().manual_seed(0))
    sign_N = 2 * test.labels_N - 1
    # Flips leave 1 - 2 x 0.15 of the mean.
    seen = [(sign_N[:, None] * s.features_NI).mean(dim=0) for s in (test, shifted)]
    parts = (slice(0, 400), slice(400, 800), slice(800, 1000))
    assert [float(seen[0][p].mean()) for p in parts] == pytest.approx([0.07, 0.07, 0], abs=0.005)
    assert [float(seen[1][p].mean()) for p in parts] == pytest.approx([0, 0.035, 0], abs=0.005)
    assert torch.equal(test.labels_N, shifted.labels_N)
    assert torch.equal(test.features_NI[:, 400:800] / 2, shifted.features_NI[:, 400:800])
    assert torch.equal(test.features_NI[:, 800:], shifted.features_NI[:, 800:])


def test_networks_side_by_side_are_networks() -> None:
    generator = torch.Generator().manual_seed(0)
    networks = bound_toy.Networks(3, generator)
    with torch.no_grad():
        for parameter in networks.parameters():
            parameter += 0.01 * torch.randn(parameter.shape, generator=generator)
    features_BI = torch.randn(5, 1000, generator=generator)
    seen_MBD, logits_MB = networks(features_BI)
    for model in range(3):
        weights = [parameter[model] for parameter in networks.parameters()]
        layers = [nn.Linear(1000, 128), nn.Linear(128, 64), nn.Linear(64, 1)]
        for layer, weight, bias in zip(layers, weights[::2], weights[1::2], strict=True):
            layer.load_state_dict({"weight": weight, "bias": bias})
        represent = nn.Sequential(layers[0], nn.ReLU(), layers[1])
        whole = nn.Sequential(represent, nn.ReLU(), layers[2])
        torch.testing.assert_close(seen_MBD[model], represent(features_BI), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            logits_MB[model], whole(features_BI).squeeze(1), rtol=1e-4, atol=1e-5
        )


def test_a_model_learns_the_same_beside_others() -> None:
    """Neither the constraint nor the teacher of one reaches the gradient of another."""
    samples, _ = bound_toy.draw(200, torch.Generator().manual_seed(1))
    teacher_N = torch.rand(200, generator=torch.Generator().manual_seed(2))
    objectives = (Objective(), Objective(orthogonality=0.1), Objective(distillation=4.0))
    together = bound_toy.train(objectives, samples, teacher_N, 2, torch.Generator().manual_seed(3))
    for index, objective in enumerate(objectives):
        alone = bound_toy.train((objective,), samples, teacher_N, 2,
                                torch.Generator().manual_seed(3))  # fmt: skip
        torch.testing.assert_close(
            together.second_MDH[index], alone.second_MDH[0], rtol=1e-3, atol=1e-5
        )
    weights_MDH = together.second_MDH.detach()
    apart = (weights_MDH[0] - weights_MDH[1:]).abs().amax(dim=(1, 2))
    assert float(apart.min()) > 1e-3


def test_correlations_agree_with_scipy_and_hold_their_own_intervals() -> None:
    generator = np.random.default_rng(0)
    x = np.round(generator.normal(size=40), 1)  # with ties
    y = x + generator.normal(size=40)
    found = correlate(x, y)
    assert found.pearson == pytest.approx(stats.pearsonr(x, y).statistic)
    assert found.spearman == pytest.approx(stats.spearmanr(x, y).statistic)
    for value, interval in ((found.pearson, found.pearson_interval),
                            (found.spearman, found.spearman_interval)):  # fmt: skip
        assert interval is not None
        low, high = interval
        assert -1 <= low < value < high <= 1
    other = stats.bootstrap((x, y), lambda a, b: stats.pearsonr(a, b).statistic, paired=True,
                            vectorized=False, n_resamples=2000, method="percentile",
                            rng=np.random.default_rng(1)).confidence_interval  # fmt: skip
    assert found.pearson_interval == pytest.approx((other.low, other.high), abs=0.05)


def test_correlations_that_are_not_defined_are_none() -> None:
    assert correlate([1.0, 2.0], [1.0, 2.0]).pearson is None
    assert correlate([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]).spearman is None
    assert standardised([2.0, 2.0]).tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="one length"):
        correlate([1.0, 2.0, 3.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="finite"):
        correlate([1.0, 2.0, float("inf")], [1.0, 2.0, 3.0])
