"""Which rows have a field that is not UTF-8 and cannot do without it: ids, and the name of a custom event."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from transforms.avro.broken_text import BrokenText
from transforms.currents import catalog

_IDS = ("id", "user_id", "external_user_id", "device_id", "orphaned_by_id")


def broken_ids(broken: BrokenText, count: int) -> np.ndarray:
    """Bool for each of ``count`` rows: whether it has a broken id, which with U+FFFD in it would be somebody else's."""
    return _rows_with(broken, _IDS, count)


def broken_names(event_type: str, broken: BrokenText, count: int) -> np.ndarray:
    """Bool for each of ``count`` rows: whether the name of its event, which is a custom event's own, is broken."""
    return _rows_with(broken, ("name",) if event_type == catalog.CUSTOM_EVENT else (), count)


def _rows_with(broken: BrokenText, columns: Collection[str], count: int) -> np.ndarray:
    found = np.zeros(count, bool)
    for column in broken.keys() & set(columns):
        found |= broken[column]
    return found
