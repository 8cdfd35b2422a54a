"""A plugin of pytest that is copied beside the tests: which test failed, and what was imported.

It writes JSON to the path in `FAULTS_SAID`. It belongs to no package, since the tree whose tests
are run may not have this one.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

PRODUCT = ("api", "carot", "cli", "migrations", "store", "worker")
said: dict[str, list[str]] = {"ran": [], "failed": [], "unread": []}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A test has gone through one of its phases."""
    if report.when == "call" and report.outcome != "skipped":
        said["ran"].append(report.nodeid)
    if report.failed:
        said["failed"].append(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A file was read for its tests."""
    if report.failed:
        said["unread"].append(f"{report.nodeid}: {report.longreprtext[-500:]}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell it all, and which modules of the product come from elsewhere than from here."""
    here = str(session.config.rootpath) + os.sep
    files = (
        getattr(module, "__file__", None) or here
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in PRODUCT
    )
    said["strangers"] = sorted(file for file in files if not file.startswith(here))
    Path(os.environ["FAULTS_SAID"]).write_text(json.dumps(said), encoding="utf-8")
