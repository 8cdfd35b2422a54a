"""`carot models architectures`: what a job can start from, and what each method does there."""

from __future__ import annotations

from dataclasses import asdict
from importlib.util import find_spec
from typing import Annotated

import typer

from carot.models.catalogue import family, pairs
from carot.models.families import treatments
from cli.options import AsJson
from cli.output import emit, err, out, table

NEEDS = "carot[hf]"


def architectures(
    containing: Annotated[str, typer.Argument(help="Part of a name, such as SigLIP.")] = "",
    method: Annotated[str, typer.Option(help="The method to tell of.")] = "carot",
    as_json: AsJson = False,
) -> None:
    """The architectures and weights that `model` takes, and what a method does with each."""
    found = [
        {"architecture": name, "pretrained": tag, **asdict(family(name))}
        | {"methods": treatments(family(name))}
        for name, tag in pairs()
        if containing.lower() in name.lower()
    ]
    if as_json:
        emit(found)
        return
    if found and method not in found[0]["methods"]:
        raise typer.BadParameter(f"one of {', '.join(found[0]['methods'])}", param_hint="--method")
    rows = [
        (
            each["architecture"],
            each["pretrained"],
            each["image_tower"],
            NEEDS if each["tokenizer"] or each["text_model"] else None,
            "yes" if each["batch_norm"] else None,
            each["methods"][method],
        )
        for each in found
    ]
    columns = ("architecture", "pretrained", "image tower", "needs", "batch norm", method)
    out.print(table(None, columns, rows))
    if find_spec("transformers") is None:
        err.print(f"{NEEDS} is not installed here: pip install '{NEEDS}'", markup=False)
