"""Whose an output folder is: ``_claim.json``, created and changed by conditional puts alone.

The claim holds a digest of the inputs and of every flag that shapes the output. Equal runs may share a folder, one
after the other or at once, for they write equal bytes; a different one is refused. It also holds the versions of what
shapes those bytes: an equal run under others does not go on with files that are there already.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from transforms.errors import Conflict, FolderTaken, OutputFolderError, StoreError
from transforms.output.folder import CLAIM, MANIFEST, own_sizes, refuse_delivered, refuse_foreign, reports_agree
from transforms.output.versions import differing, output_versions
from transforms.settings import Settings
from transforms.stores.store import is_temporary, join, patient, store_for

FORMAT = 1
# Settings that decide whether a run is published and not what it holds: who loosens one goes on with the same folder.
# What ``read_until`` leaves out shows in the digest of the files.
# Where the key of the hashes and the ids to suppress are does not matter: what shapes the output are their digests.
_GUARDS = frozenset(
    {"max_reject_share", "mixed_workspaces", "read_whole_rows", "read_until", "hash_key_file", "suppress"}
)
_FAILED = "failed"  # in a claim: true where the run failed and its folder is free
_CLEARING = "clearing"  # in a claim: a text of its own while its run removes what was there before
_WHOLE_ROWS = "read_whole_rows"  # in a claim: true where pass 1 reads whole rows, whose evidence may be another
_VERSIONS = "versions"  # in a claim: of what shapes bytes, by name; claims of older releases have none
_CLEARING_SECONDS = 30.0  # without a sign of life from the run that clears; longer than it tries to delete
_DELETING_SECONDS = 15.0
_DELETED_AT_ONCE = 1_000
_ATTEMPTS = 20


def claim_digest(files_digest: str, settings: Settings) -> str:
    """SHA-256 over the digest of the inputs (``Export.digest``) and the settings that shape the output."""
    shaping = {name: value for name, value in dataclasses.asdict(settings).items() if name not in _GUARDS}
    return hashlib.sha256(orjson.dumps([FORMAT, shaping, files_digest], option=orjson.OPT_SORT_KEYS)).hexdigest()


def claim(
    output: str,
    files_digest: str,
    settings: Settings,
    command: str,
    *,
    now_given: bool,
    overwrite: bool,
    digest_until: Callable[[int | None], str] | None = None,
) -> tuple[str, Settings]:
    """Take the folder for this run; returns (digest, settings) as claimed.

    A run without ``--now`` that goes on where an equal one was killed takes over that one's clock, and with it the hour
    up to which files are read: ``digest_until`` gives their digest for another hour than ``settings.read_until``. A
    folder whose run failed is free for any other. Of different runs that reach for a folder at once, one has it.

    Raises:
        OutputFolderError: the folder holds a finished run, another run, files that are none of ours, or files that an
            equal run wrote under other versions of what shapes their bytes.
    """
    versions = output_versions()
    refuse_foreign(output)
    if overwrite:
        refuse_delivered(output)
    store, path = store_for(output), join(output, CLAIM)
    for attempt in range(_ATTEMPTS):
        found = store.load(path)
        content, version = found or (b"{}", None)
        held = _read(path, content, overwrite)
        theirs = settings if now_given or not held else _with_clock(settings, held)
        their_files = files_digest
        if digest_until is not None and theirs.read_until != settings.read_until and (not overwrite or attempt):
            their_files = digest_until(theirs.read_until)
        is_equal = claim_digest(their_files, theirs) == held.get("digest")
        published = None if overwrite or _CLEARING in held else store.get(join(output, MANIFEST))
        # Killed while it took the place of an equal run's, a run may have left its own reports: that is put right.
        if published is not None and not (is_equal and not reports_agree(output, published)):
            raise OutputFolderError(
                f"{output} holds a finished run: choose another --output, or replace it with --overwrite"
            )
        other_versions = differing(held.get(_VERSIONS, {}), versions)
        # With --overwrite, an equal one that came between began when this one did.
        joins = is_equal and (not overwrite or (attempt > 0 and not other_versions))
        if held and not (joins or overwrite or held.get(_FAILED)):
            raise OutputFolderError(
                f"{output} belongs to another run: [{held['command']}]; this one is [{command}] (or its input "
                "files have changed since): choose another --output, or replace that run with --overwrite"
            )
        if joins and other_versions and _CLEARING not in held:
            _refuse_other_versions(output, *other_versions)
        own = theirs if joins else settings
        if joins and held.get(_WHOLE_ROWS):
            own = dataclasses.replace(own, read_whole_rows=True)
        digest = claim_digest(their_files if joins else files_digest, own)
        body: dict[str, Any] = {"format": FORMAT, "digest": digest, "now": own.now, "command": command}
        body[_VERSIONS] = versions
        if own.read_until is not None:
            body["read_until"] = own.read_until
        if own.read_whole_rows:
            body[_WHOLE_ROWS] = True
        try:
            if _CLEARING in held or (held and not is_equal) or (overwrite and not joins):
                _take_over(output, body, held, version)
            elif not held or held.get(_FAILED) or other_versions:
                _put(output, body, version)
            _check_conditions(output)
            return digest, own
        except Conflict:
            continue  # somebody else was first: see who
    raise OutputFolderError(f"{output} keeps being claimed and freed by other runs: choose another --output")


def _refuse_other_versions(output: str, theirs: str, ours: str) -> None:
    """A run goes on under other versions only where it has no files yet: some of each could differ in their bytes.

    Raises:
        OutputFolderError: the folder has files of the run.
    """
    if any(not is_temporary(path) for path in own_sizes(output)):
        raise OutputFolderError(
            f"{output} holds files that this same run wrote with {theirs}; here is {ours}, which may write other "
            "bytes: resume with those versions, or write all of it again with --overwrite"
        )


def _with_clock(settings: Settings, held: dict[str, Any]) -> Settings:
    until = settings.read_until
    return dataclasses.replace(settings, now=held["now"], read_until=until and held.get("read_until", until))


def _read(path: str, content: bytes, overwrite: bool) -> dict[str, Any]:
    """A claim's figures; a place without conditional puts may hold a piece of one.

    Raises:
        OutputFolderError: it holds none, and is not to be overwritten.
    """
    try:
        held: dict[str, Any] = orjson.loads(content)
    except ValueError:
        if not overwrite:
            raise OutputFolderError(f"{path} is cut off: replace what was begun there with --overwrite") from None
        held = {"digest": None, "now": 0, "command": "unknown", _FAILED: True}
    return held


def _check_conditions(output: str) -> None:
    """Some that speak S3's language take the condition of a put and do not mind it: runs would mix there unnoticed.

    Raises:
        OutputFolderError: this store does so.
    """
    store, path = store_for(output), join(output, CLAIM)
    try:
        if not store.put_if_absent(path, b"a second claim"):
            return
    except Conflict:
        return
    store.delete([path])
    raise OutputFolderError(
        f"{output}: this store overwrites in spite of the condition (If-None-Match), so two runs could mix "
        "there unnoticed: choose another store for --output"
    )


def begin_again(output: str, digest: str, keep: Iterable[str]) -> None:
    """Say in the claim that the run is made again from whole rows, and remove what it has written, but for ``keep``
    (relative paths). Where the claim says so already, an equal run has.

    Raises:
        FolderTaken: the folder is another run's by now.
    """
    for _ in range(_ATTEMPTS):
        found = store_for(output).load(join(output, CLAIM))
        held = orjson.loads(found[0]) if found else {}
        if found is None or held["digest"] != digest or _CLEARING in held:
            break
        if held.get(_WHOLE_ROWS):
            return
        held.pop(_FAILED, None)
        with contextlib.suppress(Conflict):
            _take_over(output, {**held, _WHOLE_ROWS: True}, held, found[1], keep)
            return
    raise FolderTaken(f"{output} was taken by another run while this one was at work: this one is not published")


def _take_over(
    output: str, body: dict[str, Any], held: dict[str, Any], version: str | None, keep: Iterable[str] = ()
) -> None:
    """Remove the run that held the folder; the claim says so meanwhile, so that nobody else does. It changes with each
    batch: who sees it stand still may take the folder, and then nothing more is deleted here.

    Raises:
        Conflict: somebody else was first.
    """
    store, path = store_for(output), join(output, CLAIM)
    until = time.monotonic() + (_CLEARING_SECONDS if _CLEARING in held and not held.get(_FAILED) else 0)
    while time.monotonic() < until:  # the run that is clearing the folder may be alive
        time.sleep(0.2)
        found = store.load(path)
        if found is None or found[1] != version:
            raise Conflict(f"{path} has changed")
    kept = {join(output, name) for name in keep}
    clearing = _put(output, {**body, _CLEARING: secrets.token_hex(8)}, version)
    try:
        with patient(_DELETING_SECONDS):
            store.delete([join(output, MANIFEST)])  # first, so that no reader takes what is left for a run
            paths = [found for found in own_sizes(output) if found not in kept]
            for at in range(0, len(paths), _DELETED_AT_ONCE):
                clearing = _still_clearing(output, body, clearing)
                store.delete(paths[at : at + _DELETED_AT_ONCE])
    except Conflict:
        raise
    except BaseException:
        with contextlib.suppress(StoreError):
            release(output, body["digest"])
        raise
    _still_clearing(output, body, clearing, over=True)


def _still_clearing(output: str, body: dict[str, Any], clearing: bytes, over: bool = False) -> bytes:
    """A new sign of life in the claim, or the end of the clearing; returns the claim's bytes.

    Raises:
        Conflict: somebody else has taken this run for dead.
    """
    path = join(output, CLAIM)
    found = store_for(path).load(path)
    if found is None or found[0] != clearing:
        raise Conflict(f"{path} has changed")
    return _put(output, body if over else {**body, _CLEARING: secrets.token_hex(8)}, found[1])


def _put(output: str, body: dict[str, Any], version: str | None) -> bytes:
    """Write the claim in place of that version, or of none; returns its bytes.

    Raises:
        Conflict: it is another by now.
    """
    store, path = store_for(output), join(output, CLAIM)
    data = orjson.dumps(body, option=orjson.OPT_INDENT_2)
    if version is None:
        store.put_if_absent(path, data)
    else:
        store.put(path, data, version)
    return data


def hold(output: str, digest: str) -> None:
    """Make sure that the folder is still this run's, and no other's for the taking.

    Raises:
        FolderTaken: it is not.
    """
    for _ in range(_ATTEMPTS):
        found = store_for(output).load(join(output, CLAIM))
        held = orjson.loads(found[0]) if found else {}
        if found is None or held["digest"] != digest or _CLEARING in held:
            raise FolderTaken(
                f"{output} was taken by another run (--overwrite) while this one was at work: this one is not published"
            )
        if not held.pop(_FAILED, False):  # an equal one failed beside this one
            return
        with contextlib.suppress(Conflict):
            _put(output, held, found[1])
            return
    raise FolderTaken(f"{output} keeps being claimed and freed by other runs: this one is not published")


def release(output: str, digest: str) -> None:
    """Mark the folder of a run that failed, so that a run with other flags need not ask for ``--overwrite``.

    An equal run that is still at work may publish all the same.
    """
    store = store_for(output)
    found = store.load(join(output, CLAIM))
    if found is None or store.get(join(output, MANIFEST)) is not None:
        return
    held = orjson.loads(found[0])
    if held["digest"] == digest:
        with contextlib.suppress(Conflict):  # then it is somebody else's by now
            _put(output, {**held, _FAILED: True}, found[1])


def published_by_equal(output: str, digest: str) -> bool:
    """Whether the folder holds the finished run of this digest: this very run, or an equal one beside it."""
    store = store_for(output)
    held = orjson.loads(store.get(join(output, CLAIM)) or b"{}")
    if held.get("digest") != digest or _CLEARING in held:
        return False
    return store.get(join(output, MANIFEST)) is not None
