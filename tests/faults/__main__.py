"""`python -m tests.faults`: plants faults into a copy of a tree, one at a time, and runs the tests.

Shows what the tests are worth, and that a change of them or of the folders loses nothing: the same
list serves for both trees. The tree itself is left as it is. A run that was stopped goes on where
it was.

    python -m tests.faults --tree . --python .venv/bin/python --json before.json
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.faults.book import Book
from tests.faults.copies import copied
from tests.faults.fault import Fault, Sources
from tests.faults.planted import PLANTED
from tests.faults.trial import try_fault

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Try the faults that the file of findings does not have; 0 when all of the list are caught."""
    arguments = parser().parse_args()
    # An interrupt ends the tests under way and removes the copy; so does being told to stop.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    faults = chosen(arguments.only)
    python = Path(arguments.python).absolute()  # not resolved: it is a link in its environment
    with copied(arguments.tree) as copy:
        copy.check(python)
        book = Book(arguments.json, copy.source)
        sources = Sources(copy.root)
        passing: set[str] = set()
        for number, fault in enumerate(faults, start=1):
            if book.has(fault):
                continue
            found = try_fault(fault, copy, sources, python, passing)
            book.note(fault, found)
            print(
                f"{number:3}/{len(faults)} {found.verdict:8} {found.seconds:6.1f} s  "
                f"{fault.subject}, {fault.name}  {found.by}",
                flush=True,
            )
    print(book.table(faults))
    return 0 if all(book.found[each.name]["verdict"] == "caught" for each in faults) else 1


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    made = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument("--tree", type=Path, default=ROOT, help="whose copy is made (this one)")
    made.add_argument("--python", default=sys.executable, help="that has what the tests need")
    made.add_argument("--json", type=Path, required=True, help="findings; what it has is skipped")
    made.add_argument("--only", nargs="+", metavar="NAME", help="faults or subjects (all)")
    return made


def chosen(names: Sequence[str] | None) -> list[Fault]:
    """Those of the list that are named, by their own name or by that of their subject.

    Raises:
        SystemExit: there is none of such a name.
    """
    if names is None:
        return list(PLANTED)
    unknown = set(names) - {each.name for each in PLANTED} - {each.subject for each in PLANTED}
    if unknown:
        raise SystemExit(f"no fault or subject {', '.join(sorted(unknown))}")
    return [each for each in PLANTED if each.name in names or each.subject in names]


if __name__ == "__main__":
    sys.exit(main())
