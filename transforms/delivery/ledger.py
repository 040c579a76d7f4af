"""What became of each batch: append-only files of many batches each, under names that no other delivery writes.

A line is one batch after its whole answer: kind, file, place in the file, rows, and the records that were refused. On a
disk a batch is appended and synced before it counts; in a store a second's batches make one object. A batch that stands
twice (sent again after a kill) counts once, as it stands first.
"""

from __future__ import annotations

import array
import io
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import orjson

from transforms.errors import DeliveryMismatch, StoreError
from transforms.stores.store import join, store_for

FORMAT = 1
CONTRACT = "delivery.json"
_NAME = re.compile(r"ledger/(\d{6})-(\d{8})\.ndjson")
_FLUSH_SECONDS = 1.0
_FILE_BYTES = 8 << 20


class Refusal(NamedTuple):
    """A record that Mixpanel refused: its line in the file (1-based), Mixpanel's words, the record as it was sent."""

    line: int
    message: str
    record: bytes


class Settled(NamedTuple):
    """One batch after its whole answer. ``lines`` are those of a redelivery, which is not a batch of a file."""

    kind: str
    file: str
    ordinal: int
    rows: int
    refused: tuple[Refusal, ...]
    lines: tuple[int, ...] = ()

    def to_line(self) -> bytes:
        refused = [[one.line, one.message, one.record.decode()] for one in self.refused]
        return orjson.dumps([self.kind, self.file, self.ordinal, self.rows, refused, self.lines]) + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Settled:
        kind, file, ordinal, rows, refused, lines = orjson.loads(line)
        found = tuple(Refusal(number, message, record.encode()) for number, message, record in refused)
        return cls(kind, file, ordinal, rows, found, tuple(lines))


def check_contract(folder: str, contract: dict[str, Any], *, begin: bool) -> None:
    """Hold what a ledger was begun with against what is asked now; with ``begin`` a new ledger takes it.

    Raises:
        DeliveryMismatch: they differ.
    """
    path = join(folder, CONTRACT)
    body = orjson.dumps({"format": FORMAT, **contract}, option=orjson.OPT_INDENT_2)
    store = store_for(path)
    content = store.get(path)
    if content is None:
        if begin:
            store.put_if_absent(path, body)
        return
    try:
        held = orjson.loads(content)
    except ValueError:
        held = None
    if not isinstance(held, dict):
        raise DeliveryMismatch(f"{path} is not a ledger's: give a new --ledger, which sends everything again")
    for name, value in {"format": FORMAT, **contract}.items():
        if held.get(name) == value:
            continue
        if name == "run":
            raise DeliveryMismatch(f"{folder} is the ledger of another run: give this one a --ledger of its own")
        if name in ("batch_events", "batch_bytes"):
            raise DeliveryMismatch(
                f"this delivery was begun with --{name} {held.get(name)}: give it again, or batches would not have "
                "equal bytes"
            )
        raise DeliveryMismatch(
            f"this delivery was begun with {name} {held.get(name)}, and now it is {value}: give it as it was, or a new "
            "--ledger, which sends everything again"
        )


