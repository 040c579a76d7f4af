"""What ids and links are: their types, their tables, and which values name no one."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.arrow.columns import plain, string_buffers
from transforms.arrow.hashing import hash_of
from transforms.vocabulary.persons import ANONYMOUS_PREFIX

ID_TYPES = ("device_id", "external_user_id", "user_id")
"""In bytewise order, so ids ordered by (position here, id) are ordered by (type, id) and by "type:id" too."""
DEVICE_ID, EXTERNAL_USER_ID, USER_ID = range(3)

OWN, PROFILE, DEVICE = 0, 1, 2
"""Ranks of links: own external id, orphan and survivor, device."""
BOUND = 3
"""Not a rank of links: by it the bound rows of a profile on a device (see ``catalog.EventType.bound``) go along."""

B_TYPES = (EXTERNAL_USER_ID, USER_ID, DEVICE_ID, DEVICE_ID)
"""The type of ``b``, by rank."""

LINKS = pa.schema(
    [
        pa.field("rank", pa.int8(), False),
        pa.field("a", pa.int32(), False),
        pa.field("b", pa.int32(), False),
        pa.field("time", pa.int64(), False),
        pa.field("event_id", pa.string(), False),
        pa.field("file", pa.dictionary(pa.int32(), pa.string()), False),
        pa.field("last", pa.int64(), False),
    ]
)
"""One link a row: ``a`` is the number of a profile, ``b`` that of an id of the type ``B_TYPES[rank]``.

