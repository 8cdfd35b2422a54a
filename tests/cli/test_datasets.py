from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from cli.main import app


def test_a_table_alone_is_no_upload(tmp_path: Path) -> None:
    for name in ("labels.csv", "labels.CSV.GZ", "export.json"):
        path = tmp_path / name
        path.write_text("filepath,label\n")
        result = CliRunner().invoke(app, ["datasets", "push", str(path)], env={"COLUMNS": "200"})
        assert result.exit_code == 2
        assert "push the folder that holds it and them" in result.output