class Ledger:
    """The ledger of one delivery in a folder, which others left their own files in."""

    def __init__(self, folder: str, generation: int, on_failure: Callable[[BaseException], None]) -> None:
        self.folder = folder
        self._generation = generation
        self._store = store_for(folder)
        self._number = 0
        self._pending: list[tuple[bytes, Callable[[], None]]] = []
        self._wake = threading.Condition()
        self._closing = False
        self._on_failure = on_failure
        self._file: int | None = None
        self._size = 0
        self._thread = threading.Thread(target=self._write, name="ledger", daemon=True)
        self._thread.start()

    def add(self, settled: Settled, then: Callable[[], None]) -> None:
        """Write a batch down; ``then`` is called once it is safe."""
        with self._wake:
            self._pending.append((settled.to_line(), then))
            self._wake.notify()

    def close(self) -> None:
        """Write down what is left."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()
        if self._file is not None:
            os.close(self._file)

    def _write(self) -> None:
        written = 0.0
        while True:
            with self._wake:
                while not self._pending and not self._closing:
                    self._wake.wait()
                if self._store.remote and not self._closing:
                    self._wake.wait_for(self._is_closing, timeout=max(written + _FLUSH_SECONDS - time.monotonic(), 0))
                count = self._fitting()
                batch, self._pending = self._pending[:count], self._pending[count:]
                if not batch and self._closing:
                    return
            try:
                self._append(b"".join(line for line, _ in batch))
            except (OSError, StoreError) as error:
                self._on_failure(error)
                return
            written = time.monotonic()
            for _, then in batch:
                then()

    def _fitting(self) -> int:
        """How many of the pending batches go into one file: those with many refused records are large."""
        size = count = 0
        for line, _ in self._pending:
            size += len(line)
            count += 1
            if size >= _FILE_BYTES:
                break
        return count

    def _is_closing(self) -> bool:
        return self._closing

    def _append(self, lines: bytes) -> None:
        path = join(self.folder, "ledger", f"{self._generation:06d}-{self._number:08d}.ndjson")
        if self._store.remote:
            self._store.put_if_absent(path, lines)
            self._number += 1
            return
        if self._file is None:
            self._store.put_if_absent(path, b"")  # makes the folders, and syncs them
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND)
        self._size += len(lines)
        while lines:
            lines = lines[os.write(self._file, lines) :]
        os.fsync(self._file)
        if self._size >= _FILE_BYTES:  # so that no file is large to read
            os.close(self._file)
            self._file, self._size = None, 0
            self._number += 1


def entries(folder: str) -> Iterator[tuple[str, Settled]]:
    """Every settled batch once, with the name of the file that holds it, in the order in which they were written."""
    prefix = len(join(folder, ""))
    store = store_for(folder)
    seen: dict[tuple[str, str], int] = {}  # a bit for each batch
    for entry in store.list(join(folder, "ledger")):
        name = _NAME.fullmatch(entry.path[prefix:])
        if name is None:
            continue
        for line in io.BytesIO(store.get(entry.path) or b""):
            try:
                if not line.endswith(b"\n"):
                    break  # it was cut off, and never counted
                settled = Settled.from_line(line)
            except (ValueError, TypeError, AttributeError):
                # Power was lost before the last append was synced: its pages may be there in part, and none counted.
                if not store.remote:
                    break
                raise DeliveryMismatch(
                    f"{entry.path} is not a ledger's: give a new --ledger, which sends everything again"
                ) from None
            if not settled.lines:
                bits, bit = seen.get((settled.kind, settled.file), 0), 1 << settled.ordinal
                if bits & bit:
                    continue
                seen[settled.kind, settled.file] = bits | bit
            yield f"{name[1]}-{name[2]}", settled


class Redelivered:
    """Where lines of the run's files were refused last, of those that were sent again: four bytes a line."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], array.array[int]] = {}  # by line; 0 not sent again, -1 acknowledged
        self._names: list[str] = [""]

    def put(self, kind: str, file: str, line: int, name: str | None) -> None:
        """A line was sent again, and refused in the ledger's file ``name``; None: acknowledged."""
        if name is not None and self._names[-1] != name:
            self._names.append(name)
        lines = self._found.setdefault((kind, file), array.array("i"))
        if len(lines) <= line:
            lines.extend(_zeros(line + 1 - len(lines)))
        lines[line] = -1 if name is None else len(self._names) - 1

    def get(self, kind: str, file: str, line: int) -> str | None:
        """The ledger's file in which it was refused last; None where it is acknowledged, "" if not sent again."""
        lines = self._found.get((kind, file))
        at = lines[line] if lines is not None and line < len(lines) else 0
        return None if at < 0 else self._names[at]


def _zeros(count: int) -> array.array[int]:
    return array.array("i", bytes(4 * count))


class State(NamedTuple):
    """What a ledger says: by (kind, file) the batches that are settled, as bits; by kind the records."""

    done: dict[tuple[str, str], int]
    rows: dict[tuple[str, str], int]
    refused: dict[str, int]
    redelivered: Redelivered


def read_state(folder: str) -> State:
    """The state of a delivery, from its ledger."""
    done: dict[tuple[str, str], int] = {}
    rows: dict[tuple[str, str], int] = {}
    refused = {"events": 0, "profiles": 0}
    redelivered = Redelivered()
    for name, settled in entries(folder):
        key = settled.kind, settled.file
        if settled.lines:
            again = {one.line for one in settled.refused}
            for line in settled.lines:
                was = redelivered.get(*key, line)
                redelivered.put(*key, line, name if line in again else None)
                refused[settled.kind] += (line in again) - (was is not None)
            continue
        done[key] = done.get(key, 0) | 1 << settled.ordinal
        rows[key] = rows.get(key, 0) + settled.rows
        refused[settled.kind] += len(settled.refused)
    return State(done, rows, refused, redelivered)


def refused_now(folder: str, state: State) -> Iterator[tuple[str, str, str, Refusal]]:
    """Records that are refused as things stand: (name of the ledger's file, kind, file of the run, refusal)."""
    for name, settled in entries(folder):
        for one in settled.refused:
            last = state.redelivered.get(settled.kind, settled.file, one.line)
            if last == (name if settled.lines else ""):
                yield name, settled.kind, settled.file, one
