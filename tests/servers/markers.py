"""Which tests need more than Python: the markers that follow from a test's folder and fixtures.

``slow`` follows from nothing: it is written in the tests that are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

EMULATORS = frozenset({"azure", "gcs", "s3"})
_NAMES_AN_EMULATOR = ("place", "store_emulator")  # fixtures whose parameter does
_CLUSTERS = Path(__file__).resolve().parents[1] / "clusters"


def markers(path: Path, fixtures: Collection[str], parameters: Mapping[str, Any]) -> set[str]:
    """The markers of a test in the file ``path``, with the names of its fixtures and the parameters by fixture."""
    needed = {*fixtures, *(parameters.get(name) for name in _NAMES_AN_EMULATOR if name in fixtures)}
    found = {"emulator"} if needed & EMULATORS else set()
    if "browser" in needed:
        found.add("browser")
    if _CLUSTERS in path.parents:
        found.add("cluster")
    return found
