"""An alias that moves between real checkpoints in a real API process, under load."""

from __future__ import annotations

import threading
from pathlib import Path

import httpx
import pytest

from store.artifacts.bundles import pack
from tests.acceptance.harness import digit_png
from tests.api.operations.test_drain import PATIENCE_SECONDS, Api, Start, context_on, start, until
from tests.api.predict.test_predict_real import CLASSES, folder, write_classifier
from tests.api.rows import add_checkpoint

__all__ = ["folder", "start"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
CLIENTS = 6
SCALE = 3.0


@pytest.fixture(scope="module")
def sharper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The classifier of `folder` with logits `SCALE` times as large."""
    return write_classifier(tmp_path_factory.mktemp("sharper") / "checkpoint", SCALE)


class Load:
    """Clients that ask for the alias without a pause; what each was told, in order."""

    def __init__(self, url: str) -> None:
        self.answers: list[tuple[str, float]] = []  # checkpoint, highest logit
        self.failures: list[str] = []
        self.begun: list[int] = [0] * CLIENTS
        self.done: list[int] = [0] * CLIENTS
        self._url = url
        self._image = digit_png("zero")
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(i,)) for i in range(CLIENTS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def turned_over(self) -> None:
        """Wait until every request that is under way now is answered, and one more of each."""
        wanted = [begun + 1 for begun in self.begun]
        until(lambda: all(d >= w for d, w in zip(self.done, wanted, strict=True)) or self.failures)

    def seen(self, since: int) -> set[str]:
        """Which checkpoints answered."""
        return {checkpoint for checkpoint, _ in self.answers[since:]}

    def _run(self, number: int) -> None:
        with httpx.Client(base_url=self._url, timeout=PATIENCE_SECONDS) as client:
            while not self._stop.is_set():
                self.begun[number] += 1
                try:
                    self._ask(client)
                except (httpx.HTTPError, KeyError, IndexError) as error:
                    self.failures.append(repr(error))
                self.done[number] += 1

    def _ask(self, client: httpx.Client) -> None:
        files = {"images": ("x.png", self._image)}
        answer = client.post("/predict", files=files, data={"model": "digits"})
        if answer.status_code != 200:
            self.failures.append(answer.text)
            return
        body = answer.json()
        self.answers.append((body["checkpoint"], body["predictions"][0]["top"][0]["logit"]))


def loaded(api: Api) -> int:
    """How many checkpoints the process has loaded."""
    text = httpx.get(f"{api.url}/metrics", timeout=PATIENCE_SECONDS).text
    name = 'carot_model_loads_total{outcome="ready"} '
    return int(sum(float(ln.removeprefix(name)) for ln in text.splitlines() if ln.startswith(name)))


def test_no_request_fails_while_a_real_alias_moves(
    start: Start, folder: Path, sharper: Path
) -> None:
    api = start(0.0, folder)
    context = context_on(api.settings)
    new = add_checkpoint(context, b"".join(pack(sharper)), CLASSES)
    context.database.close()
    with httpx.Client(base_url=api.url, timeout=PATIENCE_SECONDS) as client:
        old = client.get("/models/digits").json()["checkpoint_id"]
        with Load(api.url) as load:
            until(lambda: len(load.answers) >= 5 * CLIENTS or load.failures)
            assert load.seen(0) == {old}
            before = loaded(api)
            assert client.put("/models/digits", json={"checkpoint": new}).status_code == 200
            moved = len(load.answers)
            until(lambda: new in load.seen(moved) or load.failures)
            switched = next(i for i, (who, _) in enumerate(load.answers) if who == new)
            load.turned_over()  # what was under way may be of the old one
            settled = len(load.answers)
            until(lambda: len(load.answers) >= settled + 5 * CLIENTS or load.failures)
        assert loaded(api) == before + 1
    assert load.failures == []
    assert load.seen(0) == {old, new}
    assert load.seen(settled) == {new}
    # Nobody waited for the new model: while it was loaded, the old one gave more answers than the
    # one to each client that may have been under way.
    assert switched - moved > CLIENTS, (moved, switched)
    logits = {who: {round(z, 2) for it, z in load.answers if it == who} for who in (old, new)}
    [low], [high] = logits[old], logits[new]
    assert high == pytest.approx(SCALE * low, abs=0.05)  # each says who it is of, and it is true
