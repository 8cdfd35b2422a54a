"""What a run says while it goes on, here and from the service."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.progress import Progress
from typer.testing import CliRunner

import cli.progress
from carot.events import ValidationMeasured, in_words
from cli.main import app
from cli.output import out
from cli.progress import BarReporter, _draw

LOOK = ValidationMeasured(step=40, images=9, accuracy=0.912, nll=0.31, ece=0.0412)
WORDS = "step 40: accuracy 91.2 %, NLL 0.310, ECE 4.1 %"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    written = io.StringIO()
    monkeypatch.setattr(cli.progress, "err", Console(file=written, width=200))
    return written


def test_a_look_at_the_validation_split_is_a_line(said: io.StringIO) -> None:
    assert in_words(LOOK) == WORDS
    progress = Progress(console=Console(file=io.StringIO()))
    BarReporter(progress).report(LOOK)
    task = progress.add_task("pets", total=None, note="")
    item = {"event": "validation_measured", "data": {"message": WORDS}}
    _draw(progress, task, "pets", item)
    assert said.getvalue().splitlines() == [f"validation, {WORDS}", f"pets: validation, {WORDS}"]


def test_architectures_are_listed_with_what_a_method_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(out, "width", 200)
    shown = CliRunner().invoke(app, ["models", "architectures", "siglip", "--method", "tracer"])
    assert shown.exit_code == 0
    [line] = [each for each in shown.output.splitlines() if "ViT-B-16-SigLIP " in each]
    assert "carot[hf]" in line
    assert "without orthogonality and cross_norm" in line
    assert "RN50" not in shown.output
    unknown = CliRunner().invoke(app, ["models", "architectures", "--method", "carrot"])
    assert unknown.exit_code == 2
