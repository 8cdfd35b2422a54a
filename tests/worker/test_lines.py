"""Events cross the pipe whatever they hold."""

import math
import subprocess
import sys
from typing import Any

import pytest

from carot.errors import TooManyUnreadable
from carot.events import EVENT, AnyEvent, EvaluationDone, Failed, Warning
from store.column_types import clean
from worker import child
from worker.relay import Relay
from worker.trainer_process import MAX_LINE

PROGRAM = """
import sys
from worker import child
from carot.events import Failed
word = sys.argv[1].encode("latin-1").decode("unicode_escape")
child.LineReporter(child.own_stdout()).report(Failed(error="DataError", message=word))
"""


@pytest.mark.parametrize("word", ["a\udcffb", "two\nlines\r", "\0", "日本 \u2028", '"\\'])
def test_odd_text_crosses_the_pipe(word: str) -> None:
    escaped = word.encode("unicode_escape").decode("latin-1")
    command = [sys.executable, "-c", PROGRAM, escaped]
    done = subprocess.run(command, capture_output=True, check=True)
    relay = Relay()
    for line in done.stdout.splitlines(keepends=True):
        relay.on_line(line)
    assert relay.failure is not None
    assert relay.failure.message == clean(word).replace("\ufffd", "\0")


@pytest.mark.parametrize(
    "event",
    [
        EvaluationDone(dataset="d", index=0, total=1, metrics={"ece": math.nan, "nll": math.inf}),
        Warning(code="other", message="", names=("a", "b")),
    ],
)
def test_numbers_that_are_none_cross_the_pipe(event: AnyEvent) -> None:
    class Out:
        line = ""

        def write(self, text: str) -> None:
            self.line += text

        def flush(self) -> None:
            pass

    out: Any = Out()
    child.LineReporter(out).report(event)
    assert repr(EVENT.validate_json(out.line)) == repr(event)


def test_a_failure_with_many_names_still_is_one_line_that_is_read() -> None:
    names = [f"{i}: " + "é" * 200 for i in range(100_000)]
    failure = child._failure(TooManyUnreadable("too many", names))
    assert isinstance(failure, Failed)
    assert failure.names == tuple(names[: child.MAX_NAMES])
    assert len(failure.model_dump_json().encode()) < MAX_LINE
