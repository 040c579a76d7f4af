"""Who each row belongs to: its own external id, or what the resolver found out about its profile.

A unit is told one line of ``ANSWERS`` a profile, in the order in which it named them; so a row's profile is found by
its number, and no string is looked up.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.arrow.columns import array
from transforms.evidence.ids import USER_ID, usable
from transforms.evidence.links import NO_PROFILE
from transforms.evidence.own_ids import own_ids


@dataclasses.dataclass(frozen=True)
class Persons:
    """The person of each row; all arrays have one entry a row.

    Attributes:
        own: the row's own usable ``external_user_id``, or null.
        profile: the row's usable Braze profile id, or null.
        user: the known user the row belongs to, or null.
        device: the profile id as ``$device_id``: null where the profile belongs to another known user.
        suppressed: whether the row names a person, by its profile or its own id, who is to stay out of every run.
        via, deleted, whole_person: what the resolver said of the profile.
        by_connector: whether Braze's own connector sends a row with such an external id, and Mixpanel takes it.
        left_out: not by row: the external ids that are not known users, as ``OwnIds.left_out``.
        is_profiles: whether the row's person is the one that its profile is; ``person`` is then that one's hash.
    """

    own: pa.Array
    profile: pa.Array
    user: pa.Array
    device: pa.Array
    via: np.ndarray
    deleted: np.ndarray
    whole_person: np.ndarray
    suppressed: np.ndarray
    by_connector: np.ndarray
    left_out: dict[str, dict[str, int]]
    is_profiles: np.ndarray
    person: np.ndarray


class Profiles:
    """What a unit was told about its profiles."""

    def __init__(
        self,
        answers: pa.Table,
        no_id: tuple[str, ...] = (),
        crowd: pa.Array | None = None,
        suppressed: pa.Array | None = None,
    ) -> None:
        """``answers``: ``ANSWERS`` in the order of the profiles' numbers; ``no_id``: more words for nobody; ``crowd``:
        the external ids that were dropped as many profiles' (see ``own_ids``); ``suppressed``: those of persons who
        are to stay out.
        """
        self._no_id = no_id
        self._crowd = crowd
        self._nobody = np.uint32(answers.num_rows)  # one line more, for rows of no profile
        self._known = pa.concat_arrays([array(answers["known_user"]).cast(pa.string()), pa.nulls(1, pa.string())])
        self._suppressed_users = suppressed if suppressed is not None and len(suppressed) else None
        self._via, self._deleted, self._whole, self._suppressed, self._person = (
            np.append(answers[name].to_numpy(), nothing)
            for name, nothing in (
                ("via", np.int8(0)), ("deleted", False), ("whole_person", True), ("suppressed", False),
                ("person", np.uint64(0)),
            )
        )  # fmt: skip

    def persons(self, user_id: pa.Array, external_user_id: pa.Array, profile: np.ndarray) -> Persons:
        """The persons of rows (two string arrays, nulls where a row names none), by the numbers of their profiles."""
        line = np.minimum(profile, self._nobody)
        known = self._known.take(pa.array(line))
        own, by_connector, left_out = self._own(external_user_id, known)
        conflict = pc.fill_null(pc.not_equal(own, known), False)
        names = self._named(user_id, profile)
        device = pc.if_else(conflict, pa.scalar(None, pa.string()), names) if pc.any(conflict).as_py() else names
        is_profiles = (
            (profile != NO_PROFILE) & ~np.asarray(conflict) & np.asarray(pc.or_(own.is_null(), known.is_valid()))
        )
        return Persons(
            own, names, pc.coalesce(own, known), device, self._via[line], self._deleted[line], self._whole[line],
            self._stays_out(own, self._suppressed[line]),
            by_connector, left_out, is_profiles, self._person[line],
        )  # fmt: skip

    def _stays_out(self, own: pa.Array, by_profile: np.ndarray) -> np.ndarray:
        if self._suppressed_users is None:
            return by_profile
        users = self._suppressed_users.cast(own.type)
        return by_profile | np.asarray(pc.is_in(own, value_set=users))

    def _own(
        self, external_user_id: pa.Array, known: pa.Array
    ) -> tuple[pa.Array, np.ndarray, dict[str, dict[str, int]]]:
        """The rows' own external ids as of ``own_ids``: those that the profile is known by need no second look."""
        there = external_user_id.is_valid()
        doubtful = np.flatnonzero(
            np.asarray(there) & ~np.asarray(pc.fill_null(pc.equal(external_user_id, known), False))
        )
        by_connector = np.array(there)
        if not doubtful.size:
            return external_user_id, by_connector, {}
        found = own_ids(external_user_id.take(pa.array(doubtful)), self._no_id, self._crowd)
        by_connector[doubtful] = found.by_connector
        if not found.left_out and found.known.null_count == 0:
            return external_user_id, by_connector, {}
        mask = np.zeros(len(by_connector), bool)
        mask[doubtful] = True
        own = pc.replace_with_mask(external_user_id, pa.array(mask), found.known)
        return own, by_connector, found.left_out

    def _named(self, user_id: pa.Array, profile: np.ndarray) -> pa.Array:
        """The rows' profiles, null where what stands there names nobody; what has a number does name somebody."""
        doubtful = np.flatnonzero((profile == NO_PROFILE) & np.asarray(user_id.is_valid()))
        if not doubtful.size:
            return user_id
        encoded = user_id.take(pa.array(doubtful)).dictionary_encode()
        good = usable(encoded.dictionary, USER_ID, self._no_id)[np.asarray(encoded.indices)]
        if good.all():
            return user_id
        nobody = np.zeros(len(user_id), bool)
        nobody[doubtful[~good]] = True
        return pc.if_else(pa.array(nobody), pa.scalar(None, pa.string()), user_id)
