"""One input: what it turned out to be, what it lists, and which files are its own."""

from __future__ import annotations

import dataclasses
import functools
import os
import posixpath
import re
from collections.abc import Iterator, Sequence

from transforms.currents.left_out import SUFFIX, Kind, LeftOut, downloaded, is_hidden, kind_of
from transforms.currents.paths import before_glob, has_glob, matches_glob, may_lead
from transforms.errors import InputError, StoreUnavailable
from transforms.stores.local import LocalStore
from transforms.stores.store import Entry, Store, join
from transforms.stores.symbolic_links import Links

_ONE_OF_ONE = re.compile(r"\[([^]!^-])\]")


@dataclasses.dataclass(frozen=True)
class Source:
    """One input: as it was typed, its whole path, and what it turned out to be.

    Attributes:
        folder, beginning: what is listed of a folder or a glob.
        real: the folder without symbolic links in its own path.
    """

    typed: str
    root: str
    form: str  # "file", "folder", "glob" or "nothing"
    store: Store
    folder: str
    beginning: str
    real: str

    @classmethod
    def of(cls, typed: str, store: Store) -> Source:
        """What stands at a place; of one that ends with a slash nothing but the folder is asked for.

        Raises:
            InputError: both a file and a folder have that name.
        """
        root = store.absolute(typed)
        literal = _ONE_OF_ONE.sub(r"\1", root)
        # The form that is told where an object and a folder have one name.
        if literal != root and not has_glob(literal) and _is_object(literal, store) and _there(root, store) is None:
            return cls(typed, literal, "file", store, literal, "", literal)
        form = _form(root, store, is_folder=typed.endswith("/"))
        folder, beginning = before_glob(root) if form == "glob" else (root, "")
        real = os.path.realpath(folder) if isinstance(store, LocalStore) else folder
        return cls(typed, root, form, store, folder, beginning, real)

    def kind(self, path: str) -> Kind:
        """What a file is to this input, by its whole path; ``OTHER`` where it is not below."""
        if self.form == "file":
            return Kind.DATA if path in (self.root, self.real) else Kind.OTHER
        own = self._own(path)
        if own is None or (self.form == "glob" and not matches_glob(downloaded(own), self.root)):
            return Kind.OTHER
        return self._kind(own[len(join(self.folder, "")) :])

    def real_path(self, path: str) -> str:
        """The path of a listed file, without the symbolic links in the input's own path."""
        return path if self.real == self.folder else self.real + path[len(self.folder) :]

    def covers(self, real: str) -> bool:
        """Whether all that is below a real folder is listed at that place."""
        own = self._own(real)
        if own is None or self.form not in ("folder", "glob"):
            return False
        return not self._is_hidden(own) and (self.form == "folder" or matches_glob(own, self.root))

    def may_want(self, path: str) -> bool:
        """Whether anything below a folder (as it is listed) may be data of this input."""
        return not self._is_hidden(path) and (self.form == "folder" or may_lead(path, self.root))

    def entries(self, links: Links | None) -> Iterator[tuple[str, Entry, Kind]]:
        """(Name relative to the input, entry, kind) of each file but ``OTHER`` ones, as the store lists them."""
        if self.form == "nothing":
            return
        if self.form == "file":
            entry = self.store.entry(self.root)
            if entry is not None:
                yield posixpath.basename(self.root), entry, Kind.DATA
            return
        prefix = len(join(self.folder, ""))
        for entry in self._listing(links):
            name = entry.path[prefix:]
            kind = self._kind(name)
            if kind is Kind.DATA and entry.size == 0 and self.store.remote:
                kind = Kind.EMPTY_OBJECT
            if kind is not Kind.OTHER and (self.form == "folder" or matches_glob(downloaded(entry.path), self.root)):
                yield name, entry, kind

    def nearest_folder(self) -> str:
        """What there is where no file was found, for the end of a sentence."""
        if self.store.is_folder(self.root):
            return ": the folder is there, but holds no .avro file"
        path = _parent(self.root)
        while path is not None:
            if self.store.is_folder(path):
                return f": the nearest folder that exists is {path}"
            path = _parent(path)
        return ""

    def _listing(self, links: Links | None) -> Iterator[Entry]:
        if links is not None and isinstance(self.store, LocalStore):
            return self.store.list(self.folder, self.beginning, links)
        return self.store.list(self.folder, self.beginning)

    def _own(self, path: str) -> str | None:
        """A path as this input would list it, given by its real path or so."""
        for folder in (self.folder, self.real):
            if path == folder or path.startswith(join(folder, "")):
                return self.folder.rstrip("/") + path[len(folder.rstrip("/")) :]
        return None

    def _kind(self, name: str) -> Kind:
        kind = kind_of(name)
        if kind is Kind.HIDDEN and self._named_hidden:
            # What a glob names in so many words is wanted.
            kind = kind_of("/".join(segment for segment in name.split("/") if not self._is_named(segment)) or "x.avro")
        if self._names_files and kind in (Kind.LOOKALIKE, Kind.OTHER):
            kind = Kind.DATA
        return kind

    def _is_hidden(self, path: str) -> bool:
        name = path[len(join(self.folder, "")) :]
        return is_hidden(name) and self._kind(f"{name}/x.avro") is Kind.HIDDEN

    def _is_named(self, segment: str) -> bool:
        return any(matches_glob(segment, pattern) for pattern in self._named_hidden)

    @functools.cached_property
    def _names_files(self) -> bool:
        """Whether a glob asks for packed files, by their suffix."""
        return self.form == "glob" and self.root.lower().endswith(f"{SUFFIX}.gz")

    @functools.cached_property
    def _named_hidden(self) -> tuple[str, ...]:
        if self.form != "glob":
            return ()
        return tuple(part for part in self.root[len(self.folder) :].split("/") if part.startswith((".", "_")))


