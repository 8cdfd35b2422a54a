"""The shift benchmark runs, resumes, and its statistics are right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmarks import bound, choosing, shift
from benchmarks.choosing import Checkpoint, checkpoints, picks
from benchmarks.provenance import RESULTS
from benchmarks.shift_derived import DERIVED
from benchmarks.shift_plan import ABLATION, DEFAULT, PAPER, TRAINED
from benchmarks.shift_report import PEERS, claims_of
from benchmarks.shift_tables import COLUMNS, Comparison, Mean, row_of
from carot.evaluation.selection import Judgement


def test_means_and_paired_tests_against_scipy() -> None:
    ours, theirs = [0.91, 0.93, 0.92, 0.95, 0.90], [0.90, 0.90, 0.91, 0.91, 0.89]
    mean = Mean.of(ours)
    low, high = stats.t.interval(0.95, 4, loc=np.mean(ours), scale=stats.sem(ours))
    assert (mean.mean - mean.half, mean.mean + mean.half) == pytest.approx((low, high))
    found = Comparison.of(ours, theirs)
    differences = np.subtract(ours, theirs)
    assert found.difference == pytest.approx(differences.mean())
    assert found.p == pytest.approx(stats.ttest_1samp(differences, 0.0).pvalue)
    assert found.holds(lower=False)
    assert not found.holds(lower=True)
    assert Comparison.of(ours, ours).p is None
    assert not Comparison.of([0.5], [0.4]).holds(lower=False)


def measured(accuracy: float, ece: float) -> dict[str, Any]:
    sets = {
        name: {
            "accuracy": accuracy,
            "ece": ece,
            "calibrated_ece": ece,
            "nll": 0.1,
            "ece_null_mean": 0.01,
        }
        for name in ("test", "inverted", "coloured", "noise", "rotation", "blur", "occlusion")
    }
    sets["printed"] = {
        "accuracy": 0.0,
        "ece": 1.0,
        "calibrated_ece": 1.0,
        "nll": 9.0,
        "ece_null_mean": 0.01,
    }
    judged = {"accuracy": accuracy, "nll": ece, "calibration_error": ece, "sigma_min": 0.5}
    return {"sets": sets, "sigma_min": 0.5, "calibration_error": ece, "share": 1.0,
            "validation": judged}  # fmt: skip


def test_both_averages_under_shift() -> None:
    row = row_of(measured(0.7, 0.1))
    assert row["id_accuracy"] == 0.7
    assert row["ood_handwritten_accuracy"] == pytest.approx(0.7)
    assert row["ood_accuracy"] == pytest.approx(6 * 0.7 / 7)
    assert row["ood_ece"] == pytest.approx((6 * 0.1 + 1.0) / 7)
    assert set(COLUMNS) <= set(row)


def test_claims_are_told_as_they_come_out() -> None:
    def seeds(accuracy: float, ece: float, title: str = "x") -> dict[str, Any]:
        runs = [[measured(accuracy + 0.001 * i * (-1) ** i, ece + 0.0001 * i)] for i in range(5)]
        return {"title": title, "seeds": runs}

    rows = {name: seeds(0.8, 0.20, name) for name in ("finetune", "lp-ft", "flyp")}
    rows |= {PAPER: seeds(0.85, 0.10), DEFAULT: seeds(0.90, 0.05)}
    claims = claims_of(rows)
    by_text = {claim["claim"]: claim["holds"] for claim in claims}
    assert len(by_text) == len(claims)
    of_peers = [by_text[text] for text in by_text if any(f"than {n} (" in text for n in PEERS)]
    assert len(of_peers) == 12
    # The runs differ by the same in every pair: no test is possible, and none is claimed.
    assert not any(of_peers)
    # Half the error in six sets of seven; the seventh has an error of 1 in either row.
    with_printed, without = [holds for text, holds in by_text.items() if "20 %" in text]
    assert (with_printed, without) == (False, True)
    [id_margin] = [holds for text, holds in by_text.items() if "0.5 points" in text]
    assert not id_margin  # the default is 5 points better


def candidate(share: float, nll: float, ood: float, sigma: float = 0.5) -> Checkpoint:
    figures = {"ood_accuracy": ood, "ood_ece": 1 - ood}
    return Checkpoint("m", 0, share, Judgement(0.9, nll, 0.0, sigma), figures)


def test_what_rules_pick() -> None:
    some = [candidate(0.5, 0.1, 0.6, sigma=0.1), candidate(1.0, 0.2, 0.8, sigma=0.4)]
    assert picks(some, "random", "ood_accuracy") == some
    assert picks(some, "last", "ood_accuracy") == [some[1]]
    assert picks(some, "nll", "ood_accuracy") == [some[0]]
    assert picks(some, "bound", "ood_accuracy") == [some[1]]
    assert picks(some, "accuracy", "ood_accuracy") == [some[1]]  # equal: the later
    assert picks(some, "oracle", "ood_ece") == [some[1]]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_quick_run_writes_everything_and_does_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, page = tmp_path / "shift.json", tmp_path / "docs" / "results.md"
    arguments = ["--quick", "--workers", "2", "--runs", str(tmp_path / "runs"),
                 "--out", str(out), "--page", str(page)]  # fmt: skip
    shift.main(arguments)
    printed = capsys.readouterr().out
    document = json.loads(out.read_text(encoding="utf-8"))
    assert document["quick"] is True
    assert set(document["rows"]) == {"zero-shot", *TRAINED, *ABLATION, *DERIVED}
    assert document["rows"][PAPER]["configuration"]["epochs"] == 1
    assert "claims:" in printed
    text = page.read_text(encoding="utf-8")
    assert "--quick" in text
    for row in document["rows"].values():
        assert row["title"] in text
    assert (page.parent / "img" / "shift_reliability.svg").exists()
    # A second call finds all runs done.
    shift.main([*arguments, "--workers", "1"])
    assert "/" not in capsys.readouterr().out.split("ID accuracy")[0]
    again = json.loads(out.read_text(encoding="utf-8"))
    assert again["rows"] == document["rows"]

    every = checkpoints(document)
    # Two seeds are measured half-way, too.
    assert len(every) == (2 + 2 + 1) * len(TRAINED | ABLATION)
    part = choosing.part_b(out)
    assert part["checkpoints"] == len(every)
    bound_out = tmp_path / "bound.json"
    bound_out.write_text((RESULTS / "bound.json").read_text(encoding="utf-8"), encoding="utf-8")
    bound.main(["--keep-toy", "--json", str(bound_out), "--plot", str(tmp_path / "b.svg"),
                "--shift", str(out), "--page", str(tmp_path / "bound.md")])  # fmt: skip
    assert "Choosing without" in (tmp_path / "bound.md").read_text(encoding="utf-8")
