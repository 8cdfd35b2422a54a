"""The fashion benchmark: measures against brute force, claims, kinds, and a quick run of it all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from benchmarks.fashion import __main__ as command
from benchmarks.fashion import measures
from benchmarks.fashion.claims import claims_of
from benchmarks.fashion.derived import DERIVED
from benchmarks.fashion.measures import Measured, difference, estimate, measure
from benchmarks.fashion.plan import DEFAULT, MERGED, PAPER, ROWS
from benchmarks.fashion.report import TITLES
from benchmarks.fashion.suite import CALIBRATION, ID, KIND, OOD, VALIDATION, odd_one, severity_of
from carot.calibration.metrics.metrics import compute_metrics
from carot.data.fashion import FOLDER


def drawn(seed: int, sharpness: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Logits whose confidences are `sharpness` times as far from even as they should be."""
    generator = torch.Generator().manual_seed(seed)
    logits, labels = {}, {}
    for name in (VALIDATION, CALIBRATION, ID, *OOD):
        count = 300 if name == KIND else 900 if name == ID else 600
        true_NC = 2 * torch.randn((count, 10), generator=generator)
        probability_NC = true_NC.softmax(dim=1)
        labels[name] = torch.multinomial(probability_NC, 1, generator=generator)[:, 0]
        logits[name] = sharpness * true_NC
    return logits, labels


def test_figures_are_those_of_the_product_s_metrics() -> None:
    logits, labels = drawn(0, sharpness=2.0)
    found = measure(logits, labels)
    whole = {name: compute_metrics(logits[name], labels[name]) for name in (ID, *OOD)}
    for name, expected in whole.items():
        assert found.sets[name]["accuracy"] == pytest.approx(expected.accuracy)
        assert found.sets[name]["ece"] == pytest.approx(expected.ece)
        assert found.sets[name]["nll"] == pytest.approx(expected.nll)
        assert found.sets[name]["squared"] == pytest.approx(expected.debiased_squared)
        assert found.sets[name]["chance"] == pytest.approx(expected.ece_null_mean, rel=0.1)
    mean = np.mean([whole[name].ece - found.sets[name]["chance"] for name in OOD])
    assert found.figures["ood_excess_ece"] == pytest.approx(mean)
    assert found.temperature == pytest.approx(2.0, rel=0.15)
    # Twice too sure: what is left after the temperature is chance, and much was there before.
    assert found.figures["ood_excess_ece"] > 0.1
    assert abs(found.figures["ood_after_excess_ece"]) < 0.02


def test_a_resample_counts_images_as_if_they_were_there_so_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logits, labels = drawn(1, sharpness=1.5)
    measures._resamples.cache_clear()
    monkeypatch.setattr(measures, "RESAMPLES", 3)
    found = measure(logits, labels)
    counts_RN = measures._resamples(len(labels[ID]), False)
    measures._resamples.cache_clear()
    eces, accuracies = [], []
    for counts_N in counts_RN:
        chosen_N = np.repeat(np.arange(len(counts_N)), counts_N.astype(int))
        expected = compute_metrics(logits[ID][chosen_N], labels[ID][chosen_N])
        eces.append(expected.ece)
        accuracies.append(expected.accuracy)
    assert found.varied["id_excess_ece"] == pytest.approx(np.array(eces) - np.mean(eces))
    assert found.varied["id_accuracy"] == pytest.approx(np.array(accuracies) - np.mean(accuracies))


def fake(value: float, spread: float, figures: dict[str, float] | None = None) -> Measured:
    rng = np.random.default_rng(0)
    names = [f"{side}_{name}" for side in ("id", "ood") for name in measures.VARIED]
    varied = {name: spread * rng.standard_normal(measures.RESAMPLES) for name in names}
    varied = {name: each - each.mean() for name, each in varied.items()}
    return Measured({}, dict.fromkeys(names, value) | (figures or {}), varied, 1.0, {})


def test_seeds_alone_give_student_s_interval_and_images_alone_a_wider_one() -> None:
    values = [0.70, 0.72, 0.71, 0.74]
    alone = estimate([fake(value, 0.0) for value in values], "id_accuracy")
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (alone.mean - alone.half, alone.mean + alone.half) == pytest.approx((low, high))
    both = estimate([fake(value, 0.05) for value in values], "id_accuracy")
    images = estimate([fake(0.7, 0.05)], "id_accuracy")
    assert both.half > images.half > 0.09


