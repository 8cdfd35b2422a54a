"""Reports as people see them."""

from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console

from cli.output import table
from cli.tables import compare, comparison_table, report_table


def report(accuracy: float, *, calibrated: bool = True) -> dict[str, Any]:
    def row(name: str, own: bool) -> dict[str, Any]:
        return {
            "name": name,
            "images": 100,
            "in_distribution": own,
            "raw": {"accuracy": accuracy, "ece": 0.123, "ece_null_mean": 0.02},
            "calibrated": {"ece": 0.045} if calibrated else None,
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


def test_a_report() -> None:
    text = shown(report_table(report(0.5)))
    assert "50.0 %" in text
    assert "0.123" in text
    assert "0.045" in text
    assert "[red]x[/red]" in text  # names are no markup


def test_a_report_without_a_calibrator() -> None:
    assert "0.045" not in shown(report_table(report(0.5, calibrated=False)))


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
    selection = "87.5 % 1.234 0.0110 0.022 0.0330"
    assert " ".join(first.split()) == f"α 0.5 {selection} 62.5 % 0.123 31.2 % 0.200"
    assert ("→" in first, "→" in second) == (False, True)
    assert text.index("[b]1[/b]") < text.index("test (ID)")


def test_candidates_of_which_only_the_chosen_one_was_measured() -> None:
    candidates = [
        candidate("step 10", 0.5, chosen=False, measured=False) | {"score": None},
        candidate("step 20", 0.5, chosen=True, measured=False),
    ]
    text = shown(report_table(report(0.5) | {"rule": None, "candidates": candidates}))
    assert "OOD" not in text
    line = next(line for line in text.splitlines() if "step 10" in line)
    assert " ".join(line.split()) == "step 10 87.5 % 1.234 0.0110 0.022 -"


def test_two_reports_side_by_side() -> None:
    rows = compare(report(0.5), report(0.75))
    assert [row["name"] for row in rows] == ["test", "[red]x[/red]", "OOD mean"]
    assert rows[0]["before"]["accuracy"] == 0.5
    assert rows[2]["after"] == {"accuracy": 0.75, "ece": 0.2, "calibrated_ece": 0.05}
    text = shown(comparison_table(rows))
    assert "75.0 %" in text
    assert "test (ID)" in text
