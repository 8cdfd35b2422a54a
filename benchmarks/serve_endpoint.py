"""The bare loop behind one FastAPI route: no keys, no queue, no decoder of its own, no alias.

    python benchmarks/serve_endpoint.py DESCRIPTOR CHECKPOINT

Started by `serve.py`, which takes the time that it adds for the least that HTTP costs. Without
`from __future__ import annotations`: FastAPI reads them.
"""

import socket
import sys
from pathlib import Path
from typing import Annotated

import uvicorn
from fastapi import FastAPI, Form, UploadFile

from benchmarks.serve_contenders import Bare


def application(folder: Path) -> FastAPI:
    """Answers one image after the other, in the event loop."""
    bare = Bare(folder)
    app = FastAPI()

    @app.post("/predict")
    async def predict(images: list[UploadFile], model: Annotated[str, Form()]) -> list[int]:
        return bare.answer([await each.read() for each in images])

    return app


def main() -> None:
    """Serve until a signal comes."""
    listener = socket.socket(fileno=int(sys.argv[1]))
    # The same parser of HTTP as the service has.
    config = uvicorn.Config(
        application(Path(sys.argv[2])), http="h11", access_log=False, log_config=None
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
