"""What somebody should look at in who is who: a sentence each, with numbers and examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from transforms.report.report_json import Identity
from transforms.vocabulary.persons import ANONYMOUS_PREFIX

_LONGEST_NAME = 80
_NAMES = 3


def identity_warnings(identity: Identity, flags: Mapping[str, Any]) -> list[str]:
    """The sentences for ``identity`` of a report, under its ``flags``."""
    found = []
    contested = identity["contested_devices"]
    if contested and flags.get("device_links") == "sole":
        are = "device is" if contested == 1 else "devices are"
        found.append(
            f"{contested:,} {are} shared by several known users, so an anonymous Braze profile on such a device could "
            "be any of them and stays anonymous: see «Contested devices» in the report; --device_links next decides by "
            "time instead"
        )
    if identity["quarantined_devices"]:
        number = identity["quarantined_devices"]
        found.append(
            f"{number:,} {'device was' if number == 1 else 'devices were'} seen with more Braze profiles than "
            "--max_profiles_per_device, as a till or a test phone is, so nobody is recognised by such a device: see "
            "«Quarantined devices» in the report; if these are people's own, raise the limit"
        )
    left_out: Mapping[str, Mapping[str, int]] = identity["external_ids_left_out"]
    found += [*_crowd(identity, left_out.get("crowd", {})), *_anonymous(left_out.get("anonymous_prefix", {}))]
    found += [*_renamed(identity), *_refused(identity)]
    return found


def counted(number: int, noun: str) -> str:
    """
    >>> counted(1, "row"), counted(1200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _crowd(identity: Identity, rows: Mapping[str, int]) -> Iterable[str]:
    number = identity["crowd_external_ids"]
    if not number:
        return
    examples = identity["crowd_examples"]
    named = [f"{_name(example['external_user_id'])} by {example['profiles']:,} Braze profiles" for example in examples]
    more = f" and {number - len(named):,} more" if number > len(named) else ""
    what = "external id is" if number == 1 else "external ids are"
    ending = (
        f"--crowd_ids drop left {'it' if number == 1 else 'them'} out, on {counted(sum(rows.values()), 'row')}"
        if identity["crowd_ids"] == "drop"
        else "all rows under such an id go to one person in Mixpanel; --crowd_ids drop leaves it out"
    )
    yield (
        f"{number:,} {what} carried by more Braze profiles than --max_profiles_per_known_user, so most likely a "
        f"placeholder and not a person: {', '.join(named)}{more}; {ending}"
    )


def _anonymous(rows: Mapping[str, int]) -> Iterable[str]:
    if rows:
        have = "row has" if sum(rows.values()) == 1 else "rows have"
        yield (
            f"{sum(rows.values()):,} {have} an external id that begins with {ANONYMOUS_PREFIX}, as Mixpanel's own "
            f"anonymous ids do, e.g. {_names(sorted(rows))}: it is not a known user, and each such row goes by its "
            "Braze profile; the application should not give Braze the distinct_id of a user who is not signed in"
        )


def _renamed(identity: Identity) -> Iterable[str]:
    number = identity["renamed_profiles"]
    if number:
        example = identity["renamed_examples"][0]
        ids = ", then ".join(map(_name, example["external_user_ids"][:_NAMES]))
        yield (
            f"{counted(number, 'Braze profile')} had several external ids over time, as after a rename in Braze, e.g. "
            f"{_name(example['user_id'])}: {ids}; each id is a person of its own in Mixpanel, and the profile's rows "
            "without an external id go to the first"
        )


def _refused(identity: Identity) -> Iterable[str]:
    number = identity["links"]["refused"]
    if number:
        example = identity["refused_examples"][0]
        one, other = _name(example["a"]), _name(example["b"])
        ends = f"{example['a_type']} {one} with {example['b_type']} {other}"
        yield (
            f"{number:,} {'link was' if number == 1 else 'links were'} refused, since each would have joined two known "
            f"users, e.g. {ends}: {' and '.join(map(_name, example['known_users']))} stay two persons; "
            "identities/links has every such link, with status refused"
        )


def _names(values: Iterable[str]) -> str:
    return ", ".join(_name(value) for value in [value for value in values if value != "(others)"][:_NAMES])


def _name(value: str) -> str:
    """An id in a sentence, on one line whatever it holds.

    >>> _name("a b"), _name("a" + chr(10) + "b")
    ('[a b]', '[a\\\\nb]')
    """
    text = value if len(value) <= _LONGEST_NAME else f"{value[:_LONGEST_NAME]}…"
    return f"[{text if text.isprintable() else repr(text)[1:-1]}]"
