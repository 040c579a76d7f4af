"""What a delivery leaves: the figures of ``report.json``, and the records that are refused as things stand."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import orjson

from transforms.delivery.delivered_run import KINDS, DeliveredRun
from transforms.delivery.ledger import State, refused_now
from transforms.delivery.sender import Figures
from transforms.mixpanel.ndjson import GzipLines
from transforms.stores.store import join, store_for

_LINES_A_PART, _BYTES_A_PART = 10_000, 16 << 20
_PART = re.compile(r"refused/part-\d{5}\.ndjson\.gz")
_MOST_MESSAGES, _EXAMPLES = 100, 3  # examples of each message
_SHOWN = 300  # bytes of a record on the page


def totals(run: DeliveredRun, state: State) -> dict[str, dict[str, int]]:
    """By kind ``in_run`` = ``acknowledged`` + ``refused`` + ``not_sent``."""
    found = {}
    for kind in KINDS:
        answered = sum(rows for (one, _), rows in state.rows.items() if one == kind)
        refused, in_run = state.refused[kind], run.rows(kind)
        found[kind] = {
            "in_run": in_run, "acknowledged": answered - refused, "refused": refused, "not_sent": in_run - answered,
        }  # fmt: skip
    return found


def write_refused(folder: str, state: State) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Write ``refused/`` anew, as the ledger stands; returns records by Mixpanel's words, and the first of them."""
    store = store_for(folder)
    messages: dict[str, int] = {}
    examples: list[dict[str, Any]] = []
    kept = set()
    found = _refused_lines(folder, state, messages, examples)
    for number_of_part in itertools.count():
        lines, size = GzipLines(), 0
        for line in found:
            lines.add(line, 1)
            size += len(line)
            if lines.rows == _LINES_A_PART or size >= _BYTES_A_PART:
                break
        if not lines.rows:
            break
        path = join(folder, "refused", f"part-{number_of_part:05d}.ndjson.gz")
        store.put(path, lines.finish())
        kept.add(path)
    prefix = len(join(folder, ""))
    old = [entry.path for entry in store.list(join(folder, "refused")) if _PART.fullmatch(entry.path[prefix:])]
    store.delete([path for path in old if path not in kept])
    return messages, examples


def examples_of_refused(folder: str, state: State) -> list[dict[str, Any]]:
    """Some records that are refused as things stand, as ``write_refused`` gives them."""
    examples: list[dict[str, Any]] = []
    for _ in _refused_lines(folder, state, {}, examples):
        pass
    return examples


def _refused_lines(
    folder: str, state: State, messages: dict[str, int], examples: list[dict[str, Any]]
) -> Iterator[bytes]:
    for _, kind, file, one in refused_now(folder, state):
        shown = one.message if one.message in messages or len(messages) < _MOST_MESSAGES else "(others)"
        messages[shown] = messages.get(shown, 0) + 1
        record = {"kind": kind, "file": file, "line": one.line, "message": one.message,
                  "record": orjson.loads(one.record)}  # fmt: skip
        if messages[shown] <= _EXAMPLES:
            examples.append({**record, "record": one.record[:_SHOWN].decode("utf-8", "replace")})
        yield orjson.dumps(record) + b"\n"


def sent(figures_: Figures, seconds: float) -> dict[str, Any]:
    """The part of the report that is of this delivery alone, and not of earlier ones into the same ledger."""
    acknowledged = sum(figures_.acknowledged.values())
    return {
        "requests": dict(sorted(figures_.requests.items())),
        "retries": dict(sorted(figures_.retries.items())),
        "splits": dict(sorted(figures_.splits.items())),
        "bytes_sent": figures_.bytes,
        "seconds": round(seconds, 3),
        "events_per_second": round(figures_.acknowledged["events"] / max(seconds, 0.001), 1),
        "acknowledged_now": acknowledged,
        "per_minute": [
            {"minute": minute * 60, "acknowledged": counts[0], "refused": counts[1]}
            for minute, counts in sorted(figures_.minutes.items())
        ],
    }