Whose numbers they are depends on who says so. ``time`` (UNIX seconds), ``event_id`` ("" if missing) and ``file`` are
the link's evidence: over many rows the least (time, event id, file), strings compared by their UTF-8 bytes; of the rank
``BOUND``, over bound rows. ``last`` is then the latest of their times, and 0 elsewhere.
"""

DISALLOWED = frozenset(
    (
        *("00000000-0000-0000-0000-000000000000", "0", "-1", "anon", "anonymous", "nil", "<nil>", "none", "null"),
        *("n/a", "na", "undefined", "unknown", "true", "false", "[]", "{}", "lmy47d"),
    )
)
"""Values that Mixpanel takes for no id at all; compared without blanks around them and without case."""

NOBODY = frozenset(
    (
        *("[object object]", "(null)", "<null>", "nan", "guest", "not_authenticated", "(not set)"),
        "undefined undefined",
    )
)
"""Values that Mixpanel takes, but that a broken or missing sign-in gave to many people; compared likewise."""

STOCK_DEVICES = frozenset(
    (
        *("9774d56d682e549c", "dead00beef"),  # ANDROID_ID of whole models with Android 2.2, and a default of old ones
        *("e21833235b6eef10", "012345678912345", "0123456789abcdef"),  # emulators, and serial numbers never set
        *("02:00:00:00:00:00", "00:00:00:00:00:00"),  # what stands for a MAC address that an app may not see
        "***************",  # of phones that print their IMEI masked
    )
)
"""Device ids that many devices share; compared likewise. Those of zeros and dashes alone are not ids anyway."""

ID_BYTES = 1_000_000
"""From here on a value is not an id: Mixpanel refuses every event that has it."""

_LONGEST_EVENT_ID = 1_000
_INVISIBLE = "\u200b\u2060\ufeff"  # a space of no width, a joiner of words, a mark of byte order


def given(ids: pa.Array) -> np.ndarray:
    """True for each event id that is there: not null, empty or blank."""
    ids = plain(ids)
    start, end, data = string_buffers(ids)
    there = np.asarray(ids.is_valid()) & (end > start)
    if not there.any():
        return there
    # Most ids begin with a letter or digit; what begins with something else is looked at one by one.
    first = data[np.where(there, start, start[np.flatnonzero(there)[0]])]
    odd = np.flatnonzero(there & ((first <= 0x20) | (first >= 0x80)))
    if odd.size:
        there[odd] = [bool(text.strip()) for text in ids.take(pa.array(odd)).to_pylist()]
    return there


def short(event_ids: pa.Array) -> pa.Array:
    """Event ids, those of more than a thousand bytes by their beginning and a digest: here they only tell an order."""
    if not len(event_ids) or (pc.max(pc.binary_length(event_ids)).as_py() or 0) <= _LONGEST_EVENT_ID:
        return event_ids
    return pa.array(
        [
            text if text is None or len(text) <= _LONGEST_EVENT_ID else f"{text[:_LONGEST_EVENT_ID]}…{hash_of(text)}"
            for text in event_ids.to_pylist()
        ],
        event_ids.type,
    )


def usable(values: pa.Array, id_type: int, no_id: tuple[str, ...] = ()) -> np.ndarray:
    """True for each id of ``values`` that names someone.

    Not null, not blank, not huge, not only zeros and dashes, none of ``DISALLOWED``, ``NOBODY`` and ``no_id`` (folded
    words), no device of ``STOCK_DEVICES``, no external id that begins with ``ANONYMOUS_PREFIX``: one would be
    another profile's ``distinct_id``.

    Made for distinct values: those with blanks at an end or letters beyond ASCII are looked at one by one.
    """
    values = plain(values)
    count = len(values)
    if not count:
        return np.zeros(0, dtype=bool)
    words = _words(id_type, no_id)
    start, end, data = string_buffers(values)
    length = end - start
    some = length > 0
    result = some & (length < ID_BYTES) & np.asarray(values.is_valid())
    data = data if data.size else np.zeros(1, dtype=np.uint8)
    first = data[np.where(some, start, 0)]
    last = data[np.where(some, end - 1, 0)]
    odd = (first <= 0x20) | (last <= 0x20) | _is_zero_or_dash(first) & _is_zero_or_dash(last)
    used = data[start[0] : end[-1]]
    if used.size and used.max() >= 0x80:
        beyond_ascii = np.concatenate(([0], np.cumsum(used >= 0x80, dtype=np.int64)))
        odd |= beyond_ascii[end - start[0]] > beyond_ascii[start - start[0]]
    if id_type == EXTERNAL_USER_ID:
        odd |= first == ord(ANONYMOUS_PREFIX[0])
    brief = np.flatnonzero(result & ~odd & (length <= words.longest))
    if brief.size:
        lower = pc.ascii_lower(values.take(pa.array(brief)))
        result[brief[np.asarray(pc.is_in(lower, value_set=words.column.cast(lower.type)))]] = False
    slow = np.flatnonzero(result & odd)
    if slow.size:
        texts = values.take(pa.array(slow)).to_pylist()
        result[slow] = [_is_usable(text, id_type, words.folded) for text in texts]
    return result


def sent_by_connector(values: pa.Array) -> np.ndarray:
    """True for each external id (distinct values) with which Braze's own connector sends a row that Mixpanel takes.

    It knows null and empty only; Mixpanel then refuses ``DISALLOWED``. What names nobody here may well be sent there.
    """
    values = plain(values)
    length = pc.fill_null(pc.binary_length(values), 0).to_numpy(zero_copy_only=False)
    result: np.ndarray = (length > 0) & (length < ID_BYTES)
    doubtful = np.flatnonzero(result & ~usable(values, USER_ID))  # few, and whatever Mixpanel refuses is among them
    if doubtful.size:
        texts = values.take(pa.array(doubtful)).to_pylist()
        result[doubtful] = [text.strip().casefold() not in DISALLOWED for text in texts]
    return result


def folded(word: str) -> str:
    """A word as words are compared: without blanks around it, Unicode's and invisible ones too, and without case."""
    return bare(word).casefold()


def bare(text: str) -> str:
    """A text without blanks and invisible characters around it, as are copied along with it from pages and files."""
    stripped = text.strip()
    while stripped and (stripped[0] in _INVISIBLE or stripped[-1] in _INVISIBLE):
        stripped = stripped.strip(_INVISIBLE).strip()
    return stripped


class _Words(NamedTuple):
    folded: frozenset[str]
    column: pa.Array
    longest: int


@functools.cache
def _words(id_type: int, no_id: tuple[str, ...]) -> _Words:
    found = DISALLOWED | NOBODY | frozenset(no_id) | (STOCK_DEVICES if id_type == DEVICE_ID else frozenset())
    return _Words(found, pa.array(sorted(found)), max(len(word.encode()) for word in found))


def _is_zero_or_dash(characters: np.ndarray) -> np.ndarray:
    return (characters == ord("0")) | (characters == ord("-"))


def _is_usable(text: str, id_type: int, words: frozenset[str]) -> bool:
    word = folded(text)
    if id_type == EXTERNAL_USER_ID and bare(text).startswith(ANONYMOUS_PREFIX):
        return False
    return bool(word.strip("0-")) and word not in words
