"""The whole job on plain dicts: what a run must publish, written to be obviously right rather than fast.

Independent of the program it judges: it shares nothing with it but the catalogue. ``run`` takes
``{path: (event_type, rows)}`` or ``{path: (event_type, rows, schema)}``; rows are dicts as fastavro reads them, with
absent columns absent, and bytes that are not UTF-8 as lone surrogates ("surrogateescape"). The schema matters for
32-bit floats only; without one the catalogue names those columns.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
import uuid
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy

from tests.oracle.identity import EXTERNAL, USER, LinkKey, Node, Row, find_crowd, resolve
from tests.oracle.leaving import Rules, veil_identities
from tests.oracle.values import compact, cut, insert_id, is_sent, limited, named, parse_object, unreserved
from transforms.currents import catalog

ROW_KINDS = (  # "read" is their sum
    "events", "repeats", "rejects", "identity_only", "not_exported", "profile_updates", "deletions", "withheld",
)  # fmt: skip
MAX_PROPERTIES, EVENT_BYTES, PROFILE_NESTED_BYTES = 250, 1_000_000, 256 * 1024
ATTRIBUTES = {
    "first_name": "$first_name", "last_name": "$last_name", "email_address": "$email", "phone_number": "$phone",
    "home_city": "$city", "timezone": "$timezone", "country": "country", "dob": "dob", "gender": "gender",
    "language": "language", "archived": "archived",
}  # fmt: skip


class Expected(NamedTuple):
    """What a run must publish; multisets are lists in no particular order."""

    events: list[dict[str, Any]]
    profiles: list[dict[str, Any]]
    deletions: list[dict[str, Any]]
    rejects: Counter[tuple[str, str, int]]  # (reason, file, row)
    rows: dict[str, int]
    rows_by_type: dict[str, dict[str, int]]
    withheld: dict[str, Counter[str]]  # reason -> event type -> rows
    ids: dict[Node, tuple[str | None, str]]  # (distinct_id, cluster)
    links: dict[LinkKey, tuple[int, str, str, str, str | None]]  # (time, event_id, file, status, device_id)
    broken: dict[str, Counter[str]]  # event type -> column -> texts with U+FFFD in rows that were sent


def read_rows(files: Mapping[str, Sequence[Any]]) -> list[Row]:
    """All rows in the order that decides repeats."""
    rows = []
    for path in sorted(files, key=lambda path: path.encode()):
        event_type, records, *schema = files[path]
        known = catalog.event_types().get(event_type)
        if schema and schema[0]:
            types = {field["name"]: json.dumps(field["type"]) for field in schema[0]["fields"]}
        else:
            types = {field.name: f'"{field.type.strip("?")}"' for field in known.fields} if known else {}
        for number, record in enumerate(records):
            shortest = {name: _shortest(value, '"float"' in types.get(name, "")) for name, value in record.items()}
            broken = frozenset(name for name, value in shortest.items() if str(_readable(value)) != str(value))
            record = {name: _readable(value) for name, value in shortest.items()}
            rows.append(Row(path, number, event_type, record, broken=broken))
    return rows


def _readable(value: Any) -> Any:
    if isinstance(value, list):
        return [_readable(item) for item in value]
    return value.encode(errors="surrogateescape").decode(errors="replace") if isinstance(value, str) else value


def _shortest(value: Any, is_float32: bool) -> Any:
    if is_float32 and isinstance(value, list):
        return [_shortest(item, True) for item in value]
    return float(str(numpy.float32(value))) if is_float32 and value is not None else value


def event_name(row: Row) -> str:
    name = catalog.mixpanel_name(row.event_type)
    if row.event_type == catalog.CUSTOM_EVENT and row.record.get("name") is not None:
        name += " " + row.record["name"]
    return cut(name)


def event_of(row: Row, identity: dict[str, str], properties: str, tag: str | None) -> dict[str, Any]:
    known = catalog.event_types().get(row.event_type)
    mapped = known.properties if known and known.mixpanel_event else {}  # of others, when asked for: as they are
    own: dict[str, Any] = {**identity, "time": row.record["time"], "$partner_id": "braze", "ip": 0}
    own["$insert_id"] = insert_id(row.event_type, row.record["id"])
    if tag is not None:
        own["braze_import"] = tag
    special = {"id", "time", EXTERNAL}
    rest: list[tuple[str, str, Any]] = []
    if row.event_type in (catalog.CUSTOM_EVENT, catalog.PURCHASE):
        prefix = "[Purchase property] " if row.event_type == catalog.PURCHASE else "[Custom event property] "
        special |= {"properties", "name"} if row.event_type == catalog.CUSTOM_EVENT else {"properties"}
        text = row.record.get("properties") or ""
        parsed = parse_object(text)
        if parsed is None:
            parsed = {"properties": text} if text.strip() else {}
        rest += [(key, prefix + key, value) for key, value in parsed.items()]
    if not mapped and properties == "native":
        special.add(USER)
    for column, value in row.record.items():
        if column in special or not is_sent(value):
            continue
        if column not in mapped:
            rest.append((column, unreserved(column), value))
        elif mapped[column] or properties == "all":
            own.setdefault(mapped[column] or unreserved(column), limited(value))
    others = {name: value for name, value in named(rest).items() if name not in own}
    kept = sorted(others, key=lambda name: name.encode())[: MAX_PROPERTIES - len(own)]
    return {"event": event_name(row), "properties": {**own, **{name: others[name] for name in kept}}}


def attributes_of(record: dict[str, Any], custom: dict[str, Any], removes: bool) -> dict[str, Any]:
    """Attribute to value of one update; None where it ``removes`` an attribute."""
    standard = {name: record[column] for column, name in ATTRIBUTES.items() if is_sent(record.get(column))}
    if "country" in standard:
        standard["$country"] = standard.pop("country")
    columns = {*catalog.event_types()[catalog.PROFILE_UPDATE].properties, "device_id"}
    standard |= {unreserved(name): value for name, value in record.items() if name not in columns and is_sent(value)}
    removes = removes and not isinstance(record.get("custom_attributes"), dict)
    removed = {cut(unreserved(key)): None for key, value in custom.items() if value is None and removes}
    given = named(((key, unreserved(key), v) for key, v in custom.items()), PROFILE_NESTED_BYTES)
    return {**removed, **given, **standard}


def repeat_key(row: Row) -> tuple[str, str | bytes]:
    event_id: str = row.record["id"]
    dashed = re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", event_id)
    return row.event_type, uuid.UUID(event_id).bytes if dashed else event_id


def run(
    files: Mapping[str, Sequence[Any]],
    *,
    now: int,
    id_merge: str = "simplified",
    device_links: str = "next",
    device_stay: float = 1.0,
    anonymous: str = "all",
    native_since: int | None = None,
    events_since: int | None = None,
    events_until: int | None = None,
    users_share: float = 1.0,
    exclude_events: Sequence[str] = (),
    event_types: Sequence[str] | None = None,
    deleted_users: str = "drop",
    properties: str = "native",
    profile_updates: str = "set",
    max_profiles_per_device: int = 20,
    tag: str | None = None,
    no_id: Sequence[str] = (),
    max_profiles_per_known_user: int = 1000,
    crowd_ids: str = "keep",
    drop: Sequence[str] = (),
    hash: Sequence[str] = (),
    unknown_fields: str = "send",
    suppress: Sequence[str] = (),
    hash_key: bytes = b"a key of the tests",
) -> Expected:
    """What the job must publish for these files under these flags."""
    words = frozenset(word.strip().casefold() for word in no_id)
    rows = [row._replace(no_id=words) for row in read_rows(files)]
    if crowd_ids == "drop":
        crowd = frozenset(find_crowd(rows, now, max_profiles_per_known_user))
        rows = [row._replace(crowd=crowd) for row in rows]
    leaving = Rules(tuple(drop), tuple(hash), hash_key, unknown_fields == "withhold")
    identities = resolve(rows, now, device_links, max_profiles_per_device, device_stay)

    def asked_for(event_type: str) -> bool:
        return any(fnmatch.fnmatchcase(event_type, glob) for glob in event_types or ())

    def known_user_of(profile: str | None) -> str | None:
        return identities.known.get((USER, profile)) if profile else None

    def distinct_id_of_profile(profile: str) -> str:
        if known := known_user_of(profile):
            return leaving.id(EXTERNAL, known)
        return ("" if id_merge == "none" else "$device:") + leaving.id(USER, profile)

    def identity_of(row: Row) -> dict[str, str]:
        own, profile = row.usable(EXTERNAL), row.usable(USER)
        known = own or known_user_of(profile)
        if id_merge == "native":
            return {"distinct_id": leaving.id(EXTERNAL, own) if own else ""}
        if id_merge == "none" and not known:
            return {"distinct_id": leaving.id(USER, profile) if profile else ""}
        user = leaving.id(EXTERNAL, known) if known else None
        if id_merge == "none":
            return {"distinct_id": user or ""}
        ids = {"distinct_id": user or (distinct_id_of_profile(profile) if profile else "")}
        if user:
            ids["$user_id"] = user
        if profile and known_user_of(profile) == known:
            ids["$device_id"] = leaving.id(USER, profile)
        return ids

    def sampled_out(row: Row) -> bool:
        own, profile = row.usable(EXTERNAL), row.usable(USER)
        if known := own or known_user_of(profile):
            person = "user:" + known
        else:
            person = f"profile:{profile}" if profile else f"event:{row.record['id']}"
        digest = hashlib.blake2b(person.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64 >= users_share

    def withheld_reason(row: Row, deleted: set[str]) -> str | None:
        own, profile, event_type = row.usable(EXTERNAL), row.usable(USER), row.event_type
        known, update = own or known_user_of(profile), event_type == catalog.PROFILE_UPDATE
        entry = catalog.event_types().get(event_type)
        unrecognised = not known and not update
        reasons = {
            "event_type": event_types is not None and not asked_for(event_type),
            "unknown_type": unknown_fields == "withhold" and entry is None,
            "outside_window": not update
            and not (events_since or 0) <= row.record["time"] < (events_until or 1 << 62),
            "excluded": not update
            and any(fnmatch.fnmatchcase(event_name(row), glob.replace("[", "[[]")) for glob in exclude_events),
            "native_drops": id_merge == "native" and not own,
            "left_to_native": native_since is not None and row.record["time"] >= native_since
            and row.sent_by_connector() and entry is not None and entry.sent_by_native_connector,
            "anonymous": unrecognised and (
                anonymous == "none" or (anonymous == "behaviors" and not event_type.startswith(catalog.BEHAVIORS))
            ),
            "anonymous_profile": update and not known,
            "deleted_user": deleted_users == "drop" and profile in deleted,
            "profile_updates_off": update and profile_updates == "off",
            "sampled_out": sampled_out(row),
        }  # fmt: skip
        return next((reason for reason, applies in reasons.items() if applies), None)

    expected = Expected([], [], [], Counter(), {}, {}, defaultdict(Counter), {}, identities.links, defaultdict(Counter))
    counts: dict[str, Counter[str]] = defaultdict(Counter)  # event type -> kind -> rows

    def count(row: Row, kind: str, reason: str | None = None) -> None:
        counts[row.event_type][kind] += 1
        if kind == "rejects":
            expected.rejects[(str(reason), row.file, row.number)] += 1
        elif kind == "withheld":
            expected.withheld[str(reason)][row.event_type] += 1
        elif kind in ("events", "profile_updates", "deletions"):
            expected.broken[row.event_type].update(row.broken)

    listed: set[Node] = {(line.partition(":")[0], line.partition(":")[2]) for line in suppress}
    suppressed_clusters = {identities.cluster[node] for node in listed & identities.cluster.keys()}
    suppressed_clusters |= {node[1] for node in listed if node[0] == EXTERNAL}

    def is_suppressed(row: Row) -> bool:
        own, profile = row.usable(EXTERNAL), row.usable(USER)
        if own and (own in suppressed_clusters or (EXTERNAL, own) in listed):
            return True
        return profile is not None and identities.cluster.get((USER, profile)) in suppressed_clusters

    seen: set[tuple[str, str | bytes]] = set()
    left, deletion_rows = [], []
    for row in rows:
        if not (row.record.get("id") or "").strip():
            count(row, "rejects", "missing_id")
        elif row.broken & {"id", USER, EXTERNAL, "device_id", "orphaned_by_id"} or (
            row.event_type == catalog.CUSTOM_EVENT and "name" in row.broken
        ):
            count(row, "rejects", "invalid_utf8")
        elif not row.valid_time(now):
            count(row, "rejects", "time_invalid")
        elif repeat_key(row) in seen:
            count(row, "repeats")
        else:
            seen.add(repeat_key(row))
            if suppress and row.event_type != catalog.USER_DELETE_REQUEST and is_suppressed(row):
                count(row, "withheld", "suppressed")
            elif row.event_type == catalog.USER_DELETE_REQUEST and row.usable(USER):
                deletion_rows.append(row)
            else:
                left.append(row)
    # A repeat deletes too: what was asked twice was asked.
    deleted = {
        row.record[USER]
        for row in rows
        if row.event_type == catalog.USER_DELETE_REQUEST
        and (row.record.get("id") or "").strip()
        and row.is_evidence(now)
        and row.usable(USER)
    }

    updates: dict[str, list[tuple[int, bytes, dict[str, Any]]]] = defaultdict(list)
    for row in left:
        entry = catalog.event_types().get(row.event_type)
        nameless = entry is not None and entry.mixpanel_event is None and row.event_type != catalog.PROFILE_UPDATE
        if row.event_type == catalog.USER_ORPHAN:
            count(row, "identity_only")
        elif row.event_type == catalog.USER_DELETE_REQUEST:
            count(row, "rejects", "missing_user_id")
        elif nameless and not asked_for(row.event_type):
            count(row, "not_exported")
        elif reason := withheld_reason(row, deleted):
            count(row, "withheld", reason)
        elif row.event_type == catalog.PROFILE_UPDATE:
            distinct_id = identity_of(row)["distinct_id"]
            time_ms = row.record.get("time_ms")
            row = row._replace(record=leaving.record(row.event_type, row.record))
            text = row.record.get("custom_attributes")
            custom = parse_object(text)
            if custom is None:
                custom = {"custom_attributes": text}
            count(row, "profile_updates")
            order = (row.record["time"] * 1000 if time_ms is None else int(time_ms), row.record["id"].encode())
            updates[distinct_id].append((*order, attributes_of(row.record, custom, profile_updates == "set")))
        else:
            may_leave = row._replace(record=leaving.record(row.event_type, row.record))
            event = event_of(may_leave, identity_of(row), properties, tag)
            if len(compact(event).encode()) >= EVENT_BYTES:
                count(row, "rejects", "event_too_large")
            else:
                count(row, "events")
                expected.events.append(event)

    for row in deletion_rows:
        count(row, "deletions")
        profile = row.record[USER]
        known = known_user_of(profile)
        profiles = {i for (kind, i), user in identities.known.items() if kind == USER and user == known}
        expected.deletions.append({
            "distinct_id": distinct_id_of_profile(profile), "user_id": leaving.id(USER, profile),
            "time": row.record["time"],
            "via": identities.via[(USER, profile)], "whole_person": known is None or profiles <= deleted,
        })  # fmt: skip
    for distinct_id in sorted(updates):
        latest: dict[str, Any] = {}
        since: dict[str, int] = {}
        for number, (_, _, attributes) in enumerate(sorted(updates[distinct_id], key=lambda update: update[:2])):
            latest.update(attributes)
            since.update(dict.fromkeys(attributes, number))
        if "$country" in latest:
            country = latest.pop("$country")
            if re.fullmatch(r"[A-Za-z]{2}", country):
                latest["$country_code"] = country
            elif since.get("country", -1) <= since["$country"]:  # a custom attribute may have the name since
                latest["country"] = country
        given = {name: value for name, value in latest.items() if value is not None}
        removed = sorted((name for name in latest if latest[name] is None), key=lambda name: name.encode())
        for operation, content in (("$" + profile_updates, given), ("$unset", removed)):
            if content:
                line = {"$distinct_id": distinct_id, "$ip": "0", "$ignore_time": True, operation: content}
                expected.profiles.append(line)
    for node, cluster in identities.cluster.items():
        anonymous_id = "$device:" + node[1] if node[0] == USER else None
        expected.ids[node] = (identities.known[node] or anonymous_id, cluster)
    veil_identities(expected.ids, expected.links, identities.known, leaving)
    for event_type, kinds in counts.items():
        expected.rows_by_type[event_type] = {"read": sum(kinds.values()), **{kind: kinds[kind] for kind in ROW_KINDS}}
    for kind in ("read", *ROW_KINDS):
        expected.rows[kind] = sum(by_kind[kind] for by_kind in expected.rows_by_type.values())
    return expected
