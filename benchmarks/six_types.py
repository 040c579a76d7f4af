"""An export of six event types and very many people, in large files: where ids, not types, are what costs memory.

    python -m benchmarks.six_types FOLDER ROWS USERS

Every person is one profile with two devices; four of five have an external id, which a third of their rows lack,
and half of the others use a known one's devices.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from transforms.currents import catalog

TYPES = {
    "users.behaviors.app.SessionStart": 0.2,
    "users.behaviors.CustomEvent": 0.2,
    "users.messages.email.Send": 0.25,
    "users.messages.email.Delivery": 0.2,
    "users.messages.email.Open": 0.1,
    "users.messages.pushnotification.Send": 0.05,
}
ROWS_A_FILE = 15_000
_VALUES = 300  # of any other column
_BEGIN, _SECONDS = 1_772_323_200, 30 * 86_400


def write(folder: Path, rows: int, users: int) -> dict[str, int]:
    """Write about ``rows`` rows; how many there are, in how many files and bytes."""
    rng = np.random.default_rng(1)
    made = {"rows": 0, "files": 0, "bytes": 0}
    for event_type, share in TYPES.items():
        of_type = round(rows * share)
        for number, begin in enumerate(range(0, of_type, ROWS_A_FILE)):
            frame = _frame(event_type, min(ROWS_A_FILE, of_type - begin), users, rng)
            path = folder / f"event_type={event_type}" / f"date=2026-03-{1 + number % 28:02}-00" / f"{number:05}.avro"
            path.parent.mkdir(parents=True, exist_ok=True)
            frame.write_avro(path, compression="uncompressed", name=event_type.replace(".", "_"))
            made["rows"] += frame.height
            made["files"] += 1
            made["bytes"] += path.stat().st_size
    return made


def _frame(event_type: str, count: int, users: int, rng: np.random.Generator) -> pl.DataFrame:
    user = rng.integers(0, users, count)
    owner = user + (user % 10 == 5)  # of the device: half of those without an external id use another one's
    known = (user % 5 > 0) & (rng.random(count) < 2 / 3)
    ids = {
        "id": _hex(rng.integers(0, 2**63, (2, count)), (8, 4, 4, 4, 12)),
        "time": pl.Series(_BEGIN + rng.integers(0, _SECONDS, count)),
        "user_id": _hex(np.stack([_mixed(user), user]), (24,)),
        "external_user_id": _where(known, pl.Series(user).cast(pl.String).str.pad_start(12, "0")),
        "device_id": _hex(np.stack([_mixed(owner * 2 + rng.integers(0, 2, count)), owner]), (8, 4, 4, 4, 12)),
    }
    columns: dict[str, Any] = {}
    for name, kind in ((field.name, field.type) for field in catalog.event_types()[event_type].fields):
        columns[name] = ids[name] if name in ids else _filler(name, kind, count, rng)
    if event_type == "users.behaviors.CustomEvent":
        columns["properties"] = pl.Series([_PROPERTIES[at] for at in rng.integers(0, _VALUES, count).tolist()])
    return pl.DataFrame(columns)


_PROPERTIES = [json.dumps({"price": at / 7, "sku": f"sku-{at}", "tags": ["a", str(at % 9)]}) for at in range(_VALUES)]


def _filler(name: str, kind: str, count: int, rng: np.random.Generator) -> pl.Series:
    values = rng.integers(0, 1 if name == "app_group_id" else _VALUES, count)
    if kind.startswith("string"):
        series = pl.Series([f"{name} {at:03}" for at in range(_VALUES)]).gather(values)
        return _where(values % 3 > 0, series) if kind.endswith("?") else series
    if kind.startswith("boolean"):
        return pl.Series(values % 2 == 0)
    return pl.Series(values.astype(np.float64) if kind.startswith(("double", "float")) else values)


def _where(mask: np.ndarray, values: pl.Series) -> pl.Series:
    return pl.select(pl.when(pl.Series(mask)).then(values).otherwise(None)).to_series()


def _mixed(numbers: np.ndarray) -> np.ndarray:
    return (numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)).view(np.int64)


def _hex(numbers: np.ndarray, groups: tuple[int, ...]) -> pl.Series:
    """Strings of hexadecimal digits in groups, of two numbers each."""
    octets = np.ascontiguousarray(numbers.T).view(np.uint8).reshape(numbers.shape[1], 16)
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)[np.stack([octets >> 4, octets & 15], 2).reshape(-1, 32)]
    parts, at = [], 0
    for width in groups:
        parts += [digits[:, at : at + width], np.full((len(digits), 1), ord("-"), np.uint8)]
        at += width
    text = np.ascontiguousarray(np.concatenate(parts[:-1], 1))
    return pl.Series(text.view(f"S{text.shape[1]}").ravel().astype(str))


if __name__ == "__main__":
    print(json.dumps(write(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
