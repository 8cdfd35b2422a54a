"""`carot presets`: method and training constants by one word."""

from __future__ import annotations

from typing import Annotated

import typer
import yaml

from carot.specs import preset, preset_names
from cli.options import AsJson
from cli.output import emit, out, table

app = typer.Typer(help="Recipes for `train` and `jobs submit`.", no_args_is_help=True)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """The presets, by name."""
    presets = [{"name": name, **preset(name)} for name in preset_names()]
    if as_json:
        emit(presets)
        return
    rows = [(p["name"], p.get("method", {}).get("name"), p["description"]) for p in presets]
    out.print(table(None, ("name", "method", "description"), rows))


@app.command()
def show(name: Annotated[str, typer.Argument(metavar="PRESET")], as_json: AsJson = False) -> None:
    """One preset, as a spec file would have it."""
    document = {"name": name, **preset(name)}
    if as_json:
        emit(document)
        return
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    out.print(text, end="", markup=False, highlight=False, soft_wrap=True)
