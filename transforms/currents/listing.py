"""Which files an export has: found in one pass, in the fixed order, without ever holding all of their names.

The inputs' listings, each sorted, are merged; a file that several inputs reach belongs to the first of them. What the
command must know of all files is counted on the way, and the units wait on disk where they are many.
"""

from __future__ import annotations

import bisect
import hashlib
import heapq
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

from transforms.currents.coverage import Coverage
from transforms.currents.left_out import Kind, LeftOut
from transforms.currents.narrowing import Hours, Skipped, narrowed_by
from transforms.currents.paths import (
    UNIT_BYTES,
    UNIT_FILES,
    SourceFile,
    Unit,
    cut_units,
    event_type_of,
    number_unit,
    pack_files,
    unpack_files,
)
from transforms.currents.sources import Source, links_of
from transforms.errors import NoFilesFound, UnsortedListing
from transforms.stores.store import Entry, store_for

MOST_UNITS = 1 << 15
"""From here on units are joined, so that what every unit tells every shard stays worth an element of its own."""

_JOINED_CHARACTERS = 4_000_000  # of paths and names, in the units that are joined to one
_SPOOLED_IN_MEMORY = 16 << 20
_TYPES_KEPT = 10_000
_REASONS = {
    Kind.HIDDEN: "hidden",
    Kind.LOOKALIKE: "other_name",
    Kind.PLACEHOLDER: "placeholder",
    Kind.EMPTY_OBJECT: "empty_object",
}


class Export:
    """What the inputs hold, as one pass over their listing found it.

    Attributes:
        files, bytes: how many, and their sizes together.
        digest: SHA-256 over names, sizes and versions in the fixed order.
        event_types: those that paths name; None where a file's path names none, or where there are very many.
        left_out: what was listed and is not read.
        coverage: the hours that have files, by type.
        units: how many units there are; ``packed_bytes`` is what they take together as elements.
    """

    def __init__(self) -> None:
        self.files = 0
        self.bytes = 0
        self.event_types: frozenset[str] | None = frozenset()
        self.left_out = LeftOut()
        self.coverage = Coverage()
        self._hash = hashlib.sha256()
        self._spool: IO[bytes] = tempfile.SpooledTemporaryFile(_SPOOLED_IN_MEMORY)  # noqa: SIM115 (ends with the run)
        weakref.finalize(self, self._spool.close)
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
            self.coverage.add(file)
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
    read_until: int | None = None,
    skip: Iterable[str] = (),
    skip_archived: bool = False,
    unit_bytes: int = UNIT_BYTES,
    unit_files: int = UNIT_FILES,
    most_units: int = MOST_UNITS,
) -> Export:
    """List the inputs, once; see ``discover`` and ``cut_units`` for the rules.

    Raises:
        InputError: as ``discover`` does.
    """
    skip = tuple(skip)
    for in_memory in (False, True):
        export = Export()
        files = discover(
            inputs, since=since, until=until, read_until=read_until, skip=skip, skip_archived=skip_archived,
            in_memory=in_memory, left_out=export.left_out,
        )  # fmt: skip
        try:
            for unit in cut_units(files, unit_bytes, unit_files):
                export.add(unit.files)
        except UnsortedListing:
            continue
        break
    return export.close(most_units)


