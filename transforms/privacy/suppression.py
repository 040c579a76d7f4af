"""Persons who must stay out of every run: their ids, from a file, and whom of a resolution they mean."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.errors import StoreError, UsageError
from transforms.evidence.ids import EXTERNAL_USER_ID, USER_ID
from transforms.identity.resolution import Resolution
from transforms.settings import Settings
from transforms.stores.store import store_for

_KINDS = {"user_id": USER_ID, "external_user_id": EXTERNAL_USER_ID}
_LINES_NAMED = 10


class Suppressed(NamedTuple):
    """The ids of a file, each once, in bytewise order, and a digest of them."""

    user_ids: tuple[str, ...]
    external_user_ids: tuple[str, ...]

    @property
    def digest(self) -> str:
        return hashlib.sha256("\0".join([*self.user_ids, "", *self.external_user_ids]).encode()).hexdigest()


def read_suppressed(path: str) -> Suppressed:
    """The ids of a file in any store: one a line, behind ``user_id:`` or ``external_user_id:``.

    Raises:
        UsageError: the file is not there, is not text, or has a line of another form.
        StoreError: it cannot be read.
    """
    content = store_for(path).get(path)
    if content is None:
        raise UsageError(f"--suppress {path} is not a file")
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UsageError(f"--suppress {path} is not text in UTF-8") from None
    found: dict[str, set[str]] = {kind: set() for kind in _KINDS}
    unfit = []
    for number, line in enumerate(lines, start=1):
        kind, colon, name = line.strip().partition(":")
        if colon and kind in found and name.strip():
            found[kind].add(name.strip())
        elif line.strip():
            unfit.append(number)
    if unfit:
        more = f" and {len(unfit) - _LINES_NAMED:,} more" if len(unfit) > _LINES_NAMED else ""
        raise UsageError(
            f"--suppress {path}: line(s) {', '.join(map(str, unfit[:_LINES_NAMED]))}{more} do not have the form "
            "user_id:ID or external_user_id:ID"
        )
    return Suppressed(*(tuple(sorted(found[kind])) for kind in _KINDS))


class SuppressedPersons:
    """Whom the ids of a file mean in a resolution: everybody in a cluster with one of them.

    Attributes:
        profiles: of each Braze profile, counted from the first, whether it is such a person's (bool).
        known_users: external ids that are such persons', whether they have a Braze profile or not.
    """

    def __init__(self, ids: Suppressed, resolution: Resolution) -> None:
        graph = resolution.graph
        begin, end = graph.first[USER_ID], graph.first[USER_ID + 1]
        named = np.zeros(graph.size, bool)
        for kind, asked in ((USER_ID, ids.user_ids), (EXTERNAL_USER_ID, ids.external_user_ids)):
            names = graph.of_type(kind)
            chosen = pc.is_in(names, value_set=pa.array(asked, names.type)).to_numpy(zero_copy_only=False)
            named[graph.first[kind] : graph.first[kind + 1]] = chosen
        clusters = np.zeros(graph.size, bool)
        clusters[resolution.cluster[named]] = True
        meant = clusters[resolution.cluster]
        self.profiles = meant[begin:end]
        users = graph.of_type(EXTERNAL_USER_ID)
        first, last = graph.first[EXTERNAL_USER_ID], graph.first[EXTERNAL_USER_ID + 1]
        of_persons = users.filter(pa.array(meant[first:last])).cast(pa.string())
        self.known_users = pa.concat_arrays([of_persons, pa.array(ids.external_user_ids, pa.string())]).unique()


def suppressed_persons(settings: Settings, resolution: Resolution) -> SuppressedPersons | None:
    """Whom ``--suppress`` means; None without it.

    Raises:
        StoreError: the file is not what it was when the run began.
    """
    if settings.suppress is None:
        return None
    found = read_suppressed(settings.suppress)
    if found.digest != settings.suppress_digest:
        raise StoreError(
            f"--suppress {settings.suppress} is not what the run began with: run again once it is complete"
        )
    return SuppressedPersons(found, resolution)
