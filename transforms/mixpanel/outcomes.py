"""What becomes of each row: exactly one outcome, the first that applies in the order below."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.avro.broken_text import BrokenText
from transforms.currents import catalog
from transforms.currents.broken_fields import broken_ids, broken_names
from transforms.currents.globs import glob_regex
from transforms.evidence.ids import given
from transforms.mixpanel.events import column, is_identity_only
from transforms.mixpanel.persons import Persons
from transforms.settings import WITHHOLD, Settings
from transforms.vocabulary.rows import OUTCOMES, REJECTS, WITHHELD


@dataclasses.dataclass
class Fates:
    """One number a row: the position in ``OUTCOMES``; for withheld and rejected rows the position of the reason."""

    outcome: np.ndarray
    reason: np.ndarray

    @classmethod
    def undecided(cls, rows: int) -> Fates:
        return cls(np.zeros(rows, np.int8), np.full(rows, -1, np.int8))

    def decide(self, mask: np.ndarray, outcome: str, reason: int = -1) -> None:
        """Give an outcome to the rows of the mask that have none yet."""
        chosen = mask & (self.outcome == 0)
        self.outcome[chosen] = OUTCOMES.position(outcome)
        self.reason[chosen] = reason

    def reject(self, mask: np.ndarray, reason: str) -> None:
        self.decide(mask, "rejects", REJECTS.position(reason))

    def withhold(self, mask: np.ndarray, reason: str) -> None:
        self.decide(mask, "withheld", WITHHELD.position(reason))

    def overrule(self, rows: np.ndarray, reason: str) -> None:
        """Reject rows (by position) that only their formatting found unfit."""
        self.outcome[rows], self.reason[rows] = OUTCOMES.position("rejects"), REJECTS.position(reason)

    def are(self, outcome: str) -> np.ndarray:
        return self.outcome == OUTCOMES.position(outcome)


def decide(
    event_type: str,
    table: pa.Table,
    names: pa.Array,
    who: Persons,
    repeats: np.ndarray,
    broken: BrokenText,
    settings: Settings,
) -> Fates:
    """The outcome of every row of one event type; ``repeats`` marks rows that came before, in this file or another."""
    count = table.num_rows
    every = np.ones(count, bool)
    fates = Fates.undecided(count)
    times = pc.fill_null(column(table, "time"), 0).to_numpy(zero_copy_only=False)
    fates.reject(~given(column(table, "id")), "missing_id")
    fates.reject(broken_ids(broken, count) | broken_names(event_type, broken, count), "invalid_utf8")
    fates.reject(~settings.valid_times(times), "time_invalid")
    fates.decide(repeats, "repeats")
    if event_type != catalog.USER_DELETE_REQUEST:  # of which the person's deletion is made
        fates.withhold(who.suppressed, "suppressed")
    if is_identity_only(event_type):
        fates.decide(every, "identity_only")
    elif event_type == catalog.USER_DELETE_REQUEST:
        fates.reject(~np.asarray(who.profile.is_valid()), "missing_user_id")
        fates.decide(every, "deletions")
    elif is_not_exported(event_type, settings):
        fates.decide(every, "not_exported")
    else:
        _withhold(fates, event_type, table, names, who, settings)
        fates.decide(every, "profile_updates" if event_type == catalog.PROFILE_UPDATE else "events")
    return fates


def is_not_exported(event_type: str, settings: Settings) -> bool:
    """Whether the type has no Mixpanel form and ``--event_types`` does not name it."""
    known = catalog.event_types().get(event_type)
    if known is None or known.mixpanel_event is not None or event_type == catalog.PROFILE_UPDATE:
        return False
    return settings.event_types is None or not is_wanted(event_type, settings)


def is_wanted(event_type: str, settings: Settings) -> bool:
    """Whether ``--event_types`` names the type, by itself or by a glob."""
    return settings.event_types is None or any(
        re.fullmatch(glob_regex(pattern), event_type) for pattern in settings.event_types
    )


def _withhold(
    fates: Fates, event_type: str, table: pa.Table, names: pa.Array, who: Persons, settings: Settings
) -> None:
    every = np.ones(table.num_rows, bool)
    profile_update = event_type == catalog.PROFILE_UPDATE
    has_own = np.asarray(who.own.is_valid())
    anonymous = ~(has_own if settings.id_merge == "native" else np.asarray(who.user.is_valid()))
    if not is_wanted(event_type, settings):
        fates.withhold(every, "event_type")
    if settings.unknown_fields == WITHHOLD and event_type not in catalog.event_types():
        fates.withhold(every, "unknown_type")
    windowed = settings.events_since is not None or settings.events_until is not None
    known = catalog.event_types().get(event_type)
    left = settings.native_since is not None and known is not None and known.sent_by_native_connector
    if left or (windowed and not profile_update):
        times = pc.fill_null(column(table, "time"), 0).to_numpy(zero_copy_only=False)
    # A profile update is not an event of one time: the latest value is the one to have.
    if windowed and not profile_update:
        if settings.events_since is not None:
            fates.withhold(times < settings.events_since, "outside_window")
        if settings.events_until is not None:
            fates.withhold(times >= settings.events_until, "outside_window")
    if settings.exclude_events and not profile_update:
        matches = _any_match(settings.exclude_events)
        excluded = np.array([matches(name) for name in names.dictionary.to_pylist()], bool)
        fates.withhold(excluded[names.indices.to_numpy(zero_copy_only=False)], "excluded")
    if settings.id_merge == "native":
        fates.withhold(~has_own, "native_drops")
    if left and settings.native_since is not None:
        fates.withhold(who.by_connector & (times >= settings.native_since), "left_to_native")
    if profile_update:
        fates.withhold(anonymous, "anonymous_profile")
    elif settings.anonymous == "none" or (
        settings.anonymous == "behaviors" and not event_type.startswith(catalog.BEHAVIORS)
    ):
        fates.withhold(anonymous, "anonymous")
    if settings.deleted_users == "drop":
        fates.withhold(who.deleted, "deleted_user")
    if profile_update and settings.profile_updates == "off":
        fates.withhold(every, "profile_updates_off")
    if settings.users_share < 1:
        fates.withhold(_sampled_out(table, who, settings.users_share), "sampled_out")


def _any_match(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    regex = re.compile("|".join(f"(?:{glob_regex(pattern)})" for pattern in patterns), re.DOTALL)
    return lambda name: regex.fullmatch(name) is not None


def person_keys(table: pa.Table, who: Persons) -> pa.Array:
    """One string a row that names its person: the known user, else the profile, else the event itself."""
    return pc.coalesce(
        pc.binary_join_element_wise("user:", who.user, ""),
        pc.binary_join_element_wise("profile:", who.profile, ""),
        pc.binary_join_element_wise("event:", column(table, "id"), ""),
    )


def _sampled_out(table: pa.Table, who: Persons, share: float) -> np.ndarray:
    """Rows of persons outside the share: the same persons in every run, file and order."""
    encoded = person_keys(table, who).dictionary_encode()
    out = np.array([_position(person) >= share for person in encoded.dictionary.to_pylist()], bool)
    indices = pc.fill_null(encoded.indices, 0).to_numpy(zero_copy_only=False)
    return out[indices] if len(out) else np.zeros(table.num_rows, bool)


def _position(person: str) -> float:
    digest = hashlib.blake2b(person.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
