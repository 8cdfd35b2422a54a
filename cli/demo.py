"""`carot demo`: a run and a prediction on this machine, over REST as any client would."""

from __future__ import annotations

import io
import time
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from cli.client import Client, Document, ServiceError
from cli.embedded import Embedded
from cli.options import AsJson, DataDir
from cli.output import bars, duration, emit, err, out


def demo(
    data_dir: DataDir = Path(".carot/demo"),
    keep: Annotated[
        bool, typer.Option("--keep", "--up", help="Leave the service running afterwards.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fine-tune on handwritten digits with CaRot, and compare with the start, under shift."""
    started = time.monotonic()
    with err.status("starting the service"):
        service = Embedded(data_dir, port=0, private=True)
        service.__enter__()
    try:
        err.print(f"the service listens at {service.url}, its data are in {service.data_dir}")
        with Client(service.url) as client:
            result = _run(client)
        result["seconds"] = round(time.monotonic() - started, 1)
        if as_json:
            emit(result)
        else:
            _show(result)
        if keep:
            where = f"still listening at [bold]{service.url}[/]; Ctrl-C stops it"
            service.wait(lambda: out.print(where))
    finally:
        with err.status("stopping the service"):
            service.stop()


def _run(client: Client) -> dict[str, Any]:
    from cli.tables import with_start

    recipe = yaml.safe_load(files("cli").joinpath("demo.yaml").read_text(encoding="utf-8"))
    job = client.post("/jobs", recipe)
    with bars() as progress:
        job = _finished(client, job, progress)
    report = client.get(f"/reports/{job['report_id']}")["document"]
    name, image = _digit()
    prediction = client.predict([(name, image)], model=recipe["alias"], top_k=3)
    return {
        "url": client.url,
        "job": job["id"],
        "checkpoint": job["checkpoint_id"],
        "rows": with_start(report),
        "prediction": prediction,
        "report": report,
    }


def _finished(client: Client, job: Document, progress: Any) -> Document:
    from cli.progress import watch

    ended = watch(client, job["id"], job["name"], progress)
    if ended["state"] != "succeeded":
        raise ServiceError(f"the job {job['name']} {ended['state']}")
    return ended


def _digit() -> tuple[str, bytes]:
    """A real handwritten digit that no training has seen, as PNG."""
    from carot.data.digits import handwritten_digits

    source = handwritten_digits("test")
    file = io.BytesIO()
    source.image(0).save(file, "PNG")
    return f"a handwritten {source.classes[source.labels[0]]}", file.getvalue()


def _show(result: dict[str, Any]) -> None:
    from cli.tables import comparison_table

    out.print()
    out.print(comparison_table(result["rows"]))
    prediction = result["prediction"]
    image = prediction["predictions"][0]
    guesses = ", ".join(f"{g['label']} {g['confidence']:.1%}" for g in image["top"])
    out.print(f"\n/predict, sent {image['name']}: [bold]{guesses}[/]", highlight=False)
    out.print(
        f"calibrated with temperature {prediction['temperature']:.3f}, "
        f"raw confidence {image['top'][0]['raw_confidence']:.1%}, "
        f"checkpoint {prediction['checkpoint']}, {prediction['milliseconds']:.0f} ms",
        highlight=False,
    )
    out.print(f"total time {duration(result['seconds'])}", highlight=False)
