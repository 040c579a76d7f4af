"""What a path of an export says, and how files are cut into work units; ``listing`` finds the files.

Braze writes ``…/event_type=TYPE/date=YYYY-MM-DD-HH/version=N/ENV/….avro`` (older exports: a schema id and a zone for
the last two), and its notifications escape ``=`` and ``+`` as ``%3D`` and ``%2B``. Nothing else of a path is relied on.
Files are ordered by the UTF-8 bytes of their path relative to their input; units are cut and numbered in that order.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import orjson

from transforms.stores.store import Entry, join

HOUR, DAY = 3_600, 86_400  # seconds
UNIT_BYTES = 16 << 20
UNIT_FILES = 2048
UNIT_NAME_BYTES = 6_000_000
"""Of the paths of one unit, which travels as one element; a store's longest paths would make 2,048 files larger."""

_EVENT_TYPE = re.compile(r"(?:^|/)event_type(?:=|%3[Dd])([^/]+)/")
_DATE = re.compile(r"(?:^|/)(date(?:=|%3[Dd])([^/]*))/")
_DAY_OR_HOUR = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:-(\d\d))?\Z", re.ASCII)
_GLOB = re.compile(r"[*?\[]")
_NUMBER = struct.Struct("<I")


class Date(NamedTuple):
    """A folder ``date=…`` of a path: its name, and the UTC hour or day that it stands for; None where it is neither."""

    folder: str
    begin: int | None  # UNIX seconds
    seconds: int


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """One file of the export: where it is, its name relative to its input, and its event type by the path, if any."""

    path: str
    name: str
    size: int
    version: str
    event_type: str | None

    @property
    def entry(self) -> Entry:
        return Entry(self.path, self.size, self.version)


@dataclasses.dataclass(frozen=True)
class Unit:
    """A run of files that one worker reads at once; its number is also that of its output shards."""

    number: int
    files: tuple[SourceFile, ...]

    def to_bytes(self) -> bytes:
        return number_unit(self.number, pack_files(self.files))

    @classmethod
    def from_bytes(cls, data: bytes) -> Unit:
        (number,) = _NUMBER.unpack_from(data)
        return cls(number, unpack_files(data[_NUMBER.size :]))


def number_unit(number: int, packed: bytes) -> bytes:
    """``Unit.to_bytes`` of packed files."""
    return _NUMBER.pack(number) + packed


def pack_files(files: Iterable[SourceFile]) -> bytes:
    """Files as bytes. A name is most often the end of its path, and then only its length is kept."""
    rows = [
        [f.path, len(f.name) if f.path.endswith(f.name) else f.name, f.size, f.version, f.event_type] for f in files
    ]
    return zlib.compress(orjson.dumps(rows), 1)


def unpack_files(packed: bytes) -> tuple[SourceFile, ...]:
    """The files of ``pack_files``."""
    return tuple(
        SourceFile(path, name if isinstance(name, str) else path[len(path) - name :], size, version, event_type)
        for path, name, size, version, event_type in orjson.loads(zlib.decompress(packed))
    )


def event_type_of(path: str) -> str | None:
    """The event type that a path names, or None.

    >>> event_type_of("x/event_type%3Dusers.messages.email.Open/date%3D2025-04-01-17/9/us-01/a+0+1.avro")
    'users.messages.email.Open'
    """
    match = _EVENT_TYPE.search(path)
    return match.group(1) if match else None


def date_of(path: str) -> Date | None:
    """What the folder ``date=…`` in a path says; None where there is none.

    >>> date_of("x/date=2025-04-01/a.avro")
    Date(folder='date=2025-04-01', begin=1743465600, seconds=86400)
    """
    return _date_of_folder(path[: path.rfind("/") + 1])


@functools.lru_cache(maxsize=1024)  # files of a folder come one after the other
def _date_of_folder(path: str) -> Date | None:
    found = _DATE.search(path)
    if found is None:
        return None
    folder, text = found.groups()
    match = _DAY_OR_HOUR.match(text)
    if match:
        year, month, day, hour = (int(part or 0) for part in match.groups())
        try:
            begin = datetime.datetime(year, month, day, hour, tzinfo=datetime.timezone.utc)
            return Date(folder, int(begin.timestamp()), HOUR if match.group(4) else DAY)
        except ValueError:
            pass
    return Date(folder, None, 0)


def cut_units(
    files: Iterable[SourceFile], unit_bytes: int = UNIT_BYTES, unit_files: int = UNIT_FILES
) -> Iterator[Unit]:
    """Cut ordered files into units of about ``unit_bytes`` of input (a larger file is a unit of its own)."""
    pending: list[SourceFile] = []
    number = 0
    size = names = 0
    for file in files:
        length = len(file.path) if file.path.isascii() else len(file.path.encode("utf-8", "surrogateescape"))
        full = size + file.size > unit_bytes or len(pending) >= unit_files or names + length > UNIT_NAME_BYTES
        if pending and full:
            yield Unit(number, tuple(pending))
            number, pending = number + 1, []
            size = names = 0
        pending.append(file)
        size += file.size
        names += length
    if pending:
        yield Unit(number, tuple(pending))


def below(path: str, source: str) -> bool:
    """Whether a path is what an input (a whole path or glob) names, or lies below it.

    >>> below("/in/2026/a.avro", "/in"), below("/in2/a.avro", "/in"), below("/in/2026/a.avro", "/in/20*")
    (True, False, True)
    """
    if path.startswith(join(source, "")) or path == source:
        return True
    return has_glob(source) and matches_glob(path, source)


def has_glob(source: str) -> bool:
    """Whether an input may be a glob; what exists under that very name is none."""
    return _GLOB.search(source) is not None


def before_glob(source: str) -> tuple[str, str]:
    """The folder that all matches of a glob lie below, and what their paths relative to it begin with.

    >>> before_glob("/in/x/event_type=*/date=2026*")
    ('/in/x', 'event_type=')
    """
    found = _GLOB.search(source)
    folder, _, beginning = source[: found.start() if found else len(source)].rpartition("/")
    return folder or "/", beginning


def may_lead(folder: str, glob: str) -> bool:
    """Whether a glob may name something below a folder, or the folder itself.

    >>> may_lead("/in/x", "/in/[y]/*.avro"), may_lead("/in/y", "/in/[y]/*.avro"), may_lead("/in/x/y", "/in/**/a.avro")
    (False, True, True)
    """
    for segment, pattern in zip(folder.split("/"), glob.split("/"), strict=False):
        if "**" in pattern:
            return True
        if not matches_glob(segment, pattern):
            return False
    return True


def matches_glob(path: str, glob: str) -> bool:
    """Whether a glob names a path, or a folder above it."""
    return _pattern(glob).match(path) is not None


@functools.lru_cache(maxsize=64)
def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(_glob_regex(glob) + r"(?:/.*)?\Z", re.DOTALL)


def _glob_regex(pattern: str) -> str:
    """``*`` and ``?`` stay within a path segment, ``**`` does not."""
    parts = []
    for token in re.findall(r"\*\*/?|\*|\?|\[!?\]?[^\]]*\]|.", pattern, re.DOTALL):
        if token == "**/":
            parts.append("(?:.*/)?")
        elif token == "**":
            parts.append(".*")
        elif token == "*":
            parts.append("[^/]*")
        elif token == "?":
            parts.append("[^/]")
        elif len(token) > 1:
            body = token[1:-1].replace("\\", "\\\\")
            parts.append("[" + ("^" + body[1:] if body.startswith("!") else body) + "]")
        else:
            parts.append(re.escape(token))
    return "".join(parts)
