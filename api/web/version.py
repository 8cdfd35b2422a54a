"""The version of this release."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed


def version() -> str:
    """The version of the installed package."""
    try:
        return installed("carot")
    except PackageNotFoundError:
        return "0"
