"""Cuts ``--input`` at its commas, but where a name that exists has one."""

from __future__ import annotations

from transforms.errors import StoreUnavailable, UsageError
from transforms.stores.places import place
from transforms.stores.store import store_for


def split_inputs(text: str) -> tuple[str, ...]:
    """The inputs of ``--input``. A file or folder whose very name has commas is one.

    Raises:
        UsageError: there is none; or a name with a comma exists, and what it would be cut into exists too.
    """
    parts = text.split(",")
    found: list[str] = []
    at = 0
    while at < len(parts):
        end = next((end for end in range(len(parts), at + 1, -1) if _is_one(parts[at:end])), at + 1)
        if part := place(",".join(parts[at:end]).strip()):
            found.append(part)
        at = end
    if not found:
        raise UsageError("--input is empty: give it a value or leave it out")
    return tuple(found)


def _is_one(parts: list[str]) -> bool:
    # What begins like a whole path is one; so a list of whole paths asks nobody.
    if any(part.strip().startswith("/") or "://" in part for part in parts[1:]):
        return False
    whole = ",".join(parts).strip()
    if not _exists(whole):
        return False
    names = [part.strip() for part in parts]
    if all(name and _exists(name) for name in names):
        raise UsageError(
            f"--input {whole}: a file or folder has exactly that name, and each of {', '.join(names)} exists too: "
            f"write {whole.replace(',', '?')} for the one, or {',./'.join(names)} for all"
        )
    return True


def _exists(text: str) -> bool:
    try:
        path = place(text)
        store = store_for(path)
    except StoreUnavailable:  # said when it is listed
        return False
    whole = store.absolute(path)
    return store.entry(whole) is not None or store.is_folder(whole)
