"""What ``pyproject.toml`` says of the package."""

from __future__ import annotations

import re
from typing import Any

import tomllib

from tests.commands.whole_run import ROOT


def project() -> dict[str, Any]:
    """The table ``[project]``."""
    found: dict[str, Any] = _tables()["project"]
    return found


def pytest_settings() -> dict[str, Any]:
    """The table ``[tool.pytest.ini_options]``."""
    found: dict[str, Any] = _tables()["tool"]["pytest"]["ini_options"]
    return found


def _tables() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def constraints() -> dict[str, str]:
    """The version of each package in ``constraints.txt``, by its name as package indexes normalise it."""
    lines = (line.partition(";")[0].strip() for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines())
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {normalised(name): version for name, version in pins}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
