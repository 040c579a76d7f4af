"""Which files an export has, in which order, and how they are cut into work units.

Braze writes ``…/event_type=TYPE/date=YYYY-MM-DD-HH/version=N/ENV/….avro`` (older exports: a schema id and a zone for
the last two), and its notifications escape ``=`` and ``+`` as ``%3D`` and ``%2B``. Nothing else of a path is relied on.
Files are ordered by the UTF-8 bytes of their path relative to their input; units are cut and numbered in that order.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import posixpath
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence

import orjson

from transforms.stores.store import Entry, Store, join, store_for

UNIT_BYTES = 16 << 20
UNIT_FILES = 2048

_EVENT_TYPE = re.compile(r"(?:^|/)event_type(?:=|%3[Dd])([^/]+)/")
_HOUR = re.compile(r"(?:^|/)date(?:=|%3[Dd])(\d{4})-(\d\d)-(\d\d)-(\d\d)(?:/|$)")
_GLOB = re.compile(r"[*?\[]")


class NoFiles(Exception):
    """An input matches no file; the message names the pattern and the nearest folder that exists."""


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
        rows = [[f.path, f.name, f.size, f.version, f.event_type] for f in self.files]
        return zlib.compress(orjson.dumps([self.number, rows]), 1)

    @classmethod
    def from_bytes(cls, data: bytes) -> Unit:
        number, rows = orjson.loads(zlib.decompress(data))
        return cls(number, tuple(SourceFile(*row) for row in rows))


def event_type_of(path: str) -> str | None:
    """The event type that a path names, or None.

    >>> event_type_of("x/event_type%3Dusers.messages.email.Open/date%3D2025-04-01-17/9/us-01/a+0+1.avro")
    'users.messages.email.Open'
    """
    match = _EVENT_TYPE.search(path)
    return match.group(1) if match else None


def hour_of(path: str) -> int | None:
    """The UTC hour of ``date=`` in a path as UNIX seconds, or None where there is none."""
    match = _HOUR.search(path)
    if not match:
        return None
    try:
        year, month, day, hour = (int(part) for part in match.groups())
        return int(datetime.datetime(year, month, day, hour, tzinfo=datetime.timezone.utc).timestamp())
    except ValueError:
        return None


def discover(
    inputs: Sequence[str], *, since: int | None = None, until: int | None = None, skip: Iterable[str] = ()
) -> list[SourceFile]:
    """Every Avro file of the inputs (folders, globs, files), each once, in the fixed order.

    ``since`` (inclusive) and ``until`` (exclusive) are UNIX seconds that the hour of ``date=`` is held against; files
    without one are in. ``skip`` names files to leave out, by their path or their name relative to the input.

    Raises:
        NoFiles: an input matches nothing, or the hours leave nothing.
    """
    skipped = {form: name for name in skip for form in (name, store_for(name).absolute(name))}
    unused = set(skipped.values())
    found: dict[str, SourceFile] = {}
    for source in inputs:
        entries = list(_matches(source, store_for(source)))
        if not entries:
            raise NoFiles(f"no .avro file matches --input {source}{_nearest_folder(source)}")
        for name, entry in entries:
            if not name.isprintable() and _is_torn(name):
                raise NoFiles(f"the name {name.encode('utf-8', 'surrogateescape')!r} is no UTF-8: rename the file")
            named = skipped.get(entry.path) or skipped.get(name)
            if named is not None:
                unused.discard(named)
                continue
            found.setdefault(entry.path, SourceFile(entry.path, name, entry.size, entry.version, event_type_of(name)))
            # A type in the part of the path that the user typed counts too.
            if found[entry.path].event_type is None:
                kind = event_type_of(entry.path)
                found[entry.path] = dataclasses.replace(found[entry.path], event_type=kind)
    if unused:
        raise NoFiles(f"--skip {min(unused)} is none of the files found: name it by its path, or as rejects/ does")
    hours = ((file, _first(hour_of(file.name), hour_of(file.path))) for file in found.values())
    files = [
        file
        for file, hour in hours
        if hour is None or ((since is None or hour >= since) and (until is None or hour < until))
    ]
    if not files:
        raise NoFiles(f"none of {len(found)} files is left by --since, --until and --skip: widen them")
    files.sort(key=_order)
    return files


def cut_units(files: Sequence[SourceFile], unit_bytes: int = UNIT_BYTES, unit_files: int = UNIT_FILES) -> list[Unit]:
    """Cut ordered files into units of about ``unit_bytes`` of input (a larger file is a unit of its own)."""
    units: list[Unit] = []
    pending: list[SourceFile] = []
    size = 0
    for file in files:
        if pending and (size + file.size > unit_bytes or len(pending) >= unit_files):
            units.append(Unit(len(units), tuple(pending)))
            pending, size = [], 0
        pending.append(file)
        size += file.size
    if pending:
        units.append(Unit(len(units), tuple(pending)))
    return units


def _is_torn(name: str) -> bool:
    """Whether a file's name has bytes that are no UTF-8: no report could name it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return True
    return False


def _first(hour: int | None, other: int | None) -> int | None:
    return other if hour is None else hour


def _order(file: SourceFile) -> tuple[bytes, bytes]:
    return file.name.encode("utf-8", "surrogateescape"), file.path.encode("utf-8", "surrogateescape")


def _matches(source: str, store: Store) -> Iterator[tuple[str, Entry]]:
    """(Name relative to the input, entry) of each file that one input reaches."""
    root = store.absolute(source)
    single = store.entry(root)
    if single is not None:
        yield posixpath.basename(root), single
    elif store.is_folder(root):
        yield from _below(root, store)
    elif _GLOB.search(root):
        base = root[: _GLOB.search(root).start()].rpartition("/")[0] or "/"  # type: ignore[union-attr]
        if store.is_folder(base):
            yield from ((name, entry) for name, entry in _below(base, store) if below(entry.path, root))


def below(path: str, source: str) -> bool:
    """Whether a path is what an input (a whole path or glob) names, or lies below it.

    >>> below("/in/2026/a.avro", "/in"), below("/in2/a.avro", "/in"), below("/in/2026/a.avro", "/in/20*")
    (True, False, True)
    """
    if path.startswith(join(source, "")) or path == source:
        return True
    return _GLOB.search(source) is not None and _pattern(source).match(path) is not None


@functools.lru_cache(maxsize=64)
def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(_glob_regex(glob) + r"(?:/.*)?\Z", re.DOTALL)


def _below(folder: str, store: Store) -> Iterator[tuple[str, Entry]]:
    prefix = len(join(folder, ""))
    return ((entry.path[prefix:], entry) for entry in store.list(folder) if entry.path.endswith(".avro"))


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


def _nearest_folder(source: str) -> str:
    store = store_for(source)
    path = store.absolute(source)
    if store.is_folder(path):
        return ": the folder is there, but holds no .avro file"
    while path and path != posixpath.dirname(path):
        path = posixpath.dirname(path)
        if store.is_folder(path):
            return f": the nearest folder that exists is {path}"
    return ""
