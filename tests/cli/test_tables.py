"""Reports as people see them."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from cli import output
from cli.output import table, warn
from cli.tables import comparison_table, report_table, with_start


def report(accuracy: float, *, calibrated: bool = True) -> dict[str, Any]:
    def row(name: str, own: bool) -> dict[str, Any]:
        return {
            "name": name,
            "images": 100,
            "in_distribution": own,
            "raw": {
                "accuracy": accuracy,
                "ece": 0.123,
                "ece_null_mean": 0.02,
                "ece_null_p95": 0.0567,
            },
            "calibrated": {"ece": 0.045, "ece_null_p95": 0.0312} if calibrated else None,
            "sigma_min": 0.01,
        }

    mean = {"accuracy": accuracy, "ece": 0.2, "sigma_min": 0.01}
    return {
        "method": "carot",
        "architecture": "carot-mini",
        "dataset": "builtin:digits",
        "datasets": [row("test", True), row("[red]x[/red]", False)],
        "ood_mean": mean | {"calibrated_ece": 0.05 if calibrated else None},
    }


def shown(what: object) -> str:
    file = StringIO()
    Console(file=file, width=120).print(what)
    return file.getvalue()


def test_columns_without_a_name() -> None:
    assert shown(table(None, ("", ""), [("state", None)])).split() == ["state", "-"]


def test_the_first_column_of_identifiers_is_never_cut() -> None:
    job, data = f"job_{'0' * 26}", f"ds_{'1' * 26}"
    made = table(
        None,
        ("id", "name", "state", ">warnings", "method", "data set"),
        [(None, "none", "queued", None, "carot", data), (job, "one", "failed", 1, "carot", data)],
    )
    file = StringIO()
    Console(file=file, width=70).print(made)
    assert job in file.getvalue()
    assert "failed" in file.getvalue()
    assert data not in file.getvalue(), "the rest shares what is left"


@pytest.mark.parametrize("message", ["one found", "one found."])
def test_a_warning_is_two_sentences(message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = StringIO()
    monkeypatch.setattr(output, "err", Console(file=file, width=120))
    warn([{"message": message, "action": "Look at it."}, {"message": "two found", "action": ""}])
    assert file.getvalue() == "warning: one found. Look at it.\nwarning: two found\n"


def test_a_report() -> None:
    text = shown(report_table(report(0.5)))
    assert "50.0 %" in text
    assert "12.30 %" in text
    assert "4.50 %" in text
    assert "3.12 %" in text, "the chance level of the confidences that are served"
    assert "2.00 %" not in text
    assert "unweighted mean over the shifted data sets" in text
    assert "[red]x[/red]" in text  # names are no markup


def test_a_report_without_a_calibrator() -> None:
    text = shown(report_table(report(0.5, calibrated=False)))
    assert "4.50 %" not in text
    assert "5.67 %" in text


def candidate(name: str, accuracy: float, *, chosen: bool, measured: bool) -> dict[str, Any]:
    inner = report(accuracy)
    return {
        "name": name,
        "accuracy": 0.875,
        "nll": 1.234,
        "calibration_error": 0.011,
        "sigma_min": 0.022,
        "score": 0.033,
        "chosen": chosen,
        "datasets": inner["datasets"] if measured else [],
        "ood_mean": inner["ood_mean"] | {"accuracy": accuracy / 2} if measured else None,
    }


def test_candidates_stand_above_the_chosen_one() -> None:
    candidates = [
        candidate("α 0.5", 0.625, chosen=False, measured=True),
        candidate("[b]1[/b]", 0.75, chosen=True, measured=True),
    ]
    text = shown(report_table(report(0.75) | {"rule": "nll", "candidates": candidates}))
    lines = text.splitlines()
    assert "nll" in lines[0]
    first, second = (next(x for x in lines if name in x) for name in ("α 0.5", "[b]1[/b]"))
    selection = "87.5 % 1.234 10.49 % 0.022 0.0330"
    assert " ".join(first.split()) == f"α 0.5 {selection} 62.5 % 12.30 % 31.2 % 20.00 %"
    assert ("→" in first, "→" in second) == (False, True)
    assert text.index("[b]1[/b]") < text.index("test (ID)")


def test_candidates_of_which_only_the_chosen_one_was_measured() -> None:
    candidates = [
        candidate("step 10", 0.5, chosen=False, measured=False) | {"score": None},
        candidate("step 20", 0.5, chosen=True, measured=False),
    ]
    text = shown(report_table(report(0.5) | {"rule": None, "candidates": candidates}))
    assert "OOD" not in text[: text.index("carot · ")]
    line = next(line for line in text.splitlines() if "step 10" in line)
    assert " ".join(line.split()) == "step 10 87.5 % 1.234 10.49 % 0.022 -"


def started(accuracy: float, start: float) -> dict[str, Any]:
    """A report with the figures of the model that it started from."""
    before = report(start)
    more = {"before": before["datasets"], "before_ood_mean": before["ood_mean"]}
    return report(accuracy) | more


def test_a_report_with_its_start() -> None:
    text = shown(report_table(started(0.75, 0.5)))
    line = next(line for line in text.splitlines() if "test (ID)" in line)
    assert " ".join(line.split()).startswith("test (ID) 100 50.0 % 75.0 %")


def test_the_start_side_by_side() -> None:
    rows = with_start(started(0.75, 0.5))
    assert [row["name"] for row in rows] == ["test", "[red]x[/red]", "OOD mean"]
    assert rows[0]["before"]["accuracy"] == 0.5
    assert rows[2]["after"] == {"accuracy": 0.75, "ece": 0.2, "calibrated_ece": 0.05}
    text = shown(comparison_table(rows))
    assert "75.0 %" in text
    assert "test (ID)" in text
    assert "3.12 %" in text
    assert "chance level: 95th percentile" in text
    assert (rows[0]["ece_null"], rows[0]["ece_null_p95"]) == (0.02, 0.0312)


KINDS = ("temperature", "top_versus_all")


def with_calibrators() -> dict[str, Any]:
    """A report of today: the second calibrator hurts under shift, a coverage cannot be had."""
    document = report(0.5)
    for row, nll in zip(document["datasets"], (0.4, 0.8), strict=True):
        row["raw"]["nll"] = 0.5
        row["calibrators"] = [
            {"kind": KINDS[0], "metrics": {"ece": 0.045, "nll": 0.3}},
            {"kind": KINDS[1], "metrics": {"ece": 0.067, "nll": nll}},
        ]
        row["sets"] = [
            {
                "method": "raps",
                "asked": 0.9,
                "measured": {"coverage": 0.912, "mean_size": 1.25},
                "reason": None,
            },
            {"method": "raps", "asked": 0.99, "measured": None, "reason": "[b]too[/b] few"},
        ]
        row["sets"] += [each | {"method": "aps"} for each in row["sets"]]
        row["sets"].append(row["sets"][0] | {"method": "lac"})
        row["risks"] = [
            {"max_risk": 0.05, "accepted_share": 0.75, "risk": 0.0333, "reason": None},
            {"max_risk": 0.01, "accepted_share": None, "risk": None, "reason": "none proved"},
        ]
        own = row["in_distribution"]
        row["shift_score"] = {"auroc": None if own else 0.953, "beyond": 0.011}
    document["calibrator"] = {"kind": KINDS[0]}
    mean = document["ood_mean"] | {"nll": 0.5}
    mean["calibrators"] = [
        {"kind": KINDS[0], "ece": 0.05, "nll": 0.31},
        {"kind": KINDS[1], "ece": 0.06, "nll": 0.62},
    ]
    return document | {"ood_mean": mean}


def test_every_calibrator_stands_beside_the_raw_confidence_and_says_where_it_hurts() -> None:
    text = shown(report_table(with_calibrators()))
    tail = text[text.index("ECE by calibrator") :]
    assert "(served)" in tail
    lines = [" ".join(line.split()) for line in tail.splitlines()]
    assert "test (ID) 12.30 % 4.50 % 6.70 %" in lines
    assert "[red]x[/red] 12.30 % 4.50 % 6.70 %!" in lines
    assert "OOD mean 20.00 % 5.00 % 6.00 %!" in lines
    assert "OOD mean NLL 0.500 0.310 0.620" in lines


def test_sets_risks_and_shift_have_tables() -> None:
    text = shown(report_table(with_calibrators()))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "test (ID) all 91.2 % 1.25 -" in lines
    assert lines.count("[b]too[/b] few") == 1
    assert "[red]x[/red] 75.0 % 3.3 % - - 0.953 1.1 %" in lines
    assert "test (ID) 75.0 % 3.3 % - - - 1.1 %" in lines
    assert "none proved" in lines


def test_a_report_says_that_adapters_were_trained() -> None:
    assert "LoRA" not in shown(report_table(report(0.5) | {"adapters": None}))
    assert "carot with LoRA of rank 4 · carot-mini" in shown(
        report_table(report(0.5) | {"adapters": {"kind": "lora", "rank": 4}})
    )


def test_methods_whose_sets_differ_have_lines_of_their_own() -> None:
    document = with_calibrators()
    document["datasets"][0]["sets"][0]["measured"] = {"coverage": 0.95, "mean_size": 2.0}
    lines = [" ".join(line.split()) for line in shown(report_table(document)).splitlines()]
    place = lines.index("test (ID) raps 95.0 % 2.00 -")
    assert lines[place + 1] == "aps, lac 91.2 % 1.25 -"


def test_unseen_classes_have_a_table() -> None:
    row = {
        "name": "[b]other[/b]",
        "images": 56,
        "known_images": 215,
        "scores": [
            {"score": "confidence", "auroc": 0.98912, "auroc_interval": [0.975, 0.9951],
             "fpr95": 0.0536, "fpr95_interval": [0.0, 0.1786]},
            {"score": "shift", "auroc": 1.0, "auroc_interval": None,
             "fpr95": 0.0, "fpr95_interval": [0.0, 0.0642]},
        ],
        "abstained": 0.982,
        "known_abstained": 0.0512,
    }  # fmt: skip
    found = {"known": "test", "chosen": "shift", "rows": [row]}
    text = shown(report_table(report(0.5) | {"unseen": found}))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    first = "[b]other[/b] 56 confidence 0.989 (0.975–0.995) 5.4 % (0.0 %–17.9 %)"
    assert first in lines
    assert "shift (served) 1.000 0.0 % (0.0 %–6.4 %)" in lines
    whole = " ".join(lines)
    assert "against 215 images of test" in whole
    assert "[b]other[/b]: /predict abstains from 98.2 % of them, and from 5.1 % of test" in whole


def test_an_old_report_has_no_such_tables() -> None:
    text = shown(report_table(report(0.5)))
    for title in (
        "ECE by calibrator",
        "Prediction sets",
        "Accepted answers",
        "None of the classes",
    ):
        assert title not in text