def links_of(source: Source, sources: Sequence[Source], targets: set[str], left_out: LeftOut) -> Links | None:
    """How the listing of one of several inputs goes through symbolic links; None where its store has none."""
    if not isinstance(source.store, LocalStore):
        return None
    local = [other for other in sources if isinstance(other.store, LocalStore)]

    def is_covered(real: str) -> bool:
        return any(other.covers(real) for other in local)

    def is_listed(real: str) -> bool:
        return any(other.kind(real) is Kind.DATA for other in local)

    def count_data(reason: str, path: str) -> None:
        if source.kind(path) is Kind.DATA:
            left_out.count(reason, path)

    return Links(
        source.may_want, is_covered, is_listed, targets, twice=functools.partial(left_out.count, "linked_twice"),
        nowhere=functools.partial(count_data, "link_nowhere"), irregular=functools.partial(count_data, "not_regular"),
    )  # fmt: skip


def _form(root: str, store: Store, *, is_folder: bool) -> str:
    glob = has_glob(root)
    if is_folder and not glob:
        return "folder" if store.is_folder(root) else "nothing"
    entry = _there(root, store)
    has_folder = store.is_folder(root) if store.remote or entry is None else False
    # Some tools mark a folder by an empty object of its name; a hierarchical namespace (Azure's) always does.
    if entry is not None and not (store.remote and entry.size == 0):
        if has_folder:
            raise InputError(
                f"{root} is an object of {entry.size:,} bytes and a folder too: write {root}/ for the folder, or "
                f"{_in_brackets(root)} for the object"
            )
        return "file"
    if has_folder:
        return "folder"
    folder = before_glob(root)[0] if glob else "://"
    # A bucket's own name cannot be a glob.
    return "nothing" if folder.endswith((":/", "://")) or not store.is_folder(folder) else "glob"


def _is_object(path: str, store: Store) -> bool:
    return store.remote and (entry := _there(path, store)) is not None and entry.size > 0


def _there(root: str, store: Store) -> Entry | None:
    try:
        return store.entry(root)
    except StoreUnavailable:
        if not store.remote:
            raise
        return None  # who may use one folder may not ask for its name; what else is wrong, its listing says


def _in_brackets(path: str) -> str:
    """A glob that matches this path alone.

    >>> _in_brackets("s3://bucket/exports")
    's3://bucket/export[s]'
    """
    at = max((at for at, character in enumerate(path) if character not in "[]*?!^-/"), default=len(path) - 1)
    return f"{path[:at]}[{path[at]}]{path[at + 1 :]}"


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
