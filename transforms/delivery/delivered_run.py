"""The run that is delivered: its files as the manifest names them, and the digest that stands for them all."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import orjson

from transforms.run.folder import MANIFEST
from transforms.stores.store import join, store_for

KINDS = ("events", "profiles")
_DIGESTED = ("events/", "profiles/", "deletions/")


class NoRun(Exception):
    """The input is no finished run, or not the one that its manifest describes; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class RunFile:
    """One file of lines: its path relative to the run, rows, bytes (as stored) and SHA-256."""

    path: str
    rows: int
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class DeliveredRun:
    """A published run: where it is, its files by kind in the order of their names, and the digest of them."""

    folder: str
    files: dict[str, tuple[RunFile, ...]]
    digest: str
    report: dict[str, Any]

    def rows(self, kind: str) -> int:
        return sum(file.rows for file in self.files[kind])

    def read(self, file: RunFile) -> bytes:
        """The whole file as it is stored, after its SHA-256 was held against the manifest's.

        Raises:
            NoRun: it is gone, or is another than the manifest names.
        """
        path = join(self.folder, file.path)
        data = store_for(path).get(path)
        if data is None or len(data) != file.bytes or hashlib.sha256(data).hexdigest() != file.sha256:
            what = "is gone" if data is None else "is not what the manifest names"
            raise NoRun(f"{path} {what}: run the job again into a new folder, and deliver that")
        return data


def open_run(folder: str) -> DeliveredRun:
    """The run in that folder.

    Raises:
        NoRun: there is none, or it has not been published.
    """
    store = store_for(folder)
    content = store.get(join(folder, MANIFEST))
    if content is None:
        raise NoRun(f"--input {folder} has no {MANIFEST}: name the --output of a run that was published")
    try:
        listed = orjson.loads(content)["files"]
        entries = sorted((entry["path"], entry["rows"], entry["bytes"], entry["sha256"]) for entry in listed
                         if entry["path"].startswith(_DIGESTED))  # fmt: skip
    except (ValueError, KeyError, TypeError):
        raise NoRun(f"{join(folder, MANIFEST)} is no manifest of a run: name the --output of one") from None
    digest = hashlib.sha256(orjson.dumps([[path, rows, sha256] for path, rows, _, sha256 in entries])).hexdigest()
    files = {
        kind: tuple(RunFile(*entry) for entry in entries if entry[0].startswith(f"{kind}/") and entry[1])
        for kind in KINDS
    }
    report = orjson.loads(store.get(join(folder, "report.json")) or b"{}")
    return DeliveredRun(store.absolute(folder), files, digest, report)