def discover(
    inputs: Sequence[str],
    *,
    since: int | None = None,
    until: int | None = None,
    read_until: int | None = None,
    skip: Iterable[str] = (),
    skip_archived: bool = False,
    in_memory: bool = False,
    left_out: LeftOut | None = None,
) -> Iterator[SourceFile]:
    """Every Avro file of the inputs (folders, globs, files), each once, in the fixed order, as the listings come.

    ``since`` (inclusive) and ``until`` (exclusive) are UNIX seconds that the hour or day of ``date=`` is held against;
    files without one are in. ``read_until`` is the last full hour of the clock: an hour from there on is left for a
    later run, a day or no date never is. ``skip`` names files to leave out, by their path or their name relative to the
    input, or by a glob of one of them. ``in_memory`` sorts listings that come in another order. What is not read is
    counted in ``left_out``.

    Raises:
        NoFilesFound: an input matches nothing, or the hours leave nothing.
        InputError: a date cannot be held against the hours that were asked for; or files are archived.
        UnsortedListing: a listing comes in another order.
    """
    left_out, skip = LeftOut() if left_out is None else left_out, tuple(skip)
    skipped = Skipped({form: name for name in skip for form in (name, store_for(name).absolute(name))})
    hours = Hours(since, until, read_until)
    sources = [Source.of(source, store_for(source)) for source in inputs]
    targets: set[str] = set()
    listings = [_listed(number, sources, targets, left_out, in_memory) for number in range(len(sources))]
    found = left = 0
    for _, name, entry, kind, is_repeat in heapq.merge(*listings, key=_order) if len(listings) > 1 else listings[0]:
        if skip and skipped.has(entry.path, name):
            if not is_repeat:
                left_out.count("skipped", name, entry.size)
            continue
        if is_repeat:
            continue
        if kind is not Kind.DATA:
            left_out.count(_REASONS[kind], name, entry.size)
            continue
        found += 1
        reason = hours.excludes(name, entry.path, left_out)
        if reason:
            left_out.count(reason, name, entry.size)
            continue
        if entry.archived:
            if skip_archived:
                left_out.count("archived", name, entry.size)
            else:
                left_out.need_restoring(entry.path, entry.size, entry.archived)
            continue
        left += 1
        # A type in the part of the path that the user typed counts too.
        yield SourceFile(entry.path, name, entry.size, entry.version, event_type_of(name) or event_type_of(entry.path))
    if skipped.unused:
        raise NoFilesFound(
            f"--skip {min(skipped.unused)} is none of the files found: name it by its path, or as rejects/ does, or "
            "give a glob (**/*.bak.avro)"
        )
    left_out.check()
    if not left:
        raise NoFilesFound(f"none of {found} files is left by {narrowed_by(left_out)}")


_Listed = tuple[tuple[bytes, bytes], str, Entry, Kind, bool]
"""(Sort key, name relative to the input, entry, kind, whether it is another input's)."""


def _order(listed: _Listed) -> tuple[bytes, bytes]:
    return listed[0]


def _name_bytes(listed: tuple[str, Entry, Kind]) -> bytes:
    return listed[0].encode("utf-8", "surrogateescape")


def _listed(
    number: int, sources: Sequence[Source], targets: set[str], left_out: LeftOut, in_memory: bool
) -> Iterator[_Listed]:
    source, earlier = sources[number], sources[:number]
    there = False
    others: dict[Kind, int] = {}
    last = (b"", b"")
    entries = source.entries(links_of(source, sources, targets, left_out))
    for name, entry, kind in sorted(entries, key=_name_bytes) if in_memory else entries:
        try:
            key = name.encode(), entry.path.encode()
        except UnicodeEncodeError:
            key = name.encode("utf-8", "surrogateescape"), entry.path.encode("utf-8", "surrogateescape")
            if kind is Kind.DATA and not _is_text(name):  # no report could name it
                raise NoFilesFound(f"the name {key[0]!r} is not UTF-8: rename the file") from None
        if key < last:
            raise UnsortedListing(f"{source.typed} is not listed in the order of its names")
        last = key
        is_repeat = False
        real = source.real_path(entry.path)
        if kind is Kind.DATA:
            there = True
            if earlier:
                is_repeat = any(other.kind(real) is Kind.DATA for other in earlier)
        elif kind is Kind.EMPTY_OBJECT:  # which no input knows by its name
            others[kind] = others.get(kind, 0) + 1
            is_repeat = any(other.kind(real) is not Kind.OTHER for other in earlier)
        else:
            others[kind] = others.get(kind, 0) + 1
            is_repeat = any(
                other.kind(real) is Kind.DATA or (at < number and other.kind(real) is not Kind.OTHER)
                for at, other in enumerate(sources)
            )
        yield key, name, entry, kind, is_repeat
    if not there and "linked_twice" not in left_out.counts:
        beside = "".join(f"; {count:,} there: {kind.value}" for kind, count in others.items())
        raise NoFilesFound(f"no .avro file matches --input {source.typed}{source.nearest_folder()}{beside}")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
