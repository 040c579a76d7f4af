"""Rows as lines of Mixpanel's /import: columns renamed, written as JSON by the column, fragments put in by the row."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from arro3.io import write_ndjson

from transforms.arrow.columns import text
from transforms.currents import catalog
from transforms.evidence.anonymous_ids import anonymous_ids
from transforms.mixpanel.custom_properties import CustomProperties, Notes, value_fragment
from transforms.mixpanel.json_documents import key_counts
from transforms.mixpanel.limits import EVENT_BYTES, EVENT_NESTED_BYTES, NESTED_ITEMS, PROPERTIES
from transforms.mixpanel.names import cut, insert_ids, safe_key
from transforms.mixpanel.persons import Persons
from transforms.privacy.lookalikes import in_fragments
from transforms.privacy.veil import DocumentVeil
from transforms.settings import Settings

CUSTOM_EVENT_PREFIX = "[Custom event property]"
PURCHASE_PREFIX = "[Purchase property]"

CUSTOM_PREFIXES = {catalog.CUSTOM_EVENT: CUSTOM_EVENT_PREFIX, catalog.PURCHASE: PURCHASE_PREFIX}
# Columns that the core properties are made of.
_CORE_COLUMNS = frozenset({"id", "time", "external_user_id"})
# With more columns than this a row may be over the limit by them alone, and is trimmed whole.
_MOST_STATIC = PROPERTIES - 10
_NO_LIMIT = 1 << 20


def is_identity_only(event_type: str) -> bool:
    """Whether rows of the type say who is who and nothing else."""
    return event_type == catalog.USER_ORPHAN


def event_names(event_type: str, table: pa.Table) -> pa.Array:
    """The Mixpanel event name of each row, uncut: one string, or for custom events a dictionary."""
    base = catalog.mixpanel_name(event_type)
    if event_type != catalog.CUSTOM_EVENT or "name" not in table.column_names:
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(table.num_rows, np.int32)), pa.array([base]))
    encoded = text_column(table, "name").dictionary_encode()
    # A row without a name is sent under the prefix alone, which stands last in the dictionary.
    names = pa.concat_arrays([pc.binary_join_element_wise(base, encoded.dictionary, " "), pa.array([base])])
    return pa.DictionaryArray.from_arrays(pc.fill_null(encoded.indices, len(names) - 1), names)


def column(table: pa.Table, name: str) -> pa.Array:
    """A column as one array, as strings of nulls where the table has none of that name."""
    if name not in table.column_names:
        return pa.nulls(table.num_rows, pa.string())
    values = table[name]
    values = values.chunk(0) if values.num_chunks == 1 else values.combine_chunks()
    return values.cast(pa.string()) if pa.types.is_null(values.type) else values


def text_column(table: pa.Table, name: str) -> pa.Array:
    """A column as strings, whatever its type; nulls where the table has none of that name."""
    return text(column(table, name))


def property_names(event_type: str, columns: Sequence[str], settings: Settings) -> dict[str, str]:
    """Column to property, for the columns that are sent as properties of their own; two may get one name."""
    known = catalog.event_types().get(event_type)
    mapped = known is not None and known.mixpanel_event is not None
    everything = settings.properties == "all"
    names: dict[str, str] = {}
    for name in columns:
        if name in _CORE_COLUMNS or (event_type in CUSTOM_PREFIXES and name == "properties"):
            continue
        if event_type == catalog.CUSTOM_EVENT and name == "name":
            continue
        if mapped and known is not None and name in known.properties:
            target = known.properties[name]
            if target is not None:
                names[name] = target
            elif everything:
                names[name] = safe_key(name)
        elif name != "user_id" or everything:
            names[name] = cut(safe_key(name))
    return names


def _one_each(
    event_type: str, table: pa.Table, targets: dict[str, str], notes: Notes
) -> tuple[pa.Table, dict[str, str]]:
    """The table and its targets, of which no two are equal any more.

    Of columns that would get one name the catalogue's own stays, else the first in bytewise order; where it has no
    value, another one of its type fills in. What is left out is counted.
    """
    if len(set(targets.values())) == len(targets):
        return table, targets
    known = catalog.event_types().get(event_type)
    listed = known.properties if known is not None else {}
    first: dict[str, str] = {}
    for _, _, name in sorted((name not in listed, name.encode(), name) for name in targets):
        target = targets[name]
        winner = first.setdefault(target, name)
        if winner == name:
            continue
        kept, other = column(table, winner), column(table, name)
        lost = other.is_valid()
        if kept.type == other.type and table.schema.field(winner).metadata == table.schema.field(name).metadata:
            lost = pc.and_(lost, kept.is_valid())
            place = table.column_names.index(winner)
            table = table.set_column(place, table.schema.field(winner), pc.coalesce(kept, other))
        if rows := pc.sum(lost).as_py():
            notes.add("key_collisions", catalog.mixpanel_name(event_type), target, rows)
    return table, {name: target for name, target in targets.items() if first[target] == name}


def core_columns(
    event_type: str, table: pa.Table, names: pa.Array, who: Persons, settings: Settings, notes: Notes
) -> tuple[pa.Array, dict[str, pa.Array]]:
    """(Event name, the properties that every event has) of rows that are to be sent."""
    count = table.num_rows
    whole = names.dictionary.to_pylist()
    short = [cut(name) for name in whole]
    if short != whole:
        sent = np.bincount(names.indices.to_numpy(zero_copy_only=False), minlength=len(whole)).tolist()
        for name, full, rows in zip(short, whole, sent, strict=True):
            if name != full and rows:
                notes.add("events_cut", name, name, rows)
    cut_names = pa.DictionaryArray.from_arrays(names.indices, pa.array(short, pa.string()))
    anonymous = anonymous_ids(who.profile)
    if settings.id_merge == "simplified":
        ids = {
            "distinct_id": pc.coalesce(who.user, anonymous, ""),
            "$user_id": who.user,
            "$device_id": who.device,
        }
    elif settings.id_merge == "none":
        ids = {"distinct_id": pc.coalesce(who.user, who.profile, "")}
    else:
        ids = {"distinct_id": pc.coalesce(who.own, "")}
    core = {
        **ids,
        "time": column(table, "time"),
        "$insert_id": insert_ids(event_type, column(table, "id")),
        "$partner_id": pa.repeat("braze", count),
        "ip": pa.repeat(pa.scalar(0, pa.int8()), count),
    }
    if settings.tag is not None:
        core["braze_import"] = pa.repeat(settings.tag, count)
    return cut_names, core


def event_lines(
    event_type: str,
    table: pa.Table,
    names: pa.Array,
    who: Persons,
    settings: Settings,
    veil: DocumentVeil | None = None,
) -> tuple[memoryview, Notes]:
    """The lines of rows that are to be sent, in their order, each with its newline; and what the limits changed.

    ``veil``: what the rules do with custom properties; those that name columns have done their work on ``table``.
    """
    notes = Notes()
    event, core = core_columns(event_type, table, names, who, settings, notes)
    base = catalog.mixpanel_name(event_type)
    targets = property_names(event_type, table.column_names, settings)
    for name, target in targets.items():
        if target != name and cut(safe_key(name)) == target and safe_key(name) != target:
            notes.add("keys_cut", base, target, table.num_rows - table[name].null_count)
    fragments: list[pa.Array] = []
    targets = {name: f"braze_{target}" if target in core else target for name, target in targets.items()}
    table, targets = _one_each(event_type, table, targets, notes)
    static: dict[str, pa.Array] = dict(core)
    for name, target in targets.items():
        values = column(table, name)
        field = table.schema.field(name)
        if field.metadata and b"json" in field.metadata:
            fragments.append(_json_fragments(target, values, base, notes))
            continue
        if pa.types.is_floating(values.type):
            values = _finite(values, target, base, notes)
        elif pa.types.is_list(values.type):
            values, text = _lists(target, values, base, notes)
            if text is not None:
                fragments.append(text)
        elif pa.types.is_null(values.type):
            continue
        static[target] = values
    own = _own_names(event_type, core, targets)
    room, others = _room(static, fragments, own, table.num_rows)
    crowded = len(static) + len(fragments) > _MOST_STATIC
    prefix = CUSTOM_PREFIXES.get(event_type)
    if prefix is not None and "properties" in table.column_names:
        texts = text_column(table, "properties")
        counts = key_counts(texts)
        # Columns that the catalogue lacks stand back like custom properties: who goes, all of them together decide.
        crowded = crowded or bool((others + _most_keys(texts, counts) > room)[others > 0].any())
        room = np.full(table.num_rows, _NO_LIMIT) if crowded else np.maximum(room, 0)
        documents = CustomProperties(prefix, event.dictionary.to_pylist(), notes, veil)
        codes = event.indices.to_pylist()
        written = list(map(documents.fragment, texts.to_pylist(), room.tolist(), codes, counts.tolist()))
        documents.count()
        fragments.append(pa.array(written, pa.large_binary()))
        notes.looks.update(in_fragments(fragments[-1]))
    data = _write(event, static, fragments)
    if crowded:
        data = _trim_properties(data, own, notes)
    return data, notes


def _own_names(event_type: str, core: Iterable[str], targets: dict[str, str]) -> set[str]:
    """The properties that are kept whatever else there is: the job's, and those of columns in the catalogue."""
    known = catalog.event_types().get(event_type)
    return {*core, *(target for name, target in targets.items() if known is not None and name in known.properties)}


