"""The pages' templates: Jinja2 with what makes texts inert, figures readable and charts.

What a template prints is escaped, and made short and visible (`markup.shortened`), unless it is markup already; a name
that is not there is an error. Jinja2 is imported when the first page is made: no worker that makes none waits for it.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

from transforms.currents.catalog import FREE_EVENTS
from transforms.report import markup, page_charts
from transforms.vocabulary.terms import Term, Terms

if TYPE_CHECKING:
    import jinja2

LONGEST_TABLE = 100
LONG_CELL = 90  # characters of markup, from which a cell gets room
_CHOICES = {
    "as_it_is": "this run",
    "anonymous_none": "with --anonymous none",
    "device_links_none": "with --device_links none",
    "without_largest_types": "without the ten largest event types",
}
_LOOKS = {
    "email": "an email address", "phone": "a phone number", "card": "a payment card number", "ip": "an IP address",
}  # fmt: skip


def filled(template: str, package: str = __package__, **values: Any) -> markup.Html:
    """Returns a template of ``package``'s folder ``templates`` with its values; it may build on those of this package.

    Raises:
        jinja2.UndefinedError: the template names something that is not there.
    """
    return markup.Html(_environment(package).get_template(template).render(**values))


@functools.cache
def _environment(package: str) -> jinja2.Environment:
    import jinja2

    folders = [pathlib.Path(str(resources.files(name))) / "templates" for name in dict.fromkeys((package, __package__))]
    found = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_inert,
        loader=jinja2.FileSystemLoader(folders),
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    found.filters |= {
        "by_choice": _by_choice,
        "by_name": _by_name,
        "code": markup.code,
        "changes": _changes,
        "duration": markup.duration,
        "escaped": markup.escaped,
        "isolated": markup.isolated,
        "looking_personal": _looking_personal,
        "moment": markup.moment,
        "number": markup.number,
        "over_numbers": _over_numbers,
        "own_words": markup.own_words,
        "ranked": markup.ranked,
        "ranked_within": _ranked_within,
        "setting": _setting,
        "share": markup.share,
        "size": markup.size,
        "stay": markup.stay_in_words,
        "word_of": _word_of,
    }
    found.globals |= {
        "charts": page_charts,
        "long_cell": LONG_CELL,
        "longest_table": LONGEST_TABLE,
        "stylesheet": markup.Html(resources.files(__package__).joinpath("report.css").read_text("utf-8").strip()),
    }
    return found


def _inert(value: Any) -> Any:
    """What every printed value passes through."""
    return value if hasattr(value, "__html__") else markup.shortened(value)


def _word_of(code: str, table: Terms[Any]) -> Term:
    """The word of a code; where there is none, a subscript in a template would be undefined, and say less."""
    found: Term = table[code]
    return found


def _over_numbers(label: str) -> str:
    """A heading of a column of numbers, as the macro ``table`` takes it."""
    return f"#{label}"


def _ranked_within(counts: dict[str, dict[str, int]]) -> list[tuple[str, str, int]]:
    """(Outer name, inner name, count), the largest of each outer name first."""
    return [(outer, inner, amount) for outer, found in counts.items() for inner, amount in markup.ranked(found)]


def _changes(limits: dict[str, dict[str, dict[str, int]]]) -> list[tuple[str, str, str, int]]:
    """(Limit, event, property, count) of what was changed, the most frequent of each limit first."""
    found = []
    for limit, events in limits.items():
        leaves = [(limit, event, name, amount) for event, names in events.items() for name, amount in names.items()]
        found += sorted((leaf for leaf in leaves if leaf[3]), key=_amount, reverse=True)
    return found


def _amount(leaf: tuple[str, str, str, int]) -> int:
    return leaf[3]


def _setting(value: object) -> str:
    """A flag's value, or a version."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "–"
    return "–" if value is None or value == "" else str(value)


def _by_choice(months: Mapping[str, Any]) -> list[tuple[str, str, dict[str, int]]]:
    """(Month, what is chosen, figures) of ``by_month``."""
    return [(month, words, of[choice]) for month, of in months.items() for choice, words in _CHOICES.items()]


def _by_name(months: Mapping[str, Any]) -> list[tuple[str, str, int, bool]]:
    """(Month, event, how many, whether Mixpanel has the name free of MTU) of ``by_month``."""
    return [
        (month, name, events, name in FREE_EVENTS)
        for month, of in months.items()
        for name, events in of["events_by_name"].items()
    ]


def _looking_personal(looks: Mapping[str, Mapping[str, int]]) -> list[tuple[str, str, int]]:
    """(Property or attribute, what its values look like, how many) of ``looks_personal``."""
    return [(name, _LOOKS.get(kind, kind), values) for kind, names in looks.items() for name, values in names.items()]
