"""A run's folder: claimed at the start, published by its manifest at the end, and nothing in between looks finished.

``_claim.json`` says which run a folder belongs to, by a digest of the inputs and of every flag that shapes the output.
Equal runs may share a folder, one after the other or at once: they write equal bytes. ``_manifest.json`` names every
file with rows, bytes and SHA-256 and is written last.
"""

from __future__ import annotations

import builtins
import dataclasses
import hashlib
from collections.abc import Iterable, Sequence

import orjson

from transforms.currents.paths import below
from transforms.settings import Settings
from transforms.stores.store import Conflict, is_temporary, join, store_for

MANIFEST = "_manifest.json"
CLAIM = "_claim.json"
REPORTS = ("report.json", "report.html")
FOLDERS = ("events", "profiles", "rejects", "deletions", "identities", "_plan")
FORMAT = 1
# Settings that decide whether a run is published and not what it holds: who loosens one goes on with the same folder.
_GUARDS = frozenset({"max_reject_share", "mixed_workspaces", "thorough"})


class Refused(Exception):
    """The output folder cannot be used; the message says why and what to do."""


class NotOurs(Exception):
    """Another run took the folder while this one was at work."""


@dataclasses.dataclass(frozen=True)
class Written:
    """One published file: its path relative to the output, and what the manifest says of it."""

    path: str
    rows: int | None
    bytes: int
    sha256: str

    def to_bytes(self) -> builtins.bytes:
        return orjson.dumps(dataclasses.asdict(self))

    @classmethod
    def from_bytes(cls, data: builtins.bytes) -> Written:
        return cls(**orjson.loads(data))


def describe(path: str, data: bytes, rows: int | None) -> Written:
    """The manifest's entry of a file's content."""
    return Written(path, rows, len(data), hashlib.sha256(data).hexdigest())


def publish_file(output: str, path: str, data: bytes, rows: int | None) -> Written:
    """Write one file of the run under its final name.

    Raises:
        Conflict: a different run writes into the folder.
    """
    full = join(output, path)
    store_for(full).put_if_absent(full, data)
    return describe(path, data, rows)


def claim_digest(files_digest: str, settings: Settings) -> str:
    """SHA-256 over the digest of the inputs (``Export.digest``) and the settings that shape the output."""
    shaping = {name: value for name, value in dataclasses.asdict(settings).items() if name not in _GUARDS}
    return hashlib.sha256(orjson.dumps([FORMAT, shaping, files_digest], option=orjson.OPT_SORT_KEYS)).hexdigest()


def claim(
    output: str, files_digest: str, settings: Settings, command: str, *, now_given: bool, overwrite: bool
) -> tuple[str, Settings]:
    """Take the folder for this run; returns (digest, settings) as claimed.

    A run without ``--now`` that goes on where an equal one was killed takes over that one's clock. A folder whose run
    failed is free for any other.

    Raises:
        Refused: the folder holds a finished run, another run, or files that are none of ours.
    """
    store = store_for(output)
    _refuse_foreign(output)
    if store.get(join(output, MANIFEST)) is not None and not overwrite:
        raise Refused(f"{output} holds a finished run: choose another --output, or replace it with --overwrite")
    if overwrite:
        clear(output)
    own_now = settings.now
    for _ in range(3):
        present = store.get(join(output, CLAIM))
        if present is not None:
            held = orjson.loads(present)
            if not now_given:
                settings = dataclasses.replace(settings, now=held["now"])
            digest = claim_digest(files_digest, settings)
            if digest == held["digest"]:
                if held.get("failed"):
                    store.put(join(output, CLAIM), _claim_body(digest, settings, command))
                return digest, settings
            if not held.get("failed"):
                raise Refused(
                    f"{output} belongs to another run: [{held['command']}]; this one is [{command}] (or its input "
                    "files have changed since): choose another --output, or replace that run with --overwrite"
                )
            clear(output)
            if not now_given:
                settings = dataclasses.replace(settings, now=own_now)
        digest = claim_digest(files_digest, settings)
        try:
            store.put_if_absent(join(output, CLAIM), _claim_body(digest, settings, command))
            return digest, settings
        except Conflict:
            continue  # somebody else was first: see who
    raise Refused(f"{output} is claimed and freed by other runs all the time: choose another --output")


def release(output: str, digest: str) -> None:
    """Mark the folder of a run that failed, so that a run with other flags need not ask for ``--overwrite``.

    An equal run that is still at work may publish all the same.
    """
    store = store_for(output)
    present = store.get(join(output, CLAIM))
    if present is None or store.get(join(output, MANIFEST)) is not None:
        return
    held = orjson.loads(present)
    if held["digest"] == digest:
        store.put(join(output, CLAIM), orjson.dumps({**held, "failed": True}, option=orjson.OPT_INDENT_2))


