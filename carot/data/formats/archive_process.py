"""`normalise` in a process of its own, with bounded memory and time.

`python -m carot.data.formats.archive_process PARENT MEMORY COPIES SOURCE BUNDLE ANSWER` is the
child: it writes the bundle, and as JSON its manifest or what is wrong.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carot.data.decoding.confinement import command, confine, environment
from carot.data.decoding.depth import Depth
from carot.data.decoding.images import load_formats
from carot.data.formats.archives import Manifest, normalise
from carot.data.formats.members import Limits
from carot.data.near_copies import NearCopy
from carot.errors import ClassMismatch, DataError, TooManyUnreadable
from carot.specs.base import OnCopies
from carot.warnings import CodedWarning

MODULE = "carot.data.formats.archive_process"
NAMES = 1000
"""Most names of unreadable images in an error."""
MAX_ANSWER = 64 << 20
TAR_OVERHEAD = 4 << 30
OPEN_FILES = 64


@dataclass(frozen=True)
class ApartLimits:
    """What checking one archive may take.

    Attributes:
        memory_bytes: address space of the child, besides what it starts with.
        seconds: wall time for the whole of it.
    """

    memory_bytes: int = 2 << 30
    seconds: float = 3600.0


class IngestFailure(Exception):
    """The child ended without an answer for which the archive is to blame."""


def normalise_apart(
    source: Path, bundle: Path, limits: ApartLimits, copies: OnCopies = "leave_out"
) -> Manifest:
    """As `carot.data.formats.archives.normalise`, in a child process.

    Args:
        bundle: written to; a file of the child's answer lies beside it for a while. What is there
            after an error is the caller's to remove.

    Raises:
        DataError: as for `normalise`, or checking takes too much memory or time, or crashes.
        OSError: the disk, such as one without space.
        IngestFailure: a fault of this program.
    """
    answer = bundle.with_name(f"{bundle.name}.json")
    numbers = (str(os.getpid()), str(limits.memory_bytes))
    try:
        done = subprocess.run(
            command(MODULE, *numbers, copies, str(source), str(bundle), str(answer)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=environment(),
            start_new_session=True,
            timeout=limits.seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _refused(f"checking it takes longer than {limits.seconds:g} seconds") from None
    if done.returncode < 0:
        raise _refused(f"it ends the process that checks it (signal {-done.returncode})")
    if done.returncode != 0 or not answer.is_file() or answer.stat().st_size > MAX_ANSWER:
        raise IngestFailure(f"the checking process ended with status {done.returncode}")
    document = json.loads(answer.read_bytes())
    answer.unlink()
    return _manifest(document)


def main() -> None:
    """The child."""
    parent, memory_bytes = map(int, sys.argv[1:3])
    copies: OnCopies = "refuse" if sys.argv[3] == "refuse" else "leave_out"
    source, bundle, answer = map(Path, sys.argv[4:])
    load_formats()
    confine(
        memory_bytes=memory_bytes,
        file_bytes=Limits().total_bytes + TAR_OVERHEAD,
        open_files=OPEN_FILES,
        parent=parent,
    )
    # Decoders in C write what they think of an image there: as much as its sender likes.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    answer.write_text(json.dumps(_answer(source, bundle, copies)), encoding="ascii")


def _answer(source: Path, bundle: Path, copies: OnCopies) -> dict[str, Any]:
    try:
        with bundle.open("wb") as file:
            return {"manifest": _document(normalise(source, file, copies=copies))}
    except DataError as error:
        names = error.names[:NAMES] if isinstance(error, TooManyUnreadable) else []
        return {
            "fault": type(error).__name__,
            "message": error.message,
            "field": error.field,
            "names": names,
        }
    except MemoryError:
        message = "checking it takes more memory than an archive may have"
        return {"fault": "DataError", "message": message, "field": "file"}
    except OSError as error:
        return {"errno": error.errno, "message": error.strerror}
    except Exception:  # noqa: BLE001 (the other side logs it)
        return {"failure": traceback.format_exc()[-4000:]}


def _document(manifest: Manifest) -> dict[str, Any]:
    warnings = [each.model_dump(mode="json") for each in manifest.warnings]
    return dataclasses.asdict(dataclasses.replace(manifest, warnings=())) | {"warnings": warnings}


def _manifest(document: dict[str, Any]) -> Manifest:
    if "errno" in document:
        raise OSError(document["errno"], document["message"])
    if "failure" in document:
        raise IngestFailure(document["failure"])
    if "fault" not in document:
        fields = document["manifest"]
        tuples = {name: tuple(fields[name]) for name in ("classes", "unreadable")}
        parsed: dict[str, Any] = {
            "warnings": tuple(CodedWarning(**each) for each in fields["warnings"]),
            "near_copies": tuple(NearCopy(**each) for each in fields["near_copies"]),
            "depth": Depth.of(fields["depth"]),
        }
        return Manifest(**(fields | tuples | parsed))
    message, field = document["message"], document["field"]
    if document["fault"] == TooManyUnreadable.__name__:
        error = TooManyUnreadable(message, document["names"])
        error.field = field
        raise error
    kind = ClassMismatch if document["fault"] == ClassMismatch.__name__ else DataError
    raise kind(message, field=field)


def _refused(message: str) -> DataError:
    return DataError(message, field="file")


if __name__ == "__main__":
    main()
