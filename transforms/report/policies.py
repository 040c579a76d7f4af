"""The table of device policies in the report, and what of it somebody should look at."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from transforms.report.markup import Html, block, count, escaped, moment, note, share, table

_ORDER = ("none", "sole", "first", "next")
_VERDICTS = ("confirmed", "contradicted", "missed", "unconfirmed")
_FEWEST_JUDGED = 100
_MOST_CONTRADICTED = 0.01
_BUSY_SHARE = 0.2


def in_order(policies: Mapping[str, Any]) -> dict[str, Any]:
    """The figures with their table in the order of the page, whatever order it travelled in."""
    return {**policies, "table": sorted(policies.get("table", []), key=_place)}


def device_policies(report: Mapping[str, Any]) -> Html:
    """Returns «Which device policy?»: what each would do on this data, and what Braze's merges say of it."""
    found = (report.get("identity") or {}).get("device_policies") or {}
    lines = found.get("table") or []
    if not lines:
        return Html("")
    since = found.get("orphans_since")
    verdicts = _VERDICTS if since is not None else ()
    truth = ("precision", "recall", "wrongly_joined_per_million") if "precision" in lines[0] else ()
    heads = ["Policy", "#Profiles made known", "#Rows made known", "#Devices left out", "#Largest cluster, profiles"]
    heads += [f"#{name.capitalize()}" for name in verdicts]
    heads += [f"#{name.replace('_', ' ').capitalize()}" for name in truth]
    keys = ("profiles", "rows", "devices_left_out", "largest_cluster", *verdicts, *truth)
    rows = [[_name(line), *(line.get(key) for key in keys)] for line in lines]
    told = (
        "A policy makes anonymous Braze profiles known through devices. What it joins in Mixpanel can never be taken "
        "apart; what it leaves apart can be joined by a later run with a looser policy: --device_links next with a "
        "longer --device_stay, then sole."
    )
    if since is None:
        told += " There are no users.UserOrphan rows, which would say whom Braze merged, so nothing was judged."
    else:
        told += (
            f" It was judged on {count(found.get('judged_profiles')):,} Braze profiles without an external id of their "
            f"own that were active after {escaped(moment(since))}, the time of the first users.UserOrphan row; nothing "
            "earlier can be judged. Braze merged them into the same known user (confirmed), into another one "
            "(contradicted), into one where the policy names nobody (missed), or not at all, which does not prove an "
            "error (unconfirmed)."
        )
    shown = note(told) + table("Device policies", heads, rows, "device-policies")
    return block("Which device policy?", shown)


def stay_in_words(stay: object) -> Html:
    """
    >>> stay_in_words(1.0), stay_in_words(0.5), stay_in_words("any")
    ('stay of 1 day', 'stay of 0.5 days', 'any stay')
    """
    if not isinstance(stay, (int, float)):
        return escaped(f"{stay} stay")
    return Html(f"stay of {stay:g} day{'' if stay == 1 else 's'}")


def policy_warnings(identity: Mapping[str, Any]) -> Iterator[str]:
    """Sentences where the chosen policy joins what Braze does not, or devices pass from hand to hand."""
    found = identity.get("device_policies") or {}
    chosen = next((line for line in found.get("table") or [] if line.get("chosen")), None)
    if chosen is None or chosen["device_links"] == "none":
        return
    policy = chosen["device_links"]
    wrong, judged = chosen.get("contradicted", 0), chosen.get("confirmed", 0) + chosen.get("contradicted", 0)
    if policy in ("sole", "first") and judged >= _FEWEST_JUDGED and wrong > _MOST_CONTRADICTED * judged:
        yield (
            f"--device_links {policy} names a different known user than Braze's own merges for {wrong:,} of {judged:,} "
            f"Braze profiles ({share(wrong, judged)}): see «Which device policy?» in the report; --device_links next "
            "joins fewer of them"
        )
    busy = found.get("rows_on_busy_devices", 0.0)
    if busy >= _BUSY_SHARE:
        stricter = "a shorter --device_stay" if policy == "next" else "--device_links next"
        yield (
            f"devices with three or more Braze profiles carry {busy:.0%} of the rows of anonymous profiles, as tablets "
            f"of families and shops do: whose such a row is, is doubtful; {stricter} or --device_links none joins "
            "fewer of them"
        )


def _name(line: Mapping[str, Any]) -> Html:
    stay = line.get("device_stay")
    text = f"{escaped(line.get('device_links'))}"
    if stay is not None:
        text += f", {stay_in_words(stay)}"
    return Html(f"<strong>{text} (chosen)</strong>" if line.get("chosen") else text)


def _place(line: Mapping[str, Any]) -> tuple[int, float]:
    stay = line.get("device_stay")
    policy = line.get("device_links")
    place = _ORDER.index(policy) if policy in _ORDER else len(_ORDER)
    return place, float(stay or 0) if isinstance(stay, (int, float, type(None))) else math.inf
