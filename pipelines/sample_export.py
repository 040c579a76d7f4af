"""Makes an export that looks like one of Braze Currents', with the truth about who is who beside it.

    python -m pipelines.sample_export --output sample --users 200 --days 2 --seed 1

writes Avro files below ``currents/`` and ``truth.json`` ({profile id: person}). The same flags give the same bytes.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from pipelines.sample import layout, people, rows
from pipelines.sample.funnels import Library

CODECS = ("null", "deflate", "snappy")
DEFAULT_START = "2026-03-01"


@dataclasses.dataclass(frozen=True)
class Summary:
    """What was written; ``special`` counts the rows that are late, repeated or unusable."""

    rows_by_type: dict[str, int]
    files: int
    bytes: int
    profiles: int
    persons: int
    devices: int
    special: dict[str, int]

    @property
    def rows(self) -> int:
        return sum(self.rows_by_type.values())


def write_export(
    output: str | pathlib.Path,
    *,
    users: int,
    days: int,
    seed: int,
    codec: str = "null",
    rows: int | None = None,
    flush_minutes: int = 5,
    start: str = DEFAULT_START,
) -> Summary:
    """Write an export of ``users`` people over ``days`` days (UTC, from ``start``) into a new or empty folder.

    ``rows`` is the approximate total (default: 100 a person and day); each profile and each event type has at least one
    row. ``flush_minutes`` 0 gives one file a type and day, of at most 100,000 rows, for benchmarks.

    Raises ValueError for an argument out of range and FileExistsError where ``output`` is not empty.
    """
    if users < people.FEWEST_PEOPLE:
        raise ValueError(f"--users {users}: the special cases of identity need at least {people.FEWEST_PEOPLE} people")
    if days < 1:
        raise ValueError(f"--days {days}: give at least 1")
    if rows is not None and rows < 1:
        raise ValueError(f"--rows {rows}: give at least 1, or leave it out")
    if seed < 0:
        raise ValueError(f"--seed {seed}: give 0 or more")
    if flush_minutes and (flush_minutes < 0 or 60 % flush_minutes):
        raise ValueError(f"--flush_minutes {flush_minutes}: give 0 or a divisor of 60, so that no file spans two hours")
    if codec not in CODECS:
        raise ValueError(f"--codec {codec}: give one of {', '.join(CODECS)}")
    begin = _midnight(start)
    root = pathlib.Path(output)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(f"--output {root} is not an empty folder: name a new one, or remove it first")
    return _write(root, users, days, seed, codec, rows, flush_minutes, begin)


def _midnight(date: str) -> int:
    try:
        day = datetime.datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        raise ValueError(f"--start {date}: give a date as YYYY-MM-DD, such as {DEFAULT_START}") from None
    return int(day.timestamp())


def _write(
    root: pathlib.Path, users: int, days: int, seed: int, codec: str, total: int | None, flush_minutes: int, start: int
) -> Summary:
    end = start + days * rows.DAY
    # Old path form and schemas for the first 40 % of the hours, the next 30 % one release behind the newest.
    eras = start + days * 24 * 2 // 5 * rows.HOUR, start + days * 24 * 7 // 10 * rows.HOUR
    rng = np.random.default_rng(seed)
    population = people.Population(users=users, start=start, end=end, rng=rng)
    library = Library(seed)
    planned, special = rows.plan(
        population,
        library,
        total=total or users * days * rows.ROWS_PER_PERSON_AND_DAY,
        start=start,
        end=end,
        eras=eras,
        rng=rng,
    )
    root.mkdir(parents=True, exist_ok=True)
    writer = layout.Writer(
        root,
        population=population,
        library=library,
        seed=seed,
        codec=codec,
        flush_minutes=flush_minutes,
        start=start,
        eras=eras,
        rng=rng,
    )
    writer.write(planned)
    truth = population.truth()
    text = json.dumps(truth, ensure_ascii=False, indent=0, sort_keys=True)
    (root / "truth.json").write_text(text + "\n", encoding="utf-8")
    counts = np.bincount(planned.event_type, minlength=len(library.types)).tolist()
    return Summary(
        rows_by_type=dict(zip(library.types, counts, strict=True)),
        files=writer.files,
        bytes=writer.size,
        profiles=len(truth),
        persons=population.persons,
        devices=population.devices,
        special=special,
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="sample_export", description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--output", required=True, metavar="DIR", help="a new or empty folder")
    parser.add_argument("--users", type=int, default=200, metavar="N", help="people (default %(default)s)")
    parser.add_argument("--days", type=int, default=2, metavar="N", help="days from --start on (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="same seed, same bytes (default %(default)s)")
    parser.add_argument("--codec", default="null", help="of the Avro blocks: null, deflate or snappy (default null)")
    parser.add_argument("--start", default=DEFAULT_START, metavar="DATE", help="first day, UTC (default %(default)s)")
    parser.add_argument(
        "--flush_minutes",
        type=int,
        default=5,
        metavar="N",
        help="minutes a file; 0: a file a day (default %(default)s)",
    )
    parser.add_argument("--rows", type=int, metavar="N", help="approximate total (default 100 a person and day)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    parser = _parser()
    flags = parser.parse_args(argv)
    output = flags.output
    try:
        summary = write_export(**vars(flags))
    except (ValueError, FileExistsError) as error:
        parser.error(str(error))
    except OSError as error:
        print(f"sample_export: cannot write {output}: {error}", file=sys.stderr)
        return 1
    types = sum(1 for count in summary.rows_by_type.values() if count)
    print(f"{output}: {summary.rows:,} rows of {types} event types in {summary.files:,} files, {summary.bytes:,} bytes")
    print(f"{summary.persons:,} people with {summary.profiles:,} profiles on {summary.devices:,} devices (truth.json)")
    print(", ".join(f"{count:,} {what}" for what, count in summary.special.items()) + " among the rows")
    return 0


def cli() -> None:
    """The installed command."""
    sys.exit(main())


if __name__ == "__main__":
    cli()
