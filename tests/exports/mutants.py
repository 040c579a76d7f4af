"""Small Avro files, each broken in some ways, from a seed: bits, lengths, counts, schemas, codecs, markers, cuts."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

from tests.exports.small_exports import MARKER, avro

EMPTY = {"type": "record", "name": "Nothing", "fields": []}
CHAIN = {"type": "record", "name": "Chain", "fields": [{"name": "next", "type": ["null", "Chain"]}]}
# Of the columns beside id and time: type, and values of it.
COLUMNS: dict[str, tuple[Any, Sequence[Any]]] = {
    "user_id": (["null", "string"], ("profile-1", "ü", None)),
    "flag": (["null", "boolean"], (True, False, None)),
    "price": ("double", (0.5, -1.25)),
    "weight": (["null", "float"], (0.5, None)),
    "time_ms": (["null", "long"], (1_770_000_000_000, None, -1)),
    "urls": (["null", {"type": "array", "items": ["null", "string"]}], (["a", None, "bcd"], [], None)),
    "reasons": ({"type": "array", "items": "string"}, (["x"], [], ["y", "zz"])),
    "kind": ({"type": "enum", "name": "Kind", "symbols": ["A", "B", "C"]}, ("A", "C")),
    "raw": (["null", "bytes"], (b"\x00\xff", None, b"")),
    "fixed": ({"type": "fixed", "name": "Four", "size": 4}, (b"abcd",)),
    "tags": ({"type": "map", "values": "long"}, ({"k": 1, "l": -70}, {})),
    "either": (["null", "string", "long", "boolean"], ("s", 5, None, True)),
    "numbers": ({"type": "array", "items": "int"}, ([1, -2, 300], [])),
    "nothing": ("null", (None,)),
    "blanks": ({"type": "array", "items": "null"}, ([None, None], [])),
    "empties": ({"type": "array", "items": EMPTY}, ([{}, {}], [])),
    "chain": (["null", CHAIN], ({"next": {"next": None}}, None)),
}
SIMPLE = ("user_id", "flag", "price", "weight", "time_ms", "urls", "reasons")
CODECS = ("null", "deflate", "snappy", "zstandard", "bzip2", "xz")
KINDS = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")


def base(pick: random.Random) -> bytes:
    """A whole file of a few rows and columns."""
    names = pick.sample(sorted(COLUMNS if pick.random() < 0.6 else SIMPLE), pick.randint(1, 5))
    columns = [{"name": "id", "type": "string"}, {"name": "time", "type": pick.choice(["int", "long"])}]
    columns += [{"name": name, "type": COLUMNS[name][0]} for name in names]
    pick.shuffle(columns)
    schema = {"type": "record", "name": "dataexport.S3.inner.users.behaviors.Purchase", "fields": columns}
    rows = [
        {"id": f"event-{number}", "time": 1_770_000_000 + number}
        | {name: pick.choice(COLUMNS[name][1]) for name in names}
        for number in range(pick.randint(1, 8))
    ]
    codec = "null" if pick.random() < 0.5 else pick.choice(CODECS)
    return avro(rows, schema=json.loads(json.dumps(schema)), codec=codec, block_rows=pick.randint(1, 4))


def mutant(seed: int) -> bytes:
    """The file of this number: always the same."""
    pick = random.Random(seed)
    content = base(pick)
    for _ in range(pick.choice((1, 1, 1, 2, 3))):
        content = pick.choice(_CHANGES)(content, pick)
    return content


def number(value: int) -> bytes:
    """Avro's encoding of a long; of more bits as it would go on."""
    encoded = bytearray()
    value = value * 2 if value >= 0 else -value * 2 - 1
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _somewhere(content: bytes, pick: random.Random) -> int:
    """A byte, rather behind the header than in it."""
    start = content.find(MARKER) + 16 if pick.random() < 0.85 else 0
    return pick.randrange(min(max(start, 0), max(len(content) - 1, 0)), max(len(content), 1))


def _flip(content: bytes, pick: random.Random) -> bytes:
    at = _somewhere(content, pick)
    return content[:at] + bytes([content[at] ^ 1 << pick.randrange(8)]) + content[at + 1 :] if content else content


def _byte(content: bytes, pick: random.Random) -> bytes:
    at = _somewhere(content, pick)
    return content[:at] + bytes([pick.choice((0, 1, 2, 3, 4, 127, 128, 255))]) + content[at + 1 :]


def _long(content: bytes, pick: random.Random) -> bytes:
    """A length or count of any size where there was a byte."""
    at = _somewhere(content, pick)
    size = pick.choice((-(2**63), -1, -2, -(10**6), 0, 1, 2, 64, 10**6, 10**9, 2**31, 10**15, 2**62, 2**63 - 1, 2**70))
    return content[:at] + number(size) + content[at + pick.randint(0, 2) :]


