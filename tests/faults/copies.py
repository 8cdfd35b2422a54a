"""A copy of a tree in which faults are planted; the tree itself is only read."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.fault import Place

APART = ("tests/faults/", "docs/")
"""What changes nothing about whether a fault is noticed."""
PROBE = """
import subprocess, sys
import api, carot, cli, store, worker
for each in (api, carot, cli, store, worker):
    print(each.__file__)
sys.stdout.flush()
if len(sys.argv) == 1:
    subprocess.run([sys.executable, __file__, "again"], check=True)
"""


class Copy:
    """The files of a tree that git knows or would take, and a folder beside them for what is made.

    Attributes:
        source: hash of the product and its tests, which results belong to.
    """

    def __init__(self, tree: Path, folder: Path) -> None:
        self.root = folder / "tree"
        self.beside = folder / "beside"
        self.beside.mkdir()
        digest = hashlib.sha256()
        for name in _listed(tree):
            target = self.root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(tree / name, target)
            if not name.startswith(APART):
                digest.update(f"{name}\0".encode() + target.read_bytes())
        self.source = digest.hexdigest()[:16]
        shutil.copy(Path(__file__).with_name("watcher.py"), self.beside / "faults_watcher.py")

    @contextmanager
    def planted(self, place: Place) -> Iterator[None]:
        """A fault stands in the copy for a while."""
        self._write(place.path, place.after)
        try:
            yield
        finally:
            self._write(place.path, place.before)

    def environment(self) -> dict[str, str]:
        """In which every Python, children as well, imports the copy before anything installed."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("CAROT_", "PYTEST_"))}
        path = os.pathsep.join((str(self.root), str(self.beside)))
        return kept | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "FAULTS_SAID": str(self.said)}

    @property
    def said(self) -> Path:
        """What the last run of tests said."""
        return self.beside / "said.json"

    def check(self, python: Path) -> None:
        """Make sure that a Python started anywhere, and its child, import the copy.

        Raises:
            RuntimeError: they import something else.
        """
        program = self.beside / "probe.py"
        program.write_text(PROBE, encoding="utf-8")
        done = subprocess.run(
            [str(python), str(program)],
            cwd="/", env=self.environment(), capture_output=True, text=True, check=True,
        )  # fmt: skip
        files = done.stdout.split()
        if len(files) != 10 or not all(Path(file).is_relative_to(self.root) for file in files):
            raise RuntimeError(f"not the copy is imported: {done.stdout}")

    def _write(self, name: str, text: str) -> None:
        path = self.root / name
        path.write_text(text, encoding="utf-8")
        # Compiled files are told apart by the second of the change and the size alone.
        shutil.rmtree(path.parent / "__pycache__", ignore_errors=True)
        shutil.rmtree(self.root / ".hypothesis", ignore_errors=True)


@contextmanager
def copied(tree: Path) -> Iterator[Copy]:
    """A copy that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="carot-faults-") as name:
        yield Copy(tree.resolve(), Path(name).resolve())


def _listed(tree: Path) -> list[str]:
    command = ["git", "-C", str(tree), "ls-files", "-z", "-co", "--exclude-standard"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    names = sorted(set(filter(None, done.stdout.split("\0"))))
    return [name for name in names if (tree / name).is_file()]
