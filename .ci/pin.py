"""Writes constraints.txt: the project's requirements and theirs, at the versions installed here.

Run with the environment's own Python: `.venv/bin/python .ci/pin.py > constraints.txt`. Names and
versions only: no hosts, no local version labels. The CUDA libraries are left out, since each build
of torch names its own.
"""

from __future__ import annotations

import importlib.metadata as metadata
import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LEFT_OUT = re.compile(r"nvidia-|cuda-|triton$|setuptools$")
# Only a benchmark compares with these libraries, and its results name their versions.
NOT_INSTALLED = "bench"
HEAD = "# The versions that the tests run with; written by .ci/pin.py."


def needed(requirement: Requirement) -> list[Requirement]:
    """What an installed distribution requires, with the extras that were asked for."""
    distribution = metadata.distribution(requirement.name)
    found = [Requirement(line) for line in distribution.requires or []]
    environments = [{"extra": extra} for extra in ("", *requirement.extras)]
    return [
        each for each in found if not each.marker or any(map(each.marker.evaluate, environments))
    ]


def main() -> None:
    """Walk the requirements from pyproject.toml on."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    kept = (extra for name, extra in extras.items() if name != NOT_INSTALLED)
    lines = [*project["dependencies"], *(line for extra in kept for line in extra)]
    waiting = [Requirement(line) for line in lines]
    seen: set[tuple[str, frozenset[str]]] = {(canonicalize_name(project["name"]), frozenset())}
    versions: dict[str, str] = {}
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        key = (name, frozenset(requirement.extras))
        if key in seen or name == project["name"]:
            continue
        seen.add(key)
        versions[name] = metadata.version(requirement.name).partition("+")[0]
        waiting += needed(requirement)
    pins = [f"{n}=={v}" for n, v in sorted(versions.items()) if not LEFT_OUT.match(n)]
    sys.stdout.write("\n".join([HEAD, *pins]) + "\n")


if __name__ == "__main__":
    main()
