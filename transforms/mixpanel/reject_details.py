"""What is wrong with a rejected row, in a sentence with the offending value and the cure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from transforms.settings import EARLIEST_TIME, Settings
from transforms.telemetry.tally import shown
from transforms.vocabulary.rows import REJECTS

_COLUMNS_SHOWN = 10
_FINER_UNITS = (("milliseconds", 1_000), ("microseconds", 1_000_000), ("nanoseconds", 1_000_000_000))


class _Values(dict[str, Any]):
    """The values of a row by column; None for columns that it lacks."""

    def __missing__(self, column: str) -> None:
        return None


def reject_detail(reason: str, record: dict[str, Any], unread: Sequence[str], settings: Settings) -> str:
    """The sentence for a row of this reason; ``unread`` are its columns that are not UTF-8.

    Raises:
        LookupError: the reason, or the case that the row is, has no sentence in ``REJECTS``.
    """
    sentence = REJECTS[reason].detail
    values = _Values(record)
    values["now"] = settings.now
    values["unread"] = ", ".join(_unread(name, record) for name in unread[:_COLUMNS_SHOWN])
    if not isinstance(sentence, str):
        case, more = _time_case(record.get("time"), settings)
        sentence = sentence[case]
        values |= more
    return sentence.format_map(values)


def _unread(name: str, record: dict[str, Any]) -> str:
    # A rule may have dropped the column.
    return f"{shown(name)} [{str(record[name])[:80]}]" if name in record else shown(name)


def _time_case(time: int | None, settings: Settings) -> tuple[str, dict[str, Any]]:
    """(What is the matter with a time, the values to say so)."""
    if time is None:
        return "missing", {}
    for unit, in_a_second in _FINER_UNITS:
        if settings.valid_times(np.array([time // in_a_second]))[0]:
            return "finer_unit", {"unit": unit, "in_a_second": in_a_second}
    return ("early" if time < EARLIEST_TIME else "late"), {}
