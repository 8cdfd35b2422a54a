"""The project file, the pins and the licence agree with each other."""

from __future__ import annotations

import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PIN = re.compile(r"[a-z0-9][a-z0-9._-]*==[0-9][0-9A-Za-z.]*")


def pin_lines() -> list[str]:
    """The lines of constraints.txt that are no remarks."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def requirements(*left_out: str) -> list[Requirement]:
    """What the project requires, extras but some included, itself left out."""
    lines = [*PROJECT["dependencies"]]
    for name, extra in PROJECT["optional-dependencies"].items():
        lines += extra if name not in left_out else []
    found = [Requirement(line) for line in lines]
    return [each for each in found if canonicalize_name(each.name) != PROJECT["name"]]


def test_pins_are_names_and_versions_only() -> None:
    assert [line for line in pin_lines() if not PIN.fullmatch(line)] == []


def test_every_requirement_is_pinned_within_its_bounds() -> None:
    pins = {
        canonicalize_name(name): Version(version)
        for name, _, version in (line.partition("==") for line in pin_lines())
    }
    wrong = [
        str(each)
        for each in requirements("bench")  # which no test installs
        if canonicalize_name(each.name) not in pins
        or pins[canonicalize_name(each.name)] not in each.specifier
    ]
    assert wrong == []


def test_every_requirement_has_a_lower_bound() -> None:
    bare = [str(each) for each in requirements() if ">=" not in str(each.specifier)]
    assert bare == []


def test_licence_is_the_one_that_is_named() -> None:
    assert PROJECT["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_changelog_has_the_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[?([^\]\s]+)", text, re.MULTILINE)
    assert PROJECT["version"] in headings or "Unreleased" in headings


def test_continuous_integration_runs_make_test() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert script.read_text(encoding="utf-8").rstrip().endswith("exec make test")
