"""One work unit's output: each decoded chunk to its events, rejects, deletions and profile attributes, all counted."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from transforms.avro.broken_text import BrokenText
from transforms.currents import catalog
from transforms.currents.paths import event_type_of
from transforms.currents.type_names import TypeNames
from transforms.evidence.anonymous_ids import anonymous_ids
from transforms.mixpanel.custom_properties import Notes
from transforms.mixpanel.events import column, drop_too_large, event_lines, event_names, property_names
from transforms.mixpanel.leaving import Leaving
from transforms.mixpanel.monthly_users import day_counts, month_counts, name_counts, person_months
from transforms.mixpanel.names import cut
from transforms.mixpanel.ndjson import GzipLines
from transforms.mixpanel.outcomes import Fates, decide
from transforms.mixpanel.persons import Persons, Profiles
from transforms.mixpanel.profile_updates import attributes
from transforms.mixpanel.reject_details import reject_detail
from transforms.settings import WITHHOLD, Settings
from transforms.telemetry.tally import EXAMPLES, Tally, bound, merge, shown
from transforms.vocabulary.changes import LIMITS
from transforms.vocabulary.persons import VIA
from transforms.vocabulary.rows import OUTCOMES, REJECTS, WITHHELD

_KINDS = ("events", "rejects", "deletions")


@dataclasses.dataclass
class UnitOutput:
    """What one unit gives: lines by their kind of ``OUTPUT_FILES``, tables for steps that gather by person, figures."""

    lines: dict[str, GzipLines] = dataclasses.field(default_factory=lambda: {kind: GzipLines() for kind in _KINDS})
    attributes: list[pa.Table] = dataclasses.field(default_factory=list)
    person_months: list[pa.Table] = dataclasses.field(default_factory=list)
    tally: Tally = dataclasses.field(default_factory=dict)


class UnitFormatter:
    """Formats the chunks of one unit, in their order, into one ``UnitOutput``."""

    def __init__(
        self,
        file_names: Sequence[str],
        answers: pa.Table,
        settings: Settings,
        crowd: pa.Array | None = None,
        suppressed: pa.Array | None = None,
    ) -> None:
        self.output = UnitOutput()
        self._file_names = file_names
        self._profiles = Profiles(answers, settings.no_id, crowd, suppressed)
        self._settings = settings
        self._leaving = Leaving(settings)

    def add(
        self,
        event_type: str,
        table: pa.Table,
        file: np.ndarray,
        row: np.ndarray,
        repeats: np.ndarray,
        broken: BrokenText,
        profile: np.ndarray,
    ) -> None:
        """Format rows of one event type.

        ``file`` (position in the unit's files) and ``row`` (within its file) say where each row comes from,
        ``repeats`` (bool) which rows came before, ``broken`` which values had a text that is not UTF-8, and ``profile``
        (uint32) of which line of the answers each row's profile is, or ``NO_PROFILE``.
        """
        who = self._profiles.persons(column(table, "user_id"), column(table, "external_user_id"), profile)
        if who.left_out:
            left_out = self._leaving.left_out(who.left_out)
            bound(merge(self.output.tally, {"external_ids_left_out": left_out}))
        names = event_names(event_type, table)
        fates = decide(event_type, table, names, who, repeats, broken, self._settings)
        # From here on everything is as it may leave; who a row is, and what becomes of it, was decided on real values.
        real = table
        if self._leaving.veil is not None:
            sent = fates.are("events") | fates.are("profile_updates")
            table, who = self._leaving.rows(event_type, table, sent), self._leaving.persons(who)
            names = event_names(event_type, table)
            if self._settings.unknown_fields == WITHHOLD:
                self._note_unknown(event_type, real)
        if event_type == catalog.PROFILE_UPDATE:
            self._profile_updates(table, who, fates)
        elif event_type == catalog.USER_DELETE_REQUEST:
            self._deletions(table, who, fates)
        else:
            self._events(event_type, table, names, who, fates)
        self._rejects(event_type, table, real, file, row, fates, broken)
        self._note_broken(event_type, fates, broken)
        self._count(event_type, fates)

    def add_damage(self, file: int, damage: dict[str, Any], size: int) -> None:
        """Record what a damaged file lost; ``damage`` has reason, detail, block (None: all of it), rows_lost."""
        # A damaged marker in the header can be made good, and then loses nothing.
        whole = damage["block"] is None and damage["rows_lost"] != 0
        line = {
            "reason": damage["reason"],
            "detail": damage["detail"],
            "file": self._file_names[file],
            "block": damage["block"],
            "row": None,
            "event_type": event_type_of(self._file_names[file]),
            "id": None,
            "record": None,
        }
        self.output.lines["rejects"].add(orjson.dumps(line) + b"\n", 1)
        lost = damage["rows_lost"]
        merge(
            self.output.tally,
            {
                "damaged": {
                    "blocks": int(damage["block"] is not None),
                    "whole_files": int(whole),
                    "rows_lost": lost or 0,
                    "bytes_unread": damage["bytes_lost"] or (size if whole and lost is None else 0),
                    "lines": 1,
                    "reasons": {damage["reason"]: lost or 1},
                    "examples": {
                        damage["reason"]: [
                            {k: shown(line[k]) for k in ("block", "reason", "detail")}
                            | {"file": line["file"], "rows_lost": lost}
                        ]
                    },
                }
            },
        )

    def add_misnamed(self, file: int, names: TypeNames) -> None:
        """Record a file whose path and schema name different event types."""
        example = {"file": self._file_names[file]}
        for key, name in (("path_type", names.path), ("schema_type", names.schema), ("taken_as", names.taken)):
            example[key] = shown(name)
        merge(self.output.tally, {"type_conflicts": {"files": 1, "examples": [example]}})

    def finish(self) -> UnitOutput:
        """All of the output, with the figures of what left."""
        merge(self.output.tally, self._leaving.figures())
        return self.output

    def add_changes(self, changes: Mapping[tuple[str, str, str], int]) -> None:
        """Count values of a type that had to be changed; by kind of change, event type and column."""
        notes = Notes()
        for (kind, event_type, name), count in changes.items():
            if count:
                notes.add(kind, event_type, cut(name), count)
        self._note_limits(notes)

    def _events(self, event_type: str, table: pa.Table, names: pa.Array, who: Persons, fates: Fates) -> None:
        chosen = fates.are("events")
        count = int(chosen.sum())
        if not count:
            return
        if count < len(chosen):
            mask = pa.array(chosen)
            sent = list(property_names(event_type, table.column_names, self._settings))
            needed = {*sent, "id", "time", "name", "properties"}
            table = table.select([name for name in table.column_names if name in needed]).filter(mask)
            names, who = names.filter(mask), _filtered(who, mask, chosen)
        documents = self._leaving.documents(event_type)
        data, notes = event_lines(event_type, table, names, who, self._settings, documents)
        data, large = drop_too_large(data)
        if large:
            fates.overrule(np.flatnonzero(chosen)[large], "event_too_large")
            keep = np.ones(count, bool)
            keep[large] = False
            table, who = table.filter(pa.array(keep)), _filtered(who, pa.array(keep), keep)
            names = names.filter(pa.array(keep))
            count -= len(large)
        self.output.lines["events"].add(data, count)
        self._note_limits(notes)
        if count:
            self._leaving.note_events(event_type, table, who, notes)
            self._gain(event_type, table, names, who)

    def _gain(self, event_type: str, table: pa.Table, names: pa.Array, who: Persons) -> None:
        """Count what was sent: by day and month, known and anonymous, and beside what the native connector sends."""
        settings = self._settings
        user = who.own if settings.id_merge == "native" else who.user
        known = np.asarray(user.is_valid())
        times = column(table, "time").to_numpy(zero_copy_only=False).astype(np.int64)
        kind = catalog.event_types().get(event_type)
        has_id = who.by_connector
        native = has_id if kind is not None and kind.sent_by_native_connector else np.zeros(len(known), bool)
        distinct_id = pc.coalesce(user, anonymous_ids(who.profile), "")
        through = known & ~np.asarray(who.own.is_valid()) & (who.via == VIA.position("device"))
        alone = None
        if through.any():
            alone = pc.if_else(pa.array(through), anonymous_ids(who.profile), distinct_id)
        self.output.person_months.append(person_months(event_type, distinct_id, known, times, native, alone, through))
        count = len(known)
        joined = int((known & ~has_id).sum())
        merge(
            self.output.tally,
            {
                "events_by_day": day_counts(times, known),
                "cost": {"events": name_counts(event_type, names, times, known)},
                "persons": {
                    "by_month": month_counts(times, known),
                    "by_type": {
                        event_type: {"events_known": int(known.sum()), "events_anonymous": count - int(known.sum())}
                    },
                },
                "gain": {
                    "native_rows": int(native.sum()),
                    "anonymous_rows": count - int(has_id.sum()),
                    "rows_joined_to_known": joined,
                    "known_rows_of_other_types": int(has_id.sum()) - int(native.sum()),
                },
            },
        )
        self._note_unknown(event_type, table)

    def _note_unknown(self, event_type: str, table: pa.Table) -> None:
        """Count rows sent of a type, or with columns, that the catalogue lacks."""
        kind = catalog.event_types().get(event_type)
        count = table.num_rows
        if kind is None:
            merge(self.output.tally, {"unknown_types": {event_type: {"rows": count}}})
            return
        extra = {shown(n): count - table[n].null_count for n in table.column_names if n not in kind.properties}
        if extra and count:
            merge(self.output.tally, {"unknown_columns": {event_type: extra}})

    def _profile_updates(self, table: pa.Table, who: Persons, fates: Fates) -> None:
        chosen = pa.array(np.flatnonzero(fates.are("profile_updates")))
        if not len(chosen):
            return
        updates = table.take(chosen)
        self._note_unknown(catalog.PROFILE_UPDATE, updates)
        distinct_id = who.own if self._settings.id_merge == "native" else who.user
        notes = Notes()
        operation = self._settings.profile_updates
        documents = self._leaving.documents(catalog.PROFILE_UPDATE)
        self.output.attributes.append(attributes(updates, distinct_id.take(chosen), operation, notes, documents))
        self._leaving.note_updates(updates, notes)
        self._note_limits(notes)

    def _note_limits(self, notes: Notes) -> None:
        if notes.counts:
            bound(merge(self.output.tally, {"limits": notes.counts}))

    def _deletions(self, table: pa.Table, who: Persons, fates: Fates) -> None:
        chosen = np.flatnonzero(fates.are("deletions"))
        if not chosen.size:
            return
        rows = pa.array(chosen)
        persons_of = who.profile if self._settings.id_merge == "none" else anonymous_ids(who.profile)
        distinct_id = pc.coalesce(who.user, persons_of).take(rows).to_pylist()
        profile, times = who.profile.take(rows).to_pylist(), column(table, "time").take(rows).to_pylist()
        vias, whole = who.via[chosen].tolist(), who.whole_person[chosen].tolist()
        lines = [
            orjson.dumps(
                {"distinct_id": d, "user_id": p, "time": t, "via": VIA.codes[v], "whole_person": w}
            ) + b"\n"
            for d, p, t, v, w in zip(distinct_id, profile, times, vias, whole, strict=True)
        ]  # fmt: skip
        self.output.lines["deletions"].add(b"".join(lines), len(lines))

    def _note_broken(self, event_type: str, fates: Fates, broken: BrokenText) -> None:
        """Count the texts with U+FFFD in them that went out, by type and column."""
        sent = fates.are("events") | fates.are("profile_updates") | fates.are("deletions")
        found = {shown(column): int((mask & sent).sum()) for column, mask in broken.items()}
        counts = {column: count for column, count in found.items() if count}
        if counts:
            bound(merge(self.output.tally, {"limits": {LIMITS["invalid_utf8"].code: {event_type: counts}}}))

    def _rejects(
        self,
        event_type: str,
        table: pa.Table,
        real: pa.Table,
        file: np.ndarray,
        row: np.ndarray,
        fates: Fates,
        broken: BrokenText,
    ) -> None:
        """Write the rejected rows of ``table``, with ``--raw_rejects`` as they really are."""
        rejected = np.flatnonzero(fates.are("rejects"))
        if not rejected.size:
            return
        lines: list[bytes] = []
        examples: dict[str, list[dict[str, Any]]] = {}
        records = table.take(pa.array(rejected)).to_pylist()
        raw = self._settings.raw_rejects and self._leaving.veil is not None
        whole = real.take(pa.array(rejected)).to_pylist() if raw else records
        for position, record, kept in zip(rejected.tolist(), records, whole, strict=True):
            reason = REJECTS.codes[fates.reason[position]]
            where = {"file": self._file_names[int(file[position])], "row": int(row[position])}
            unread = sorted(column for column, mask in broken.items() if mask[position])
            line: dict[str, Any] = {
                "reason": reason,
                "detail": reject_detail(reason, record, unread, self._settings),
                **where,
            }
            line |= {"event_type": event_type, "id": record.get("id")}
            if len(examples.setdefault(reason, [])) < EXAMPLES:
                examples[reason].append({k: v if k == "file" else shown(v) for k, v in line.items()})
            if not raw:
                kept = self._leaving.record(event_type, kept)
            line["record"] = {key: value for key, value in kept.items() if value is not None}
            lines.append(orjson.dumps(line, default=str) + b"\n")
        self.output.lines["rejects"].add(b"".join(lines), len(lines))
        merge(self.output.tally, {"reject_examples": examples})

    def _count(self, event_type: str, fates: Fates) -> None:
        outcomes = np.bincount(fates.outcome, minlength=len(OUTCOMES)).tolist()
        rows = dict(zip(OUTCOMES.codes, outcomes, strict=True))
        rows["read"] = len(fates.outcome)
        tally: Tally = {"rows_by_type": {event_type: rows}}
        for outcome, reasons in (("withheld", WITHHELD), ("rejects", REJECTS)):
            counts = np.bincount(fates.reason[fates.are(outcome)], minlength=len(reasons)).tolist()
            found = {reason: count for reason, count in zip(reasons.codes, counts, strict=True) if count}
            if found:
                tally[outcome] = found
                if outcome == "withheld":
                    tally["withheld_by_type"] = {event_type: dict(found)}
        merge(self.output.tally, tally)


def _filtered(who: Persons, mask: pa.Array, chosen: np.ndarray) -> Persons:
    return Persons(
        who.own.filter(mask), who.profile.filter(mask), who.user.filter(mask), who.device.filter(mask),
        who.via[chosen], who.deleted[chosen], who.whole_person[chosen], who.suppressed[chosen],
        who.by_connector[chosen], who.left_out,
        who.is_profiles[chosen], who.person[chosen],
    )  # fmt: skip
