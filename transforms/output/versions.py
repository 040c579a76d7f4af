"""The versions that the bytes of an output depend on: what compresses, parses and writes, Python and this program."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Mapping
from pathlib import Path

import tomllib

PROGRAM = "currents-to-mixpanel"
_PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"  # there in a checkout, not in an installation

# Another release of one of these may write equal rows as other bytes: gzip (isal), JSON (orjson), Parquet (arro3,
# pyarrow), and what the three readers make of a value.
_DISTRIBUTIONS = (
    "arro3-core",
    "arro3-io",
    PROGRAM,
    "datafusion",
    "fastavro",
    "isal",
    "orjson",
    "pyarrow",
)


def program_version() -> str:
    """This program's version: what ``pyproject.toml`` says, from which an installation has it too."""
    if _PYPROJECT.exists():
        project = tomllib.loads(_PYPROJECT.read_text("utf-8")).get("project", {})
        if project.get("name") == PROGRAM:
            return str(project["version"])
    try:
        return importlib.metadata.version(PROGRAM)
    except importlib.metadata.PackageNotFoundError:  # its packages were copied to where they are
        return "unknown"


def output_versions() -> dict[str, str]:
    """Version by distribution, of those that are installed, and Python's minor version, whose Unicode tables decide
    what is upper case or blank."""
    versions = {"python": ".".join(map(str, sys.version_info[:2]))}
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # this program itself where it is only on the path
            continue
    return versions


def differing(theirs: Mapping[str, str], ours: Mapping[str, str]) -> tuple[str, str] | None:
    """Both sides of what differs, as texts like ``isal 1.8.0``; what only one side names counts as unknown and equal.
    None where nothing differs."""
    names = sorted(name for name in theirs.keys() & ours.keys() if theirs[name] != ours[name])
    if not names:
        return None
    of_theirs, of_ours = (", ".join(f"{name} {side[name]}" for name in names) for side in (theirs, ours))
    return of_theirs, of_ours
