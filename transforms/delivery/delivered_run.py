"""The run that is delivered: its files as the manifest names them, and the digest that stands for them all."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

import orjson

from transforms.errors import NotAFinishedRun
from transforms.output.folder import CLAIM, MANIFEST
from transforms.stores.local import LocalStore
from transforms.stores.store import join, store_for

KINDS = ("events", "profiles")
_PART_BYTES = 1 << 20
_DIGESTED = ("events/", "profiles/", "deletions/")


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

    def read(self, file: RunFile) -> Iterator[bytes]:
        """The file as it is stored, part by part, after the SHA-256 of all of it was held against the manifest's.

        A file of this machine is read twice and never held; an object comes whole.

        Raises:
            NotAFinishedRun: it is gone, or is another than the manifest names.
        """
        path = join(self.folder, file.path)
        if isinstance(store_for(path), LocalStore):
            try:
                with open(path, "rb") as held:
                    digest, size = hashlib.sha256(), 0
                    while part := held.read(_PART_BYTES):
                        digest.update(part)
                        size += len(part)
                    _compare(path, file, size, digest.hexdigest())
                    held.seek(0)
                    while part := held.read(_PART_BYTES):
                        yield part
            except (FileNotFoundError, NotADirectoryError):
                raise _is_another(path, "is gone") from None
            return
        data = store_for(path).get(path)
        if data is None:
            raise _is_another(path, "is gone")
        _compare(path, file, len(data), hashlib.sha256(data).hexdigest())
        yield data


def stored(path: str) -> Iterator[bytes]:
    """A file as it is stored, part by part: a file of this machine is never held, an object comes whole.

    Yields nothing where there is none.
    """
    if not isinstance(store_for(path), LocalStore):
        yield from filter(None, (store_for(path).get(path),))
        return
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError), open(path, "rb") as file:
        while part := file.read(_PART_BYTES):
            yield part


def _compare(path: str, file: RunFile, size: int, sha256: str) -> None:
    if (size, sha256) != (file.bytes, file.sha256):
        raise _is_another(path, "is not what the manifest names")


def _is_another(path: str, what: str) -> NotAFinishedRun:
    return NotAFinishedRun(f"{path} {what}: run the job again into a new folder, and deliver that")


def open_run(folder: str) -> DeliveredRun:
    """The run in that folder.

    Raises:
        NotAFinishedRun: there is none, or it has not been published.
    """
    store = store_for(folder)
    content = store.get(join(folder, MANIFEST))
    if content is None:
        if store.get(join(folder, CLAIM)) is not None:
            raise NotAFinishedRun(
                f"--input {folder} is a run that is not published: its job is still at work, or was stopped and has to "
                "be run again"
            )
        raise NotAFinishedRun(f"--input {folder} has no {MANIFEST}: name the --output of a run that was published")
    try:
        listed = orjson.loads(content)["files"]
        entries = sorted((entry["path"], entry["rows"], entry["bytes"], entry["sha256"]) for entry in listed
                         if entry["path"].startswith(_DIGESTED))  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError):
        raise NotAFinishedRun(f"{join(folder, MANIFEST)} is not a run's manifest: name the --output of one") from None
    digest = hashlib.sha256(orjson.dumps([[path, rows, sha256] for path, rows, _, sha256 in entries])).hexdigest()
    files = {
        kind: tuple(RunFile(*entry) for entry in entries if entry[0].startswith(f"{kind}/") and entry[1])
        for kind in (*KINDS, "deletions")
    }
    return DeliveredRun(store.absolute(folder), files, digest, _report(join(folder, "report.json")))


def _report(path: str) -> dict[str, Any]:
    content = store_for(path).get(path)
    try:
        report = orjson.loads(content or b"{}")
    except ValueError:
        report = None
    if not isinstance(report, dict):
        raise NotAFinishedRun(f"{path} is not a run's report: run the job again into a new folder, and deliver that")
    return report
