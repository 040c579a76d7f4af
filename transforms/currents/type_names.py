"""Which event type the rows of a file are of: what its path says and what its schema says, brought together.

Whoever rewrites an export gives the record a name of the tool's own (Spark's ``topLevelRecord``, BigQuery's ``Root``),
and may take the dots out of a folder's name or change its case. Only names of Braze's say of which type rows are.
"""

from __future__ import annotations

import dataclasses
import functools
import re

from transforms.currents import catalog

# What engines write into a path where they have no value.
_NO_VALUE = frozenset({"__HIVE_DEFAULT_PARTITION__", "null"})
_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")


@dataclasses.dataclass(frozen=True)
class TypeNames:
    """What a file's path (None: nothing) and its schema (None: no name of Braze's) call its type, and what it is taken
    for: None where neither tells.
    """

    path: str | None
    schema: str | None
    taken: str | None

    @property
    def differ(self) -> bool:
        """Whether path and schema name different types."""
        return self.path is not None and self.schema is not None and _one(self.path) != _one(self.schema)


@functools.lru_cache(maxsize=4096)
def type_names(path_type: str | None, record: str) -> TypeNames:
    """Settle the type of a file by ``event_type=`` in its path and the full name of its schema's record.

    The schema's type counts where the catalogue knows it, then the path's where the catalogue knows it, then what
    either says. Dots lost and case changed do not keep a type from being known.

    >>> type_names("users_messages_email_open", "topLevelRecord").taken
    'users.messages.email.Open'
    >>> type_names(None, "Root").taken is None
    True
    >>> type_names("users.canvas.Entry", "dataexport.S3.inner.users.messages.email.Open").taken
    'users.messages.email.Open'
    """
    path_type = None if path_type in _NO_VALUE else path_type
    schema_type = braze_type(record)
    known = catalog.event_types()
    taken: str | None
    if schema_type in known:
        taken = schema_type
    else:
        in_path = known_form(path_type) if path_type else None
        in_schema = known_form(schema_type) if schema_type else None
        taken = in_path or in_schema or path_type or schema_type
    return TypeNames(path_type, schema_type, taken)


def braze_type(record: str) -> str | None:
    """The event type in a record's full name; None where the name is a tool's.

    >>> braze_type("dataexport.S3.inner.users.messages.email.Open"), braze_type("users_canvas_Entry")
    ('users.messages.email.Open', 'users_canvas_Entry')
    >>> braze_type("topLevelRecord") is None, braze_type("io.confluent.connect.avro.ConnectDefault") is None
    (True, True)
    """
    if ".inner." in record:
        return record.split(".inner.", 1)[1]
    found = _of_known_root().search(record)
    if found:
        return found[1]
    return next((name for name in (record, record.rpartition(".")[2]) if known_form(name)), None)


def known_form(name: str) -> str | None:
    """The catalogue's type that a name stands for, dots lost or case changed or not.

    >>> known_form("USERS-messages-email-open"), known_form("users.messages.email.Opened")
    ('users.messages.email.Open', None)
    """
    return name if name in catalog.event_types() else _by_letters().get(_letters(name))


def _one(name: str) -> str:
    return known_form(name) or name


def _letters(name: str) -> str:
    return _NOT_ALPHANUMERIC.sub("", name).lower()


@functools.cache
def _by_letters() -> dict[str, str]:
    return {_letters(name): name for name in catalog.event_types()}


@functools.cache
def _of_known_root() -> re.Pattern[str]:
    """Types begin with one of a few words: a new one is told by them."""
    roots = sorted({name.split(".", 1)[0] for name in catalog.event_types()})
    return re.compile(rf"(?:^|\.)((?:{'|'.join(map(re.escape, roots))})\..+)", re.DOTALL)