def test_what_two_rows_share_of_the_images_does_not_blur_their_difference() -> None:
    ours, theirs = [fake(0.72, 0.05), fake(0.73, 0.05)], [fake(0.70, 0.05), fake(0.712, 0.05)]
    found = difference(ours, theirs, "ood_accuracy")
    assert found.mean == pytest.approx(0.019)
    assert found.half < 0.02
    assert difference(ours, theirs, "ood_accuracy", share=0.5).mean == pytest.approx(0.372)


def test_claims_hold_where_figures_say_so() -> None:
    def row(accuracy: float, error: float) -> list[Measured]:
        figures = {"ood_accuracy": accuracy, "id_accuracy": 0.9}
        figures |= {"ood_excess_ece": error, "ood_after_excess_ece": error, "id_excess_ece": 0.02}
        return [
            fake(0.5, 1e-4, {k: v + 1e-4 * seed for k, v in figures.items()}) for seed in range(5)
        ]

    table = {name: row(0.5, 0.20) for name in ROWS}
    table |= {PAPER: row(0.6, 0.10), DEFAULT: row(0.65, 0.079), "zero-shot": row(0.7, 0.01)}
    claims = {claim["id"]: claim for claim in claims_of({"P": table}, dict.fromkeys(table, "x"))}
    assert len(claims) == 15
    refused = {name for name, claim in claims.items() if not claim["holds"]}
    assert refused == {"3-merged"}
    table[MERGED] = row(0.66, 0.05)
    claims = {claim["id"]: claim for claim in claims_of({"P": table}, TITLES | {"zero-shot": "z"})}
    assert claims["3-merged"]["holds"]
    assert not claims["4-default"]["holds"]
    assert claims["4-default"]["better"] == [TITLES[MERGED]]
    table[DEFAULT] = row(0.65, 0.081)
    claims = {claim["id"]: claim for claim in claims_of({"P": table}, TITLES | {"zero-shot": "z"})}
    assert not claims["2-raw"]["holds"]


def test_the_kind_that_is_held_out_is_the_farthest_that_is_large_enough() -> None:
    centres = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [9.0, 9.0]])
    assert odd_one(centres, np.array([0.3, 0.3, 0.2, 0.2])) == 3
    assert odd_one(centres, np.array([0.4, 0.35, 0.2, 0.05])) != 3


def test_severities_are_spread_evenly_and_belong_to_a_picture() -> None:
    found = [severity_of(f"t10k-{index:05d}") for index in range(3000)]
    assert found == [severity_of(f"t10k-{index:05d}") for index in range(3000)]
    assert {severity: found.count(severity) > 900 for severity in (3, 4, 5)} == {
        3: True,
        4: True,
        5: True,
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not FOLDER.is_dir(), reason="dataset-fashion-mnist is not installed")
def test_a_quick_run_writes_everything_and_does_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, page = tmp_path / "fashion.json", tmp_path / "docs" / "results.md"
    arguments = ["--quick", "--workers", "2", "--runs", str(tmp_path / "runs"), "--rows",
                 "finetune", "lp-ft", "flyp", PAPER, DEFAULT, MERGED, "carot-lora",
                 "--out", str(out), "--page", str(page)]  # fmt: skip
    command.main(arguments)
    assert "claims:" in capsys.readouterr().out
    document = json.loads(out.read_text(encoding="utf-8"))
    assert document["quick"] is True
    assert set(document["rows"]) == {"P", "T", "N"}
    assert set(document["rows"]["P"]) == {
        "zero-shot", "finetune", "lp-ft", "flyp", PAPER, DEFAULT, MERGED, "carot-lora", *DERIVED,
    }  # fmt: skip
    for protocol in ("T", "N"):
        assert all(row["learning_rate"] != 1e-3 for row in document["rows"][protocol].values())
    text = page.read_text(encoding="utf-8")
    assert all(row["title"] in text for row in document["rows"]["P"].values())
    command.main(arguments)
    assert "-run-e" not in capsys.readouterr().out  # all were done
    again = json.loads(out.read_text(encoding="utf-8"))
    assert again["rows"] == document["rows"]
