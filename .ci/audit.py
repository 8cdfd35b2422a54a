"""`make audit`: are there known weaknesses in what this project requires?

    python .ci/audit.py [PIP_AUDIT]

First holds constraints.txt and the lower bounds of pyproject.toml against .ci/advisories.toml,
which needs no network. Then has pip-audit, if its command is given, ask the advisory service about
constraints.txt, and says so when that was not to be had: pip-audit itself calls it success when it
could look up nothing. The exit status is 1 when there is a weakness.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
ONLY_OFFLINE = "the advisory service was not reached: ONLY the offline list was checked"


def advisories() -> list[dict[str, str]]:
    """The offline list."""
    text = (ROOT / ".ci" / "advisories.toml").read_text(encoding="utf-8")
    found: list[dict[str, str]] = tomllib.loads(text)["advisory"]
    return found


def pins() -> dict[str, Version]:
    """Package to version, from constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition("==") for line in lines if line and not line.startswith("#"))
    return {str(canonicalize_name(name)): Version(version) for name, _, version in pairs}


def floors() -> dict[str, Version]:
    """Package to the oldest version that pyproject.toml allows; extras included."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    lines = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        lines += extra
    found = {}
    for requirement in map(Requirement, lines):
        bounds = [Version(s.version) for s in requirement.specifier if s.operator == ">="]
        if bounds:
            found[str(canonicalize_name(requirement.name))] = max(bounds)
    return found


def weaknesses(versions: Mapping[str, Version], what: str) -> list[str]:
    """A line for each version that is older than the end of a weakness."""
    return [
        f"{each['package']} {versions[each['package']]} ({what}) < {each['fixed_in']}: "
        f"{each['id']}, {each['what']}"
        for each in advisories()
        if each["package"] in versions and versions[each["package"]] < Version(each["fixed_in"])
    ]


def ask(pip_audit: str) -> tuple[list[str], str]:
    """What the advisory service knows of constraints.txt, and how much it was asked."""
    command = [pip_audit, "--requirement", str(ROOT / "constraints.txt"), "--no-deps",
               "--disable-pip", "--progress-spinner", "off", "--format", "json"]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        document: dict[str, Any] = json.loads(done.stdout)
    except (OSError, json.JSONDecodeError):
        return [], ONLY_OFFLINE
    packages = document["dependencies"]
    skipped = [each["name"] for each in packages if "skip_reason" in each]
    if len(skipped) == len(packages):
        return [], ONLY_OFFLINE
    found = [
        f"{each['name']} {each['version']}: {weakness['id']}, "
        f"fixed in {', '.join(weakness['fix_versions']) or 'no version yet'}"
        for each in packages
        for weakness in each.get("vulns", [])
    ]
    asked = f"the advisory service was asked about {len(packages) - len(skipped)} packages"
    return found, asked + (f"; not about {', '.join(skipped)}" if skipped else "")


def main() -> int:
    """Check, print, and give the exit status."""
    found = weaknesses(pins(), "constraints.txt") + weaknesses(floors(), "lower bound")
    said = f"{len(advisories())} advisories of the offline list were checked"
    more, answer = ask(sys.argv[1]) if len(sys.argv) > 1 else ([], ONLY_OFFLINE)
    sys.stdout.write("\n".join([*found, *more, said, answer]) + "\n")
    return 1 if found or more else 0


if __name__ == "__main__":
    sys.exit(main())
