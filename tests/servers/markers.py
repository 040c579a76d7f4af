"""Which tests need more than Python: the markers that follow from a test's folder and fixtures.

Whole runs are ``slow``; elsewhere that follows from nothing, and is written in the tests that are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

EMULATORS = frozenset({"azure", "gcs", "s3"})
_NAMES_AN_EMULATOR = ("place", "store_emulator")  # fixtures whose parameter does
_TESTS = Path(__file__).resolve().parents[1]


def markers(path: Path, fixtures: Collection[str], parameters: Mapping[str, Any]) -> set[str]:
    """The markers of a test in the file ``path``, with the names of its fixtures and the parameters by fixture."""
    needed = {*fixtures, *(parameters.get(name) for name in _NAMES_AN_EMULATOR if name in fixtures)}
    found = {"emulator"} if needed & EMULATORS else set()
    if "browser" in needed:
        found.add("browser")
    if _TESTS / "clusters" in path.parents:
        found.add("cluster")
    if _TESTS / "whole_runs" in path.parents:
        found.add("slow")
    return found
