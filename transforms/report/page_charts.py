"""The charts of the report's page: which figures each of them shows."""

from __future__ import annotations

from collections.abc import Mapping

from transforms.report.charts import bars, columns_by_time, legend, periods, share_bar
from transforms.report.markup import Html, duration, number, ranked, share
from transforms.report.report_json import Counts, Gain, Identity, Persons
from transforms.vocabulary.persons import VIA

__all__ = ["by_user", "columns_by_time", "gain", "periods", "share_bar", "sizes", "stages", "through", "types"]

TOP_TYPES = 20


def by_user() -> Html:
    """The key of charts with known and anonymous users."""
    return legend([("known", "Known users"), ("anonymous", "Anonymous users")])


def gain(gain: Gain, rows: Counts | None) -> Html:
    """What the native connector sends of an export, and what this run does."""
    native, beyond, joined = gain["native_rows"], gain["anonymous_rows"], gain["rows_joined_to_known"]
    events = (rows or {"events": 0})["events"] or native + beyond
    run = [
        ("known", "that the native connector sends too", max(events - beyond, 0)),
        ("joined", "joined to a known user", joined),
        ("anonymous", "of users still anonymous", max(beyond - joined, 0)),
    ]
    lines = [
        ("Braze's native connector", [("known", "rows with an external user id", native)], number(native)),
        ("This run", run, number(events)),
    ]
    key = [
        ("known", "As the native connector"),
        ("joined", "Anonymous rows joined to a known user"),
        ("anonymous", "Anonymous rows, user not known yet"),
    ]
    return Html(legend(key) + bars("gain-chart", "Events sent by the native connector and by this run", lines))


def types(by_type: Mapping[str, Counts], persons: Persons | None) -> tuple[Html, int]:
    """The most frequent event types, of known and anonymous users, and how many more there are; empty without any."""
    sent = [entry for entry in ranked({kind: counts["events"] for kind, counts in by_type.items()}) if entry[1]]
    if not sent:
        return Html(""), 0
    rows = []
    for kind, events in sent[:TOP_TYPES]:
        parts = [("known", "events", events)]
        if persons is not None:
            known = persons["by_type"].get(kind)  # with more types than are kept by name, some are only in the rows
            anonymous = min(known["events_anonymous"], events) if known is not None else 0
            parts = [("known", "known", events - anonymous), ("anonymous", "anonymous", anonymous)]
        rows.append((kind, parts, number(events)))
    half, largest = (len(rows) + 1) // 2, sent[0][1]
    drawn = bars("types", "Events by type", rows[:half], largest)
    if rows[half:]:
        second = bars("more-types", "Events by type, continued", rows[half:], largest)
        drawn = Html(f'<div class="pair bar-pair">{drawn}{second}</div>')
    return Html((by_user() if persons is not None else "") + drawn), len(sent) - TOP_TYPES


def through(identity: Identity) -> Html:
    """How profiles came to their known user."""
    amounts = [
        (way.label, "known" if way.code == "own" else "joined", identity["profiles_known_through"][way.code])
        for way in VIA
        if way.code != "none"
    ]
    amounts.append((VIA["none"].label, "anonymous", identity["anonymous_profiles"]))
    whole = sum(amount for _, _, amount in amounts)
    rows = [
        (label, [(series, "profiles", amount)], f"{number(amount)} · {share(amount, whole)}")
        for label, series, amount in amounts
    ]
    return bars("through", "How profiles came to their known user", rows)


def sizes(clusters_by_size: Counts) -> Html:
    """Clusters by their number of ids."""
    rows = [
        (f"{size} {'id' if size == '1' else 'ids'}", [("plain", "clusters", clusters)], number(clusters))
        for size, clusters in sorted(clusters_by_size.items(), key=_least_size)
    ]
    return bars("sizes", "Clusters by number of ids", rows)


def _least_size(bucket: tuple[str, int]) -> tuple[bool, int]:
    least = bucket[0].partition("-")[0]
    return not least.isdecimal(), int(least) if least.isdecimal() else 0


def stages(seconds: Mapping[str, float]) -> Html:
    """Seconds of each step."""
    rows = [
        (stage, [("plain", "ms", max(round(1000 * taken), 0))], duration(taken)) for stage, taken in seconds.items()
    ]
    return bars("stages", "Seconds a stage", rows) if rows else Html("")
