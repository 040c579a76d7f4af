"""The section of the report on who is who: who was recognised, how, and which ids and links say nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from transforms.report import charts
from transforms.report.markup import (
    Html,
    block,
    code,
    count,
    escaped,
    figures,
    folded,
    moment,
    note,
    nothing,
    number,
    own_words,
    ranked,
    section,
    share,
    table,
)
from transforms.report.policies import device_policies, stay_in_words
from transforms.vocabulary.persons import EXTERNAL_IDS_LEFT_OUT, LINK_STATUSES, VIA


def identity(report: Mapping[str, Any]) -> Html:
    """Returns who was recognised, how, and which links were not followed."""
    found = report.get("identity")
    if not found:
        return Html("")
    entries = (
        ("profiles", "Braze profiles", ""),
        ("known_users", "Known users", "distinct external user ids"),
        ("devices", "Devices", ""),
        ("clusters", "Clusters", "persons, known or anonymous"),
    )
    tiles = figures([(label, number(found[key]), text) for key, label, text in entries if found.get(key) is not None])
    parts = []
    if found.get("profiles_known_through") is not None:
        parts.append(block("How profiles came to their known user", _through(found)))
    if found.get("clusters_by_size") is not None:
        sizes = [
            (f"{label} {'id' if label == '1' else 'ids'}", [("plain", "clusters", count(n))], number(n))
            for label, n in sorted(found["clusters_by_size"].items(), key=_size)
        ]
        shown = charts.bars("sizes", "Clusters by number of ids", sizes) if sizes else nothing()
        parts.append(block("Clusters by size", shown))
    if found.get("links") is not None:
        rows = [[escaped(name), own_words(LINK_STATUSES[name].meaning), n] for name, n in found["links"].items()]
        days = found.get("device_stay")
        stay = f" ({stay_in_words(days)})" if days is not None else ""
        told = f"Device policy {code(found.get('device_links'), 40)}{stay}, ID merge {code(found.get('id_merge'), 40)}."
        parts.append(block("Links", note(told) + table("Links by status", ["Status", "Meaning", "#Links"], rows)))
    if found.get("score"):
        rows = [[escaped(name.replace("_", " ")), value] for name, value in found["score"].items()]
        told = note("Pairs of profiles, against the truth file.")
        parts.append(block("Score", told + table("Score against the truth", ["Measure", "#Value"], rows)))
    pair = f'<div class="pair">{"".join(parts)}</div>' if parts else ""
    return section("identity", "Who is who", tiles + pair + device_policies(report) + _links_left_out(found))


def _size(bucket: tuple[str, Any]) -> tuple[bool, int]:
    label = str(bucket[0]).partition("-")[0]
    return not label.isdecimal(), int(label) if label.isdecimal() else 0


def _through(found: Mapping[str, Any]) -> str:
    through = found["profiles_known_through"]
    rows = [
        (way.label, [("known" if way.code == "own" else "joined", "profiles", count(n))], n)
        for way in VIA
        if way.code != "none"
        for n in [through.get(way.code)]
    ]
    if found.get("anonymous_profiles") is not None:
        amount = found["anonymous_profiles"]
        rows.append((VIA["none"].label, [("anonymous", "profiles", count(amount))], amount))
    whole = sum(count(amount) for _, _, amount in rows)
    shown = [(label, parts, f"{number(count(n))} · {share(n, whole)}") for label, parts, n in rows]
    return charts.bars("through", "How profiles came to their known user", shown)


def _links_left_out(found: Mapping[str, Any]) -> str:
    links = found.get("links") or {}
    parts = []
    if "refused_examples" in found or "refused" in links:
        rows = [
            [
                *(_typed(e, "a"), _typed(e, "b"), _ids(e.get("known_users"))),
                *(moment(e.get("time")), code(e.get("event_id")), code(e.get("file"))),
            ]
            for e in found.get("refused_examples") or []
        ]
        heads = ["One id", "Other id", "Known users", "Time", "Event id", "File"]
        told = "Each would have made one person of two known users; Mixpanel could never undo it."
        parts.append(_examples("Refused links", links.get("refused"), told, table("Refused links", heads, rows)))
    if "contested_devices" in found or "contested_examples" in found:
        rows = [[code(e.get("device_id")), _ids(e.get("known_users"))] for e in found.get("contested_examples") or []]
        shown = table("Contested devices", ["Device", "Known users"], rows)
        shared = found.get("device_links") == "next"
        told = "Used by profiles of several known users, so they link " + (
            "only who came an hour before one of them." if shared else "nothing."
        )
        parts.append(
            _examples("Shared devices" if shared else "Contested devices", found.get("contested_devices"), told, shown)
        )
    if "quarantined_devices" in found or "quarantined_examples" in found:
        rows = [[code(e.get("device_id")), e.get("profiles")] for e in found.get("quarantined_examples") or []]
        shown = table("Quarantined devices", ["Device", "#Profiles"], rows)
        told = "More profiles than --max_profiles_per_device, so they link nothing."
        parts.append(_examples("Quarantined devices", found.get("quarantined_devices"), told, shown))
    parts += _external_ids(found)
    first, rest = parts[:1], parts[1:]
    return "".join(first) + (f'<div class="pair">{"".join(rest)}</div>' if rest else "")


def _external_ids(found: Mapping[str, Any]) -> Iterator[Html]:
    """Yields external ids that name more or fewer than one person: crowds, renamed ones, nobody's."""
    if "crowd_external_ids" in found:
        rows = [[code(e.get("external_user_id")), e.get("profiles")] for e in found.get("crowd_examples") or []]
        dropped = found.get("crowd_ids") == "drop"
        told = "More profiles than --max_profiles_per_known_user: a placeholder in all likelihood, "
        told += "left out with --crowd_ids drop." if dropped else "kept with --crowd_ids keep."
        shown = table("Crowd ids", ["External user id", "#Profiles"], rows)
        yield _examples("Crowd ids", found["crowd_external_ids"], told, shown)
    if "renamed_profiles" in found:
        rows = [[code(e.get("user_id")), _ids(e.get("external_user_ids"))] for e in found.get("renamed_examples") or []]
        shown = table("Renamed profiles", ["Profile", "External user ids, by time"], rows)
        told = "Each external id stays a person; rows without one go to the first."
        yield _examples("Profiles with several external user ids", found["renamed_profiles"], told, shown)
    if found.get("external_ids_left_out"):
        of_reasons = found["external_ids_left_out"].items()
        rows = [
            [own_words(EXTERNAL_IDS_LEFT_OUT[reason].meaning), code(name), n]
            for reason, ids in of_reasons
            for name, n in ranked(ids or {})
        ]
        told = "They name no known user; the rows go by their profile."
        shown = table("External user ids of nobody", ["Why", "External user id", "#Rows"], rows)
        yield block("External user ids of nobody", note(told) + folded("By id", shown))


def _examples(title: str, amount: object, told: str, shown: str) -> Html:
    if not count(amount) and amount is not None:
        return block(title, nothing())
    heading = title if amount is None else f"{title}: {number(amount)}"
    return block(heading, note(told) + shown)


def _typed(example: Mapping[str, Any], end: str) -> Html:
    return Html(f'<span class="meaning">{escaped(example.get(f"{end}_type"), 40)}</span>{code(example.get(end))}')


def _ids(ids: Sequence[object] | None) -> Html:
    shown = [code(one) for one in list(ids or [])[:8]]
    more = f" and {len(ids or []) - 8:,} more" if len(ids or []) > 8 else ""
    return Html(("<br>".join(shown) + more) if shown else "–")
