"""Texts that are not UTF-8: what is read in their place, and which rows have one.

Avro says where the next value begins, so such a text costs no more than itself. U+FFFD may be a customer's own
character; which texts were broken is therefore kept beside the values.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

BrokenText = Mapping[str, np.ndarray]
"""Column to a bool a row, true where its value has a text that is not UTF-8; only columns that have one."""

ESCAPED = "surrogateescape"
"""How broken bytes are read: as code points that no UTF-8 text has, so that they are told from all others."""


def repaired(value: Any) -> Any:
    """A value that was read with ``ESCAPED``, with U+FFFD for what is not UTF-8; equal to it where nothing is broken.

    >>> repaired({"a": ["x\\udcff"]})
    {'a': ['x\ufffd']}
    """
    if isinstance(value, str):
        return value.encode("utf-8", ESCAPED).decode("utf-8", "replace")
    if isinstance(value, list):
        return [repaired(item) for item in value]
    if isinstance(value, dict):
        return {repaired(key): repaired(item) for key, item in value.items()}
    return value


def repair_rows(rows: list[dict[str, Any]], columns: Sequence[str], first: int, broken: dict[str, list[int]]) -> None:
    """Repairs columns of rows in place; adds the positions of broken texts to ``broken``, counted from ``first``."""
    for position, row in enumerate(rows, start=first):
        for column in columns:
            value = row[column]
            if isinstance(value, (str, list, dict)) and (whole := repaired(value)) != value:
                row[column] = whole
                broken.setdefault(column, []).append(position)


def as_masks(positions: Mapping[str, Collection[int]], count: int) -> BrokenText:
    """Positions of rows, by column, as a bool a row."""
    masks = {column: np.zeros(count, bool) for column in positions}
    for column, mask in masks.items():
        mask[list(positions[column])] = True
    return masks


def of_rows(broken: BrokenText, chosen: np.ndarray | slice) -> BrokenText:
    """The part of the chosen rows (bool a row, or a slice)."""
    parts = ((column, mask[chosen]) for column, mask in broken.items())
    return {column: mask for column, mask in parts if mask.any()}


def of_columns(broken: BrokenText, columns: Collection[str]) -> BrokenText:
    """The part of some columns."""
    return {column: mask for column, mask in broken.items() if column in columns}