def _claim_body(digest: str, settings: Settings, command: str) -> bytes:
    body = {"format": FORMAT, "digest": digest, "now": settings.now, "command": command}
    return orjson.dumps(body, option=orjson.OPT_INDENT_2)


def check_claim(output: str, digest: str) -> None:
    """Make sure that the folder is still this run's.

    Raises:
        NotOurs: it is not.
    """
    present = store_for(output).get(join(output, CLAIM))
    if present is None or orjson.loads(present)["digest"] != digest:
        raise NotOurs(
            f"{output} was taken by another run (--overwrite) while this one was at work: this one is not published"
        )


def clear(output: str) -> None:
    """Remove a run from its folder, the manifest first, so that no reader takes what is left for a run."""
    store = store_for(output)
    store.delete(join(output, MANIFEST))
    for path in _own_paths(output):
        store.delete(path)
    store.delete(join(output, CLAIM))


def sweep(output: str, keep: Iterable[str]) -> None:
    """Remove what an interrupted run left in the folder and this one does not name."""
    kept = {join(output, path) for path in (*keep, CLAIM, MANIFEST)}
    store = store_for(output)
    for path in _own_paths(output):
        if path not in kept:
            store.delete(path)


def tidy(output: str) -> None:
    """Remove from a finished folder what its manifest does not name: a run that lost the folder may still have written
    after the winner's sweep. Does nothing where there is no manifest.
    """
    present = store_for(output).get(join(output, MANIFEST))
    if present is not None:
        sweep(output, [entry["path"] for entry in orjson.loads(present)["files"]])


def manifest(files: Iterable[Written]) -> bytes:
    """The manifest's bytes, the same for the same files in any order."""
    entries = [dataclasses.asdict(file) for file in sorted(files, key=_path_bytes)]
    return orjson.dumps({"format": FORMAT, "files": entries}, option=orjson.OPT_INDENT_2)


def finish(output: str, digest: str, files: Sequence[Written], reports: dict[str, bytes]) -> None:
    """Publish the run: sweep, reports, then the manifest as the last act.

    Two equal runs may do this at once: each checks that the manifest agrees with the reports that stand beside it.

    Raises:
        NotOurs: the folder is another run's by now.
        Conflict: a file is not what this run wrote.
    """
    store = store_for(output)
    check_claim(output, digest)
    sweep(output, [*(file.path for file in files), *reports])
    for file in files:
        entry = store.entry(join(output, file.path))
        if entry is None or entry.size != file.bytes:
            raise Conflict(
                f"{join(output, file.path)} is not what this run wrote: does another run write here? Run again when it "
                "is through"
            )
    present = store.get(join(output, MANIFEST))
    if present is not None:
        names = {file.path: file.sha256 for file in files}
        if {e["path"]: e["sha256"] for e in orjson.loads(present)["files"] if e["path"] not in reports} == names:
            return  # an equal run, at work beside this one, has published these very bytes
    body = manifest([*files, *(describe(path, data, None) for path, data in reports.items())])
    for _ in range(5):
        for path, data in reports.items():
            store.put(join(output, path), data)
        check_claim(output, digest)
        store.put(join(output, MANIFEST), body)
        if all(store.get(join(output, path)) == data for path, data in reports.items()):
            tidy(output)
            return
    raise Conflict(f"{output}: an equal run keeps writing its reports beside this one; let one of them finish")


def inside(output: str, inputs: Iterable[str]) -> str | None:
    """The input that an output folder is, or lies below; None where it lies apart."""
    place = store_for(output).absolute(output)
    return next((source for source in inputs if below(place, store_for(source).absolute(source))), None)


def _own_paths(output: str) -> list[str]:
    store = store_for(output)
    if not store.is_folder(output):
        return []
    prefix = len(join(output, ""))
    found = [entry.path for entry in store.list(output)]
    return [p for p in found if p[prefix:].split("/")[0] in {*FOLDERS, *REPORTS} or is_temporary(p)]


def _refuse_foreign(output: str) -> None:
    """A folder with files of someone else's is never written into, nor cleared."""
    store = store_for(output)
    if store.entry(output) is not None:
        raise Refused(f"--output {output} is a file: name a folder")
    if not store.is_folder(output):
        return
    prefix = len(join(output, ""))
    try:
        for entry in store.list(output):
            name = entry.path[prefix:].split("/")[0]
            if name not in {*FOLDERS, *REPORTS, MANIFEST, CLAIM} and not is_temporary(entry.path):
                raise Refused(f"{output} holds [{name}], which is no run's: choose an empty or new folder for --output")
    except FileNotFoundError:
        return  # a run that shares the folder swept it while we looked


def _path_bytes(file: Written) -> bytes:
    return file.path.encode()
