"""Small batches under every fault. `benchmarks/chaos.py` runs the same with 30 jobs each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.chaos import material as materials
from tests.acceptance.chaos.faults import FAULTS
from tests.acceptance.chaos.trial import Row, exhaust, run
from tests.acceptance.chaos.world import FEW_ATTEMPTS, Deployed, Embedded, World

pytestmark = [pytest.mark.acceptance, pytest.mark.services, pytest.mark.timeout(300)]
SEED = 1
JOBS = {"none": 6, "all of them": 6}
FEWER_JOBS = 4  # of the other faults: each takes its share of `make test`


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


@pytest.fixture(scope="module")
def embedded(material: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = Embedded(tmp_path_factory.mktemp("embedded"), material, SEED)
    try:
        world.start_all()
        yield world
    finally:
        world.close()


def check(world: World, row: Row) -> None:
    print(row)
    if row.wrong:
        pytest.fail("\n".join([*row.wrong, world.logs()]), pytrace=False)
    assert row.times > 0 or row.fault == "none"


@pytest.mark.parametrize("name", [n for n, f in FAULTS.items() if "deployed" in f.worlds])
def test_deployment_survives(deployed: World, name: str) -> None:
    row = run(deployed, FAULTS[name](), seed=SEED, jobs=JOBS.get(name, FEWER_JOBS))
    check(deployed, row)
    if name == "SIGSTOP past lease":
        assert row.refused > 0


def test_embedded_service_survives(embedded: World) -> None:
    check(embedded, run(embedded, FAULTS["all of them"](), seed=SEED, jobs=6, times=7))


def test_attempts_that_are_used_up_fail_with_a_reason(deployed: World) -> None:
    ended = exhaust(deployed, SEED)
    assert ended["state"] == "failed"
    assert ended["attempts"] == FEW_ATTEMPTS
    assert ended["error"]["code"] == "signal"
    assert "signal 9" in ended["error"]["message"]
