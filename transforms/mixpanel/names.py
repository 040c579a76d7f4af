"""Names and ids in the form Mixpanel takes them: event names, property keys, ``$insert_id``."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.arrow.columns import string_buffers
from transforms.evidence.ids import DISALLOWED

NAME_BYTES = 255
INSERT_ID_BYTES = 36

# Names that change what Mixpanel does with an event, or that it fills itself.
_RESERVED = frozenset({"ip", "time", "token", "distinct_id", "alias", "bucket"})

_INSERT_ID = re.compile(r"[A-Za-z0-9-]{1,36}\Z")
_INSERT_ID_CHARS = np.zeros(256, dtype=bool)
_INSERT_ID_CHARS[[ord(c) for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-"]] = True
_ZERO_UUID = "00000000-0000-0000-0000-000000000000"


def safe_key(name: str) -> str:
    """A property key that Mixpanel treats as any other: reserved ones get the prefix ``braze_``.

    >>> safe_key("ip"), safe_key("$city"), safe_key("plan")
    ('braze_ip', 'braze_$city', 'plan')
    """
    return f"braze_{name}" if name in _RESERVED or name.startswith(("$", "mp_")) else name


def cut(text: str, limit: int = NAME_BYTES) -> str:
    """The longest beginning of a text that has at most ``limit`` UTF-8 bytes."""
    if len(text) * 4 <= limit:
        return text
    raw = text.encode("utf-8", "surrogatepass")
    return text if len(raw) <= limit else raw[:limit].decode("utf-8", "ignore")


def insert_id(event_type: str, event_id: str) -> str:
    """The ``$insert_id`` of a row: its id where Mixpanel takes it, else a fixed hash of type and id."""
    if _INSERT_ID.match(event_id) and event_id.lower() not in DISALLOWED:
        return event_id
    text = f"{event_type}\0{event_id}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def insert_ids(event_type: str, ids: pa.Array) -> pa.Array:
    """``insert_id`` of every row; the usual case, UUIDs all through, costs a table look-up a byte."""
    starts, ends, data = string_buffers(ids)
    if len(ids) and (ends - starts == INSERT_ID_BYTES).all():
        body = data[starts[0] : ends[-1]]
        if _INSERT_ID_CHARS[body].all() and not pc.any(pc.equal(ids, _ZERO_UUID)).as_py():
            return ids
    return pa.array([insert_id(event_type, text) for text in ids.to_pylist()], pa.string())
