"""Memory does not grow with an artifact: stored, read, served, backed up, restored."""

from __future__ import annotations

import pytest

from benchmarks.artifacts import ACTS, in_a_process

MEBIBYTES = 64
ALLOWED = 48.0
"""MiB: several pieces of 4 MiB on their way at once, in server, client and database driver."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    ["folder", "fsspec", "sqlite", pytest.param("postgres", marks=pytest.mark.services)],
)
def test_an_artifact_of_any_size_takes_little_memory(
    kind: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgres_url") if kind == "postgres" else None
    found = in_a_process(kind, MEBIBYTES, url)
    assert set(found) == set(ACTS)
    growth = {act: figures["growth_mebibytes"] for act, figures in found.items()}
    assert max(growth.values()) < ALLOWED, growth
