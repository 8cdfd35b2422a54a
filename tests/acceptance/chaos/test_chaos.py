"""Every fault over a small batch. `benchmarks/chaos.py` runs each alone, over 30 jobs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.chaos import material as materials
from tests.acceptance.chaos.faults import Everything
from tests.acceptance.chaos.trial import Row, exhaust, run
from tests.acceptance.chaos.world import FEW_ATTEMPTS, Deployed, Embedded, World

pytestmark = [pytest.mark.acceptance, pytest.mark.services, pytest.mark.timeout(900)]
SEED = 1


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return materials.make(tmp_path_factory.mktemp("material"))


@pytest.fixture(scope="module")
def deployed(material: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = Deployed(tmp_path_factory.mktemp("deployed"), material, SEED)
    try:
        world.start_all()
        yield world
    finally:
        world.close()


@pytest.fixture
def embedded(material: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = Embedded(tmp_path_factory.mktemp("embedded"), material, SEED)
    try:
        world.start_all()
        yield world
    finally:
        world.close()


def survive(world: World, jobs: int) -> Row:
    """Each fault strikes once, beside two sweepers that never rest; nothing is wrong after it."""
    fault = Everything()
    wanted = {kind.name for kind in fault.kinds(world)}
    row = run(world, fault, seed=SEED, jobs=jobs, times=len(wanted), insist=True)
    print(row, fault.struck)
    if row.wrong:
        after = f"after {', '.join(fault.struck)}:"
        pytest.fail("\n".join([after, *row.wrong, world.logs()]), pytrace=False)
    assert set(fault.struck) == wanted
    return row


def test_deployment_survives(deployed: World) -> None:
    row = survive(deployed, jobs=6)  # one of each kind
    assert row.refused > 0, "who slept past the lease is told that the job is no longer theirs"


def test_attempts_that_are_used_up_fail_with_a_reason(deployed: World) -> None:
    ended = exhaust(deployed, SEED)
    assert ended["state"] == "failed"
    assert ended["attempts"] == FEW_ATTEMPTS
    assert ended["error"]["code"] == "signal"
    assert "signal 9" in ended["error"]["message"]


def test_embedded_service_survives(embedded: World) -> None:
    survive(embedded, jobs=4)
