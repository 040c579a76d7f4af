"""What is wrong with a rejected row, in a sentence with the offending value and the cure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from transforms.settings import EARLIEST_TIME, Settings
from transforms.telemetry.tally import shown

_COLUMNS_SHOWN = 10
_FINER_UNITS = (("milliseconds", 1_000), ("microseconds", 1_000_000), ("nanoseconds", 1_000_000_000))


def reject_detail(reason: str, record: dict[str, Any], unread: Sequence[str], settings: Settings) -> str:
    """The sentence for a row of this reason; ``unread`` are its columns that are not UTF-8."""
    if reason == "invalid_utf8":
        values = ", ".join(f"{shown(column)} [{str(record[column])[:80]}]" for column in unread[:_COLUMNS_SHOWN])
        return f"not UTF-8: {values}; with another id or name the row would be another's: export the file again"
    if reason == "missing_id":
        return f"id is [{record.get('id')}]: without one Mixpanel cannot tell a repeat; give the row an id"
    if reason == "time_invalid":
        time = record.get("time")
        if time is None:
            return "time is null: Mixpanel needs UNIX seconds"
        return _invalid_time(time, settings)
    if reason == "missing_user_id":
        return f"user_id [{record.get('user_id')}] names no profile: there is nothing to delete"
    return "the event is 1 MB or more as JSON, which Mixpanel refuses: shorten its properties"


def _invalid_time(time: int, settings: Settings) -> str:
    for unit, in_a_second in _FINER_UNITS:
        if settings.valid_times(np.array([time // in_a_second]))[0]:
            return (
                f"time [{time}] is in {unit} by its magnitude, and Mixpanel needs UNIX seconds: "
                f"divide by {in_a_second:,} in the export, or declare the column's logicalType"
            )
    if time < EARLIEST_TIME:
        return f"time [{time}] is before 1971, which Mixpanel refuses: it must be UNIX seconds"
    return f"time [{time}] is more than an hour after now [{settings.now}], which Mixpanel refuses: see --now"