def _room(
    static: dict[str, pa.Array], fragments: list[pa.Array], own: set[str], rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """(Properties that each row may have beside its own ones, those of them that its columns take), int64."""
    room, others = np.full(rows, PROPERTIES, np.int64), np.zeros(rows, np.int64)
    for name, values in static.items():
        if name in own:
            room -= np.asarray(values.is_valid())
        else:
            others += np.asarray(values.is_valid())
    for part in fragments:
        others += np.asarray(pc.fill_null(pc.greater(pc.binary_length(part), 0), False))
    return room, others


def _most_keys(texts: pa.Array, counts: np.ndarray) -> np.ndarray:
    """A bound for the keys of each document, of those that were not counted by their length."""
    lengths = np.asarray(pc.fill_null(pc.binary_length(texts), 0))
    return np.where(counts < 0, lengths // _LEAST_BYTES_A_KEY, counts)


_LEAST_BYTES_A_KEY = 5  # quotes, colon, a digit and a comma


def drop_too_large(data: memoryview) -> tuple[memoryview, list[int]]:
    """The lines under 1 MB, and the positions of those that are not."""
    # Such a line fills one of the windows below; the others have their first newline after some hundred bytes.
    windows = range(0, len(data) - _WINDOW + 1, _WINDOW)
    if all(_NEWLINE.search(data, start, start + _WINDOW) for start in windows):
        return data, []
    buffer = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(buffer == 10) + 1
    sizes = np.diff(ends, prepend=0) - 1
    large = np.flatnonzero(sizes >= EVENT_BYTES)
    if not large.size:
        return data, []
    starts = ends - sizes - 1
    kept = [data[starts[n] : ends[n]] for n in range(len(ends)) if sizes[n] < EVENT_BYTES]
    return memoryview(b"".join(kept)), large.tolist()


_NEWLINE = re.compile(b"\n")
_WINDOW = EVENT_BYTES // 2


def _write(event: pa.Array, properties: dict[str, pa.Array], fragments: list[pa.Array]) -> memoryview:
    inner = pa.StructArray.from_arrays(list(properties.values()), list(properties))
    out = io.BytesIO()
    write_ndjson(pa.table({"event": event, "properties": inner}), out)
    data = out.getbuffer()
    if not fragments:
        return data
    # A line's end, b'}}\n', is cut off and put before the next line, so that a row's fragments follow its properties;
    # pieces cut that way lie end to end in the buffer, and need no copy of their own.
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == 10) - 2
    offsets = pa.py_buffer(np.append(0, ends).astype(np.int64))
    pieces = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(ends), [None, offsets, pa.py_buffer(data)])
    filled = (pc.fill_null(part, b"") if part.null_count else part for part in fragments)
    joined = pc.binary_join_element_wise(pieces, *filled, pa.scalar(b"", pa.large_binary()))
    _, joined_offsets, values = joined.buffers()
    end = int(np.frombuffer(joined_offsets, np.int64)[len(joined)])
    return memoryview(b"".join([memoryview(values)[:end], b"}}\n"]))


