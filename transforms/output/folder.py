"""What of an output folder is a run's: the names that runs write; no other is ever removed."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable

import orjson

from transforms.currents.paths import below
from transforms.errors import OutputFolderError
from transforms.stores.store import is_temporary, join, store_for
from transforms.vocabulary.outputs import OUTPUT_FILES, OWN_NAMES

MANIFEST = "_manifest.json"
CLAIM = "_claim.json"
REPORTS = ("report.json", "report.html")
DELIVERY = "_delivery/"  # what deliveries of the run leave there; no run touches it

_PLAN = "_plan"
_OWN = re.compile(rf"report\.(json|html)|{OWN_NAMES.pattern}|{_PLAN}/part-\d+\.units")
_FOLDERS = frozenset({_PLAN, *(kind.folder for kind in OUTPUT_FILES)})


def is_own(path: str) -> bool:
    """Whether a path, relative to the output, is one that runs write before their manifest."""
    return _OWN.fullmatch(path) is not None


def own_sizes(output: str) -> dict[str, int]:
    """Size by whole path of every file that runs write before their manifest, left-over temporary ones among them."""
    store = store_for(output)
    if not store.is_folder(output):
        return {}
    prefix = len(join(output, ""))
    return {
        entry.path: entry.size
        for entry in store.list(output)
        if _OWN.fullmatch(entry.path, prefix)
        or (is_temporary(entry.path) and not entry.path.startswith(DELIVERY, prefix))
    }


def sweep(output: str, keep: Iterable[str]) -> dict[str, int]:
    """Remove what an interrupted run left in the folder and this one does not name.

    Returns the sizes of what is kept, by paths relative to the output.
    """
    sizes = own_sizes(output)
    prefix = join(output, "")
    kept = {prefix + path for path in keep}
    store_for(output).delete([path for path in sizes if path not in kept])
    return {path[len(prefix) :]: size for path, size in sizes.items() if path in kept}


def reports_agree(output: str, manifest: bytes) -> bool:
    """Whether the reports that stand in the folder are those that its manifest names."""
    for entry in orjson.loads(manifest)["files"]:
        if entry["path"] in REPORTS:
            data = store_for(output).get(join(output, entry["path"]))
            if data is None or hashlib.sha256(data).hexdigest() != entry["sha256"]:
                return False
    return True


def refuse_foreign(output: str) -> None:
    """A folder with files of someone else's is never written into, nor cleared; the first is looked for, not all.

    Raises:
        OutputFolderError: it has some, or is a file.
    """
    store = store_for(output)
    entry = store.entry(output)
    if entry is not None and not (store.remote and entry.size == 0):  # some tools mark a folder by an empty object
        raise OutputFolderError(f"--output {output} is a file: name a folder")
    if not store.is_folder(output):
        return
    prefix = len(join(output, ""))
    with contextlib.suppress(FileNotFoundError):  # a run that shares the folder swept it while we looked
        for entry in store.list(output):
            name = entry.path[prefix:]
            marks_folder = store.remote and entry.size == 0 and name in _FOLDERS
            if not (
                name in (MANIFEST, CLAIM)
                or name.startswith(DELIVERY)
                or _OWN.fullmatch(name)
                or is_temporary(name)
                or marks_folder
            ):
                raise OutputFolderError(
                    f"{output} holds [{name}], which is not a run's: choose an empty or new folder for --output"
                )


def refuse_delivered(output: str) -> None:
    """A run that was delivered, or begun to be, is not replaced: its ledger says what of it is in Mixpanel.

    Raises:
        OutputFolderError: it was.
    """
    if store_for(output).is_folder(join(output, DELIVERY.rstrip("/"))):
        raise OutputFolderError(
            f"{output} has a {DELIVERY}, which says what of this run is in Mixpanel already: choose another --output"
        )


def inside(output: str, inputs: Iterable[str]) -> str | None:
    """The input that an output folder is, or lies below; None where it lies apart."""
    place = store_for(output).absolute(output)
    return next((source for source in inputs if below(place, store_for(source).absolute(source))), None)
