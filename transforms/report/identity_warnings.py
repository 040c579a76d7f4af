"""What somebody should look at in who is who: a sentence each, with numbers and examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from transforms.vocabulary.persons import ANONYMOUS_PREFIX

_LONGEST_NAME = 80
_NAMES = 3


def identity_warnings(identity: Mapping[str, Any], flags: Mapping[str, Any]) -> list[str]:
    """The sentences for ``identity`` of a report, under its ``flags``."""
    found = []
    contested = identity.get("contested_devices", 0)
    if contested and flags.get("device_links") == "sole":
        found.append(f"{counted(contested, 'device')} shared by several known users, linking nobody")
    if identity.get("quarantined_devices", 0):
        devices = counted(identity["quarantined_devices"], "device")
        found.append(f"{devices} with more profiles than --max_profiles_per_device, linking nobody")
    left_out: Mapping[str, Mapping[str, int]] = identity.get("external_ids_left_out", {})
    found += [*_crowd(identity, left_out.get("crowd", {})), *_anonymous(left_out.get("anonymous_prefix", {}))]
    found += [*_renamed(identity), *_refused(identity)]
    return found


def counted(number: int, noun: str) -> str:
    """
    >>> counted(1, "row"), counted(1200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _crowd(identity: Mapping[str, Any], rows: Mapping[str, int]) -> Iterable[str]:
    number = identity.get("crowd_external_ids", 0)
    if not number:
        return
    examples = identity["crowd_examples"]
    named = [f"{_name(example['external_user_id'])} by {example['profiles']:,} profiles" for example in examples]
    more = f" and {number - len(named):,} more" if number > len(named) else ""
    what = "external id is" if number == 1 else "external ids are"
    ending = (
        f"--crowd_ids drop left out {'it' if number == 1 else 'them'}, on {counted(sum(rows.values()), 'row')}"
        if identity.get("crowd_ids") == "drop"
        else "with --crowd_ids drop they are not known users"
    )
    yield (
        f"{number:,} {what} carried by more profiles than --max_profiles_per_known_user, a placeholder in all "
        f"likelihood: {', '.join(named)}{more}; {ending}"
    )


def _anonymous(rows: Mapping[str, int]) -> Iterable[str]:
    if rows:
        have = "row has" if sum(rows.values()) == 1 else "rows have"
        yield (
            f"{sum(rows.values()):,} {have} an external id that begins with {ANONYMOUS_PREFIX}, as Mixpanel's own "
            f"anonymous ids do, e.g. {_names(sorted(rows))}: it is not a known user, and each such row goes by its "
            "profile; the application should not give Braze the distinct_id of a user who is not signed in"
        )


def _renamed(identity: Mapping[str, Any]) -> Iterable[str]:
    number = identity.get("renamed_profiles", 0)
    if number:
        example = identity["renamed_examples"][0]
        ids = ", then ".join(map(_name, example["external_user_ids"][:_NAMES]))
        yield (
            f"{counted(number, 'profile')} with several external ids over time, as after a rename in Braze, e.g. "
            f"{_name(example['user_id'])}: {ids}; each id stays a person of its own, and rows without an external id "
            "go to the first"
        )


def _refused(identity: Mapping[str, Any]) -> Iterable[str]:
    number = identity.get("links", {}).get("refused", 0)
    if number:
        example = identity["refused_examples"][0]
        ends = " with ".join(f"{example[f'{end}_type']} {_name(example[end])}" for end in "ab")
        yield (
            f"{counted(number, 'link')} refused that would have joined two known users, e.g. {ends}: "
            f"{' and '.join(map(_name, example['known_users']))}; identities/links has all of them"
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
