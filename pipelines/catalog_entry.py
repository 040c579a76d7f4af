"""The entry of ``transforms/currents/catalog.json`` for the event type of an Avro file, to be looked over and added.

    python -m pipelines.catalog_entry FILE.avro

Columns are renamed as on the types that have them already. Of a type that is known, the entry is the catalogue's with
the columns that it lacks; what is new, and what is left to decide, is said on standard error.
"""

from __future__ import annotations

import collections
import functools
import json
import sys
from collections.abc import Sequence
from typing import Any

import fastavro

from pipelines.command_line.exit_status import Status
from pipelines.command_line.interruption import carry_out
from pipelines.command_line.last_words import finish, show
from pipelines.command_line.parser import Parser
from transforms.avro.schema import event_type_of
from transforms.currents import catalog
from transforms.errors import UnsupportedSchema, UsageError

PROGRAM = "catalog_entry"
NOTHING = {"event_type": None, "columns": 0, "new_columns": 0}
"""What ``--json`` says where there is no entry."""
EXAMPLES = """\
examples:
  the entry of a new event type:
    currents-to-mixpanel catalog-entry part-0.avro
  into a file of its own, with what is left to decide on the terminal:
    currents-to-mixpanel catalog-entry part-0.avro > entry.json
  how many columns of a known type the catalogue lacks, for a script:
    currents-to-mixpanel catalog-entry part-0.avro --json
"""
_PRIMITIVES = frozenset({"string", "int", "long", "float", "double", "boolean"})


def entry(schema: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """(The entry for a record's schema, the columns of it that the catalogue lacks).

    Raises:
        UnsupportedSchema: the schema has no record, or a column of a type that the catalogue cannot say.
    """
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise UnsupportedSchema("the schema is not a record")
    name = event_type_of(".".join(filter(None, (schema.get("namespace"), schema["name"]))))
    known = catalog.event_types().get(name)
    found: dict[str, Any] = (
        next(of for of in catalog.entries() if of["event_type"] == name)
        if known
        else {
            "event_type": name,
            "mixpanel_event": catalog.readable_name(name),
            "partner_page": False,
            "native": False,
            "fields": [],
        }
    )
    unsent = known is not None and known.mixpanel_event is None
    lacking = [field for field in schema["fields"] if known is None or field["name"] not in known.properties]
    fields = [*found["fields"], *(_field(field, unsent) for field in lacking)]
    return {**found, "fields": fields}, [field["name"] for field in lacking]


def shown(found: dict[str, Any]) -> str:
    """An entry as the catalogue's file has it: a line a column."""
    head = json.dumps({key: value for key, value in found.items() if key != "fields"}, ensure_ascii=False)[:-1]
    columns = ",\n".join(f"  {json.dumps(column, ensure_ascii=False)}" for column in found["fields"])
    return f'{head}, "fields": [\n{columns}\n]}}'


def _field(field: dict[str, Any], unsent: bool) -> list[Any]:
    """A column's line: its property and flags are those that most types have that send it."""
    name, kind = field["name"], _type(field["name"], field["type"])
    alike = [
        (of.mixpanel, tuple(sorted(of.flags - {"deprecated"}, reverse=True)))
        for event_type in catalog.event_types().values()
        for of in event_type.fields
        if of.name == name
    ]
    renamed = collections.Counter(target for target, _ in alike if target is not None)
    flags = collections.Counter(flags for _, flags in alike)
    target = None if unsent else renamed.most_common(1)[0][0] if renamed else name
    most = flags.most_common(1)[0][0] if flags else ()
    return [name, kind, target, *([list(most)] if most else [])]


def _type(column: str, node: Any) -> str:
    """
    >>> _type("a", ["null", "string"]), _type("b", {"type": "array", "items": ["null", "string"]})
    ('string?', 'array<string?>')
    """
    if isinstance(node, list) and len(node) == 2 and "null" in node:
        (other,) = (branch for branch in node if branch != "null")
        return f"{_type(column, other)}?"
    if isinstance(node, dict) and node.get("type") == "array":
        return f"array<{_type(column, node['items'])}>"
    if isinstance(node, dict) and "logicalType" not in node:
        node = node.get("type")
    if isinstance(node, str) and node in _PRIMITIVES:
        return node
    raise UnsupportedSchema(
        f"column {column} has the type {json.dumps(node)}, which Currents does not use: is this file Braze's own, or "
        "one that a tool has written again?"
    )


def _parser() -> Parser:
    description = "Prints the catalogue's entry for the event type of an Avro file, to be looked over and added."
    parser = Parser("catalog-entry", "FILE.avro", description, EXAMPLES)
    group = parser.add_argument_group("what is read")
    group.add_argument("file", metavar="FILE.avro", help="a file of the new type, as Braze has written it")
    group.add_argument("--json", action="store_true", help="print an object with status and counts as the last line")
    return parser


def main(argv: Sequence[str]) -> Status:
    """Print the entry of a file; returns the exit status."""
    end = functools.partial(finish, PROGRAM, argv)
    parser = _parser()
    try:
        for flag in parser.unknown(argv):
            raise UsageError(f"{flag} is not a flag{parser.did_you_mean(flag)}")
        path = parser.parse_args(argv).file
    except UsageError as error:
        return end(Status.REFUSED, NOTHING, message=f"{error}; see --help")
    except SystemExit:  # --help
        return end(Status.DONE, NOTHING, word="help")
    try:
        with open(path, "rb") as file:
            schema = fastavro.reader(file).writer_schema
        assert isinstance(schema, dict)
        found, lacking = entry(schema)
    except (OSError, ValueError, EOFError, KeyError, AssertionError) as error:
        return end(Status.REFUSED, NOTHING, message=f"{path}: {error}")
    show([shown(found)])
    for line in _left_to_decide(found, lacking):
        print(line, file=sys.stderr)
    told = {"event_type": found["event_type"], "columns": len(found["fields"]), "new_columns": len(lacking)}
    return end(Status.DONE, told, word="printed")


def _left_to_decide(found: dict[str, Any], lacking: list[str]) -> list[str]:
    name = found["event_type"]
    if name in catalog.event_types():
        new = ", ".join(lacking)
        return [f"{name} is in the catalogue; new: {new}" if new else f"{name} is in the catalogue, with every column"]
    return [
        f"{name} is new. To decide: mixpanel_event, Braze's own words where the glossary has them, null where the type",
        'is not an act of a user; "native", to be left out where the glossary has a Mixpanel tab for the type; which',
        'columns are JSON in a string ("json") or personal ("pii").',
    ]


def cli() -> None:
    """The installed command."""
    carry_out(main, PROGRAM, sys.argv[1:], NOTHING)


if __name__ == "__main__":
    cli()