def _count(content: bytes, pick: random.Random) -> bytes:
    """The rows of the first block."""
    at = content.find(MARKER) + 16
    return content[:at] + number(pick.choice((-1, 0, 1, 2, 5, 1000, 10**6, 10**12, 2**62))) + content[at + 1 :]


def _insert(content: bytes, pick: random.Random) -> bytes:
    at = _somewhere(content, pick)
    return content[:at] + pick.randbytes(pick.randint(1, 4)) + content[at:]


def _remove(content: bytes, pick: random.Random) -> bytes:
    at = _somewhere(content, pick)
    return content[:at] + content[at + pick.randint(1, 4) :]


def _cut(content: bytes, pick: random.Random) -> bytes:
    return content[: _somewhere(content, pick)]


def _join(content: bytes, pick: random.Random) -> bytes:
    return content + pick.choice((content, base(pick), content[: len(content) // 2], b"\x00" * 7))


def _marker(content: bytes, pick: random.Random) -> bytes:
    places = [at for at in range(len(content)) if content.startswith(MARKER, at)]
    if not places:
        return content
    at = pick.choice(places) + pick.randrange(16)
    return content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :]


def _codec(content: bytes, pick: random.Random) -> bytes:
    """Another codec's name of the same length, or none."""
    names = {b"null": b"gzip", b"deflate": b"deflatf", b"snappy": b"bzip2x", b"bzip2": b"snapp", b"xz": b"zx"}
    old = pick.choice(sorted(names))
    return content.replace(b"avro.codec" + number(len(old)) + old, b"avro.codec" + number(len(old)) + names[old])


def _schema(content: bytes, pick: random.Random) -> bytes:
    """A type of the schema is another, with its length in the header put right."""
    at = content.find(b"avro.schema") + 11
    begin, end = content.find(b"{", at), -1
    if at < 11 or begin < 0:
        return content
    try:
        schema, end = json.JSONDecoder().raw_decode(content[begin:].decode("latin-1"))
        fields = schema["fields"]
        field = pick.choice(fields)
        field["type"] = pick.choice(_TYPES)(field["type"], pick)
    except (ValueError, KeyError, TypeError, IndexError):
        return content
    text = json.dumps(schema).encode()
    return content[:at] + number(len(text)) + text + content[begin + end :]


def _other_kind(kind: Any, pick: random.Random) -> Any:
    return pick.choice(KINDS)


def _list_of(kind: Any, pick: random.Random) -> Any:
    return {"type": "array", "items": pick.choice([kind, "null", {**EMPTY, "name": f"E{pick.random()}"[:5]}])}


def _with_null(kind: Any, pick: random.Random) -> Any:
    return pick.choice((["null", pick.choice(KINDS[1:])], [pick.choice(KINDS[1:]), "null"], ["null"], []))


def _odd(kind: Any, pick: random.Random) -> Any:
    deep: Any = "string"
    for _ in range(pick.choice((3, 70, 400))):
        deep = {"type": "array", "items": deep}
    fields = [{"name": f"f{place}", "type": "null"} for place in range(30_000)]
    inner: Any = "null"
    for level in range(30):
        name = f"L{level}"
        inner = {
            "type": "record",
            "name": name,
            "fields": [{"name": "a", "type": inner}, {"name": "b", "type": f"L{level - 1}" if level else "null"}],
        }
    return pick.choice(
        (
            deep,
            {"type": "array", "items": inner},
            {"type": "record", "name": "Wide", "fields": fields},
            {"type": "record", "name": "Self", "fields": [{"name": "again", "type": "Self"}]},
            {"type": "record", "name": "List", "fields": [{"name": "more", "type": ["null", "List"]}]},
            {"type": "record", "name": "Tree", "fields": [{"name": "m", "type": {"type": "array", "items": "Tree"}}]},
            {"type": "fixed", "name": "Large", "size": pick.choice((0, -1, 10**15))},
            {"type": "enum", "name": "Half", "symbols": ["\ud800"]},
            {"type": "record", "name": "\udfff", "fields": []},
            {"type": "nothing"},
            {"type": "map", "values": "null"},
            {"type": "string", "logicalType": "uuid"},
        )
    )


_TYPES = (_other_kind, _list_of, _with_null, _odd)
_CHANGES = (
    *(_flip, _flip, _flip, _byte, _long, _long, _count, _insert, _remove, _cut, _join, _marker, _codec),
    *(_schema, _schema),
)