def _finite(values: pa.Array, target: str, event: str, notes: Notes) -> pa.Array:
    odd = pc.invert(pc.is_finite(values))
    count = pc.sum(odd).as_py() or 0
    if not count:
        return values
    notes.add("not_finite", event, target, count)
    return pc.if_else(odd, pa.scalar(None, values.type), values)


def _lists(target: str, values: pa.Array, event: str, notes: Notes) -> tuple[pa.Array, pa.Array | None]:
    """(The lists Mixpanel takes, fragments for those that become text or None)."""
    longest = pc.max(pc.list_value_length(values)).as_py() or 0
    widest = pc.max(pc.binary_length(values.flatten())).as_py() or 0
    escaped = 6 * widest + 5  # every character as \\u0000, quotes and a comma; or null
    if longest <= NESTED_ITEMS and longest * escaped < EVENT_NESTED_BYTES:
        return values, None
    rows = values.to_pylist()
    large = [
        row is not None and (len(row) > NESTED_ITEMS or len(orjson.dumps(row)) > EVENT_NESTED_BYTES) for row in rows
    ]
    if not any(large):
        return values, None
    text = [value_fragment(target, row, event, notes) if odd else b"" for row, odd in zip(rows, large, strict=True)]
    kept = pc.if_else(pa.array(large), pa.scalar(None, values.type), values)
    return kept, pa.array(text, pa.large_binary())


def _json_fragments(target: str, values: pa.Array, event: str, notes: Notes) -> pa.Array:
    texts = values.to_pylist()
    opened = (None if text is None else orjson.loads(text) for text in texts)
    return pa.array(
        [b"" if value is None else value_fragment(target, value, event, notes) for value in opened], pa.large_binary()
    )


def _trim_properties(data: memoryview, own: set[str], notes: Notes) -> memoryview:
    """Lines with at most 250 properties: the row's ``own``, then the rest in bytewise order."""
    lines = []
    for line in bytes(data).split(b"\n")[:-1]:
        event: dict[str, Any] = orjson.loads(line)
        properties = event["properties"]
        extra = sorted((key for key in properties if key not in own), key=str.encode)
        for key in extra[max(0, PROPERTIES - (len(properties) - len(extra))) :]:
            notes.add("properties_left_out", event["event"], key)
            del properties[key]
        lines.append(orjson.dumps(event) + b"\n")
    return memoryview(b"".join(lines))
