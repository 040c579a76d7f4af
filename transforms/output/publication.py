"""How a run becomes visible: every file under its final name, and ``_manifest.json`` as the last act.

The manifest names every file with rows, bytes and SHA-256. Nothing in between looks finished, and nothing is renamed.
"""

from __future__ import annotations

import builtins
import contextlib
import dataclasses
import hashlib
import random
import time
from collections.abc import Iterable, Sequence

import orjson

from transforms.errors import Conflict, FolderTaken
from transforms.output.claims import FORMAT, hold
from transforms.output.folder import MANIFEST, REPORTS, is_own, own_sizes, reports_agree, sweep
from transforms.stores.store import join, store_for


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
        LookupError: nobody described files of that name, so that no run could be told by them.
        Conflict: a different run writes into the folder.
    """
    if not is_own(path):
        raise LookupError(
            f"[{path}] is not a name of an output file: describe its kind in transforms.vocabulary.outputs"
        )
    full = join(output, path)
    store_for(full).put_if_absent(full, data)
    return describe(path, data, rows)


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

    Equal runs may do this at once. Their reports differ and the last one's stay, so each goes on until the manifest
    that stands there names the reports beside it.

    Raises:
        FolderTaken: the folder is another run's by now.
        Conflict: a file is not what this run wrote.
    """
    store = store_for(output)
    hold(output, digest)
    _check_sizes(output, files, sweep(output, [*(file.path for file in files), *reports]))
    body = manifest([*files, *(describe(path, data, None) for path, data in reports.items())])
    for attempt in range(20):
        found = store.load(join(output, MANIFEST))
        if found is not None and _is_of(found[0], files) and reports_agree(output, found[0]):
            tidy(output)
            return
        time.sleep(random.uniform(0, 0.05 * attempt))  # two runs in step would go on for ever
        for path, data in reports.items():
            store.put(join(output, path), data)
        hold(output, digest)
        with contextlib.suppress(Conflict):  # an equal run's has just come: see whether it agrees
            if found is None:
                store.put_if_absent(join(output, MANIFEST), body)
            else:
                store.put(join(output, MANIFEST), body, found[1])
        _prove(output, digest, files, body)
    raise Conflict(f"{output}: an equal run keeps writing its reports beside this one; let one of them finish")


def _check_sizes(output: str, files: Sequence[Written], sizes: dict[str, int]) -> None:
    for file in files:
        if sizes.get(file.path) != file.bytes:
            raise Conflict(
                f"{join(output, file.path)} is not what this run wrote: does another run write here? Run again when it "
                "is through"
            )


def _prove(output: str, digest: str, files: Sequence[Written], body: builtins.bytes) -> None:
    """Take the manifest back where another run took the folder while it was on its way.

    Who takes a folder removes the manifest after changing the claim, so one of the two sees what the other did.
    """
    store = store_for(output)
    prefix = len(join(output, ""))
    try:
        hold(output, digest)
        _check_sizes(output, files, {path[prefix:]: size for path, size in own_sizes(output).items()})
    except (Conflict, FolderTaken) as error:
        if store.get(join(output, MANIFEST)) == body:
            store.delete([join(output, MANIFEST)])
        raise FolderTaken(str(error)) from error


def _is_of(body: bytes, files: Sequence[Written]) -> bool:
    """Whether a manifest is an equal run's: of these very files."""
    named = {entry["path"]: entry["sha256"] for entry in orjson.loads(body)["files"]}
    return {path: digest for path, digest in named.items() if path not in REPORTS} == {
        file.path: file.sha256 for file in files
    }


def _path_bytes(file: Written) -> bytes:
    return file.path.encode()
