"""Which files of a listing are not data by their names, and a count of all that were listed and are not read."""

from __future__ import annotations

import enum
import re
from typing import TypedDict

from transforms.errors import InputError
from transforms.vocabulary.files import NOT_READ

SUFFIX = ".avro"
# Part files as Spark, MapReduce and Hive name them, and Braze's own names, where the suffix was lost.
_BARE_NAME = re.compile(r"(?:part-[^.]*|\d{5,}_\d+|dataexport\..*)\Z", re.DOTALL)
_PACKED = (".gz", ".snappy", ".sz", ".deflate", ".bz2", ".zst", ".xz", ".lz4", ".zip", ".tar")
_FOLDER = re.compile(r"(?:^|/)(?:event_type|date)(?:=|%3[Dd])")
# macOS has .NAME.icloud in the place of what is not downloaded; Nextcloud's and ownCloud's clients a suffix.
_PLACEHOLDER = re.compile(r"(?<![^/])(?:\.([^/]+)\.icloud|([^/]+)\.(?:nextcloud|owncloud|opencloud))\Z")
_RESTORE = {
    "s3": "restore them (S3 Batch Operations, or [aws s3api restore-object] for each)",
    "azfs": "bring them back to the tier Hot or Cool ([az storage blob set-tier] for each, or a batch)",
}


class NotRead(TypedDict):
    """Files that were listed and not read, of one reason."""

    files: int
    bytes: int
    example: str


class UnreadableDates(TypedDict):
    """Files whose ``date=`` is neither an hour nor a day."""

    files: int
    example: str | None


class Listing(TypedDict):
    """What was listed and not read."""

    read_until: int | None
    not_read: dict[str, NotRead]
    hidden_avro: int
    unreadable_dates: UnreadableDates


class Kind(enum.Enum):
    """What a file is by its name."""

    DATA = "ends in .avro, in any case"
    HIDDEN = "its name, or that of a folder on the way to it, begins with . or _, as tools name what is not data"
    LOOKALIKE = "looks like an export and has another name"
    PLACEHOLDER = "stands in the place of a file that a cloud drive has not downloaded"
    EMPTY_OBJECT = "an object without bytes, as tools mark folders in a store"
    OTHER = "anything else"


def kind_of(name: str) -> Kind:
    """The kind of a file, by its name relative to its input.

    >>> [kind_of(name).name for name in ("a/B.AVRO", "_temporary/a.avro", "a/._b.avro", "a.avro.gz", "notes.txt")]
    ['DATA', 'HIDDEN', 'HIDDEN', 'LOOKALIKE', 'OTHER']
    >>> kind_of("a/.b.avro.icloud").name
    'PLACEHOLDER'
    """
    if _PLACEHOLDER.search(name):
        kind = kind_of(downloaded(name))
        return Kind.PLACEHOLDER if kind is Kind.DATA else kind
    if is_hidden(name):
        return Kind.HIDDEN
    if name[-5:].lower() == SUFFIX:
        return Kind.DATA
    base = name.rpartition("/")[2]
    if SUFFIX in base.lower() or _BARE_NAME.match(base):
        return Kind.LOOKALIKE
    if _FOLDER.search(name) and ("." not in base or base.lower().endswith(_PACKED)):
        return Kind.LOOKALIKE
    return Kind.OTHER


def downloaded(path: str) -> str:
    """The path of the file that a placeholder stands for; any other path as it is.

    >>> downloaded("/x/.b.avro.icloud"), downloaded("b.avro.nextcloud"), downloaded("a.avro")
    ('/x/b.avro', 'b.avro', 'a.avro')
    """
    found = _PLACEHOLDER.search(path)
    return path[: found.start()] + (found[1] or found[2]) if found else path


def is_hidden(name: str) -> bool:
    """Whether a segment of a name relative to its input begins with a dot or an underscore."""
    return name[:1] in (".", "_") or "/." in name or "/_" in name


_MISSING = ("link_nowhere", "placeholder")  # files that are data, and are not here


class LeftOut:
    """Files that were listed and are not read, by reason; and those that are read although their date is unreadable.

    Attributes:
        counts: by reason ``files``, ``bytes`` and an ``example``, the first in order.
    """

    def __init__(self) -> None:
        self.counts: dict[str, NotRead] = {}
        self.hidden_avro = 0
        self.unreadable_dates = 0
        self.unreadable_date = ""
        self._archived = self._archived_bytes = 0
        self._archived_example = ""

    def count(self, reason: str, name: str, size: int = 0) -> None:
        """Count one that is not read."""
        found = self.counts.setdefault(NOT_READ[reason].code, {"files": 0, "bytes": 0, "example": _text(name)})
        found["files"] += 1
        found["bytes"] += size
        if reason == "hidden" and name[-5:].lower() == SUFFIX:
            self.hidden_avro += 1

    def count_date(self, name: str) -> None:
        """Count one that is read, though nobody can tell of which hour it is."""
        self.unreadable_date = self.unreadable_date or _text(name)
        self.unreadable_dates += 1

    def need_restoring(self, path: str, size: int, archive: str) -> None:
        """Note one that is wanted and cannot be read."""
        self._archived_example = self._archived_example or f"{_text(path)}, {archive}"
        self._archived += 1
        self._archived_bytes += size

    def check(self) -> None:
        """Hold that nothing which is wanted is archived.

        Raises:
            InputError: something is; the message has number, bytes and how to restore.
        """
        if not self._archived:
            return
        scheme = self._archived_example.partition("://")[0]
        raise InputError(
            f"{self._archived:,} of the files are archived, {self._archived_bytes:,} bytes in all, and cannot be read "
            f"as they are (such as {self._archived_example}): {_RESTORE.get(scheme, 'restore them')} and run again "
            "when that is done, or leave them out with --skip_archived"
        )

    def figures(self, read_until: int | None) -> Listing:
        """The report's ``listing``."""
        return {
            "read_until": read_until,
            "not_read": {reason: self.counts[reason] for reason in NOT_READ.codes if reason in self.counts},
            "hidden_avro": self.hidden_avro,
            "unreadable_dates": {"files": self.unreadable_dates, "example": self.unreadable_date or None},
        }


def missing(listing: Listing) -> str:
    """A sentence on the files that are data and are not here, so that rows of them are missing; else empty."""
    not_read = listing["not_read"]
    found = [not_read[reason] for reason in _MISSING if reason in not_read]
    if not found:
        return ""
    files = sum(one["files"] for one in found)
    return (
        f"{files:,} file{' is' if files == 1 else 's are'} not here, only links or placeholders in "
        f"{'its' if files == 1 else 'their'} place (such as {found[0]['example']}): download "
        f"{'it' if files == 1 else 'them'}, and run again with --overwrite"
    )


def _text(name: str) -> str:
    """A name that can be shown: a disk's may be no UTF-8, and any may hold line breaks."""
    decoded = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "\ufffd" for character in decoded)
