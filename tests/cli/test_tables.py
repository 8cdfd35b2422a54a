"""Reports as people see them."""

from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console

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


def shown(table: object) -> str:
    file = StringIO()
    Console(file=file, width=120).print(table)
    return file.getvalue()


def test_a_report() -> None:
    text = shown(report_table(report(0.5)))
    assert "50.0 %" in text
    assert "0.123" in text
    assert "0.045" in text
    assert "[red]x[/red]" in text  # names are no markup


def test_a_report_without_a_calibrator() -> None:
    assert "0.045" not in shown(report_table(report(0.5, calibrated=False)))


def test_two_reports_side_by_side() -> None:
    rows = compare(report(0.5), report(0.75))
    assert [row["name"] for row in rows] == ["test", "[red]x[/red]", "OOD mean"]
    assert rows[0]["before"]["accuracy"] == 0.5
    assert rows[2]["after"] == {"accuracy": 0.75, "ece": 0.2, "calibrated_ece": 0.05}
    text = shown(comparison_table(rows))
    assert "75.0 %" in text
    assert "test (ID)" in text
