"""Who each row belongs to: its own external id, or what the resolver found out about its profile.

``ANSWERS`` is what a unit is told about its profiles: only those with a known user, or that were deleted, are in it.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.identity.ids import USER_ID, usable
from transforms.identity.own_ids import own_ids

VIA = ("none", "own", "profile", "device")
"""How a profile came to its known user; an answer's ``via`` is the position in this list."""

ANSWERS = pa.schema(
    [
        pa.field("profile", pa.string(), False),
        pa.field("known_user", pa.string()),
        pa.field("via", pa.int8(), False),
        pa.field("deleted", pa.bool_(), False),
        pa.field("whole_person", pa.bool_(), False),
    ]
)


@dataclasses.dataclass(frozen=True)
class Persons:
    """The person of each row; all arrays have one entry a row.

    Attributes:
        own: the row's own usable ``external_user_id``, or null.
        profile: the row's usable Braze profile id, or null.
        user: the known user the row belongs to, or null.
        device: the profile id as ``$device_id``: null where the profile belongs to another known user.
        via, deleted, whole_person: what the resolver said of the profile.
        by_connector: whether Braze's own connector sends a row with such an external id, and Mixpanel takes it.
        left_out: not by row: the external ids that are not known users, as ``OwnIds.left_out``.
    """

    own: pa.Array
    profile: pa.Array
    user: pa.Array
    device: pa.Array
    via: np.ndarray
    deleted: np.ndarray
    whole_person: np.ndarray
    by_connector: np.ndarray
    left_out: dict[str, dict[str, int]]


def persons(
    user_id: pa.Array,
    external_user_id: pa.Array,
    answers: pa.Table,
    no_id: tuple[str, ...] = (),
    crowd: pa.Array | None = None,
) -> Persons:
    """The persons of rows (two string arrays, nulls where a row names none), by the answers about their profiles.

    ``no_id``: more words for nobody; ``crowd``: the external ids that were dropped as many profiles' (see ``own_ids``).
    """
    of_row = own_ids(external_user_id, no_id, crowd)
    own, by_connector, left_out = of_row.known, of_row.by_connector, of_row.left_out
    encoded = user_id.dictionary_encode()
    good = usable(encoded.dictionary, USER_ID, no_id)
    profile = user_id if good.all() else _without(encoded, good)
    count = len(user_id)
    if not answers.num_rows:
        nothing = np.zeros(count, bool)
        return Persons(own, profile, own, profile, np.zeros(count, np.int8), nothing, ~nothing, by_connector, left_out)
    # Looked up once a profile, then by its number; an unusable id is in no answer.
    found = pc.index_in(encoded.dictionary, value_set=answers["profile"])
    place = pc.take(found, encoded.indices)
    known = pc.take(answers["known_user"].combine_chunks(), place)
    conflict = pc.fill_null(pc.not_equal(own, known), False)
    device = pc.if_else(conflict, pa.scalar(None, pa.string()), profile) if pc.any(conflict).as_py() else profile
    rows = pc.fill_null(place, answers.num_rows).to_numpy(zero_copy_only=False)
    via, deleted, whole = (
        np.append(answers[name].to_numpy(), empty)[rows]
        for name, empty in (("via", np.int8(0)), ("deleted", False), ("whole_person", True))
    )
    return Persons(own, profile, pc.coalesce(own, known), device, via, deleted, whole, by_connector, left_out)


def _without(encoded: pa.DictionaryArray, good: np.ndarray) -> pa.Array:
    """The strings of a dictionary array, null where their dictionary entry is not good."""
    return pc.take(pc.if_else(pa.array(good), encoded.dictionary, pa.scalar(None, pa.string())), encoded.indices)
