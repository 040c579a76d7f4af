"""Which files an export has: found in one pass, in the fixed order, without ever holding all of their names.

The inputs' listings, each sorted, are merged; a file that several inputs reach belongs to the first of them. What the
command must know of all files is counted on the way, and the units wait on disk where they are many.
"""

from __future__ import annotations

import bisect
import dataclasses
import hashlib
import heapq
import posixpath
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

from transforms.currents.paths import (
    UNIT_BYTES,
    UNIT_FILES,
    NoFiles,
    SourceFile,
    Unit,
    before_glob,
    cut_units,
    event_type_of,
    has_glob,
    hour_of,
    matches_glob,
    number_unit,
    pack_files,
    unpack_files,
)  # fmt: skip
from transforms.stores.store import Entry, Store, join, store_for

MOST_UNITS = 1 << 15
"""From here on units are joined, so that what every unit tells every shard stays worth an element of its own."""

_JOINED_CHARACTERS = 4_000_000  # of paths and names, in the units that are joined to one
_SPOOLED_IN_MEMORY = 16 << 20
_TYPES_KEPT = 10_000


class Export:
    """What the inputs hold, as one pass over their listing found it.

    Attributes:
        files, bytes: how many, and their sizes together.
        digest: SHA-256 over names, sizes and versions in the fixed order.
        event_types: those that paths name; None where a file's path names none, or where there are very many.
        units: how many units there are; ``packed_bytes`` is what they take together as elements.
    """

    def __init__(self) -> None:
        self.files = 0
        self.bytes = 0
        self.event_types: frozenset[str] | None = frozenset()
        self._hash = hashlib.sha256()
        self._spool: IO[bytes] = tempfile.SpooledTemporaryFile(_SPOOLED_IN_MEMORY)  # noqa: SIM115 (ends with the run)
        self._starts = [0]
        self._named = [0]  # characters of paths and names: where units are cut must not depend on how zlib packs them
        self._sizes: list[int] = []
        self._groups: list[range] = []

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    @property
    def units(self) -> int:
        return len(self._groups)

    @property
    def packed_bytes(self) -> int:
        return self._starts[-1]

    def in_order(self) -> Iterator[Unit]:
        """The units by number."""
        return (Unit.from_bytes(self._unit(number)) for number in range(self.units))

    def largest_first(self) -> Iterator[tuple[int, bytes]]:
        """(Number, ``Unit.to_bytes``) of each unit, so that dealt out in turn no worker ends long after the others."""
        for number in sorted(range(self.units), key=self._by_size):
            yield number, self._unit(number)

    def add(self, files: Sequence[SourceFile]) -> None:
        """Take up the next unit's files."""
        lines = []
        types: set[str] = set()
        for file in files:
            lines.append(f"\n{file.name}\0{file.size}\0{file.version}")
            types.add(file.event_type or "")
        self._hash.update("".join(lines).encode("utf-8", "surrogateescape"))
        self.event_types = self._with_types(types)
        size = sum(file.size for file in files)
        self.files += len(files)
        self.bytes += size
        packed = pack_files(files)
        self._spool.write(packed)
        self._starts.append(self._starts[-1] + len(packed))
        self._named.append(self._named[-1] + sum(len(file.path) + len(file.name) for file in files))
        self._sizes.append(size)

    def close(self, most_units: int = MOST_UNITS) -> Export:
        """Number the units, neighbours joined where there are more than ``most_units``; returns itself."""
        together = -(-len(self._sizes) // most_units)
        begin = 0
        while begin < len(self._sizes):
            room = bisect.bisect_right(self._named, self._named[begin] + _JOINED_CHARACTERS) - 1
            end = min(max(room, begin + 1), begin + together, len(self._sizes))
            self._groups.append(range(begin, end))
            begin = end
        return self

    def _with_types(self, types: set[str]) -> frozenset[str] | None:
        if self.event_types is None or "" in types or len(self.event_types) > _TYPES_KEPT:
            return None
        return self.event_types if types <= self.event_types else self.event_types | types

    def _by_size(self, number: int) -> tuple[int, int]:
        return -sum(self._sizes[part] for part in self._groups[number]), number

    def _unit(self, number: int) -> bytes:
        parts = []
        for part in self._groups[number]:
            self._spool.seek(self._starts[part])
            parts.append(self._spool.read(self._starts[part + 1] - self._starts[part]))
        packed = parts[0] if len(parts) == 1 else pack_files(file for part in parts for file in unpack_files(part))
        return number_unit(number, packed)


def survey(
    inputs: Sequence[str],
    *,
    since: int | None = None,
    until: int | None = None,
    skip: Iterable[str] = (),
    unit_bytes: int = UNIT_BYTES,
    unit_files: int = UNIT_FILES,
    most_units: int = MOST_UNITS,
) -> Export:
    """List the inputs, once; see ``discover`` and ``cut_units`` for the rules.

    Raises:
        NoFiles: an input matches nothing, or the hours leave nothing.
    """
    skip = tuple(skip)
    for in_memory in (False, True):
        export = Export()
        files = discover(inputs, since=since, until=until, skip=skip, in_memory=in_memory)
        try:
            for unit in cut_units(files, unit_bytes, unit_files):
                export.add(unit.files)
        except Unsorted:
            continue
        break
    return export.close(most_units)


class Unsorted(Exception):
    """A service lists names in another order than that of their bytes: all of them have to be sorted here.

    S3's directory buckets and Azure's hierarchical namespaces do.
    """


def discover(
    inputs: Sequence[str],
    *,
    since: int | None = None,
    until: int | None = None,
    skip: Iterable[str] = (),
    in_memory: bool = False,
) -> Iterator[SourceFile]:
    """Every Avro file of the inputs (folders, globs, files), each once, in the fixed order, as the listings come.

    ``since`` (inclusive) and ``until`` (exclusive) are UNIX seconds that the hour of ``date=`` is held against; files
    without one are in. ``skip`` names files to leave out, by their path or their name relative to the input.
    ``in_memory`` sorts listings that come in another order.

    Raises:
        NoFiles: an input matches nothing, or the hours leave nothing.
        Unsorted: a listing comes in another order.
    """
    skipped = {form: name for name in skip for form in (name, store_for(name).absolute(name))}
    unused = set(skipped.values())
    sources = [_Source.of(source) for source in inputs]
    listings = [_listed(source, sources[:number], in_memory) for number, source in enumerate(sources)]
    found = left = 0
    for _, name, entry, is_repeat in heapq.merge(*listings, key=_order) if len(listings) > 1 else listings[0]:
        named = skipped.get(entry.path) or skipped.get(name) if skipped else None
        if named is not None:
            unused.discard(named)
            continue
        if is_repeat:
            continue
        found += 1
        if since is not None or until is not None:
            hour = hour_of(name)
            hour = hour_of(entry.path) if hour is None else hour
            if hour is not None and ((since is not None and hour < since) or (until is not None and hour >= until)):
                continue
        left += 1
        # A type in the part of the path that the user typed counts too.
        kind = event_type_of(name) or event_type_of(entry.path)
        yield SourceFile(entry.path, name, entry.size, entry.version, kind)
    if unused:
        raise NoFiles(f"--skip {min(unused)} is none of the files found: name it by its path, or as rejects/ does")
    if not left:
        raise NoFiles(f"none of {found} files is left by --since, --until and --skip: widen them")


_Listed = tuple[tuple[bytes, bytes], str, Entry, bool]
"""(Sort key, name relative to the input, entry, whether an earlier input reaches it too)."""


def _order(listed: _Listed) -> tuple[bytes, bytes]:
    return listed[0]


@dataclasses.dataclass(frozen=True)
class _Source:
    """One input: as it was typed, its whole path, and what it turned out to be."""

    typed: str
    root: str
    kind: str  # "file", "folder", "glob" or "nothing"
    store: Store

    @classmethod
    def of(cls, typed: str) -> _Source:
        store = store_for(typed)
        root = store.absolute(typed)
        entry = store.entry(root)
        # Some tools mark a folder by an empty object of its name; a hierarchical namespace (Azure's) always does.
        if entry is not None and not (store.remote and entry.size == 0 and store.is_folder(root)):
            return cls(typed, root, "file", store)
        if store.is_folder(root):
            return cls(typed, root, "folder", store)
        folder = before_glob(root)[0] if has_glob(root) else "://"
        # A bucket's own name cannot be a glob.
        if folder.endswith((":/", "://")) or not store.is_folder(folder):
            return cls(typed, root, "nothing", store)
        return cls(typed, root, "glob", store)

    def reaches(self, path: str) -> bool:
        """Whether this input names a file."""
        if self.kind == "file":
            return path == self.root
        inside = path.startswith(join(self.root, "")) if self.kind == "folder" else matches_glob(path, self.root)
        return inside and path.endswith(".avro")

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """(Name relative to the input, entry) of each file, as the store lists them."""
        if self.kind == "nothing":
            return
        if self.kind == "file":
            entry = self.store.entry(self.root)
            if entry is not None:
                yield posixpath.basename(self.root), entry
            return
        folder, beginning = (self.root, "") if self.kind == "folder" else before_glob(self.root)
        prefix = len(join(folder, ""))
        for entry in self.store.list(folder, beginning):
            if entry.path.endswith(".avro") and (self.kind == "folder" or matches_glob(entry.path, self.root)):
                yield entry.path[prefix:], entry


def _name_bytes(listed: tuple[str, Entry]) -> bytes:
    return listed[0].encode("utf-8", "surrogateescape")


def _listed(source: _Source, earlier: Sequence[_Source], in_memory: bool) -> Iterator[_Listed]:
    there = False
    last = (b"", b"")
    for name, entry in sorted(source.entries(), key=_name_bytes) if in_memory else source.entries():
        there = True
        try:
            key = name.encode(), entry.path.encode()
        except UnicodeEncodeError:
            key = name.encode("utf-8", "surrogateescape"), entry.path.encode("utf-8", "surrogateescape")
            if not _is_text(name):  # no report could name it
                raise NoFiles(f"the name {key[0]!r} is no UTF-8: rename the file") from None
        if key < last:
            raise Unsorted(f"{source.typed} is listed in another order than that of names")
        last = key
        yield key, name, entry, any(other.reaches(entry.path) for other in earlier)
    if not there:
        raise NoFiles(f"no .avro file matches --input {source.typed}{_nearest_folder(source)}")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _nearest_folder(source: _Source) -> str:
    if source.store.is_folder(source.root):
        return ": the folder is there, but holds no .avro file"
    path = _parent(source.root)
    while path is not None:
        if source.store.is_folder(path):
            return f": the nearest folder that exists is {path}"
        path = _parent(path)
    return ""


def _parent(path: str) -> str | None:
    """The folder above; None above a disk's root or a bucket.

    >>> _parent("gs://bucket/x"), _parent("gs://bucket"), _parent("/x"), _parent("/")
    ('gs://bucket', None, '/', None)
    """
    scheme, mark, rest = path.rpartition("://")
    if not mark:
        above = posixpath.dirname(path)
        return above if above and above != path else None
    above = rest.rstrip("/").rpartition("/")[0]
    return f"{scheme}{mark}{above}" if above else None
