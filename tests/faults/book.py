"""What was found, kept after every fault so that a run can go on where it stopped."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.faults.fault import Fault
from tests.faults.trial import Found


class Book:
    """Findings of one state of one tree, in a JSON file.

    Raises:
        SystemExit: the file tells of another state of a tree.
    """

    def __init__(self, path: Path, source: str) -> None:
        self.path = path
        self.found: dict[str, dict[str, Any]] = {}
        self.source = source
        if path.exists():
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept["source"] != source:
                raise SystemExit(f"{path} tells of other sources than these: name another file")
            self.found = kept["faults"]

    def has(self, fault: Fault) -> bool:
        """Whether a fault was tried, as it is defined now."""
        return self.found.get(fault.name, {}).get("definition") == definition(fault)

    def note(self, fault: Fault, found: Found) -> None:
        """Keep what came of a fault."""
        about = {"subject": fault.subject, "definition": definition(fault)}
        self.found[fault.name] = about | dataclasses.asdict(found)
        document = {"source": self.source, "faults": self.found}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".part")
        temporary.write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
        temporary.replace(self.path)

    def table(self, faults: Sequence[Fault]) -> str:
        """By subject how many were caught, then those that were not, and why."""
        known = [each for each in faults if self.has(each)]
        lines = [f"{'subject':16} {'faults':>6} {'caught':>6} {'CPU s':>6}"]
        for subject in [*dict.fromkeys(each.subject for each in known), ""]:
            rows = [self.found[f.name] for f in known if subject in ("", f.subject)]
            caught = Counter(row["verdict"] for row in rows)["caught"]
            seconds = sum(row["cpu_seconds"] for row in rows)
            lines.append(f"{subject or 'all':16} {len(rows):6} {caught:6} {seconds:6.0f}")
        for each in known:
            row = self.found[each.name]
            if row["verdict"] != "caught":
                lines.append(f"{row['verdict']}: {each.subject}, {each.name} {row['by']}".rstrip())
        return "\n".join(lines)


def definition(fault: Fault) -> str:
    """A hash of all that a fault says."""
    return hashlib.sha256(repr(fault).encode()).hexdigest()[:12]
