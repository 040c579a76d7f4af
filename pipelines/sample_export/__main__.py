"""Makes an export that looks like one of Braze Currents', with the truth about who is who beside it.

    python -m pipelines.sample_export --output sample --users 200 --days 2 --seed 1

writes Avro files below ``currents/`` and ``truth.json``, which has by profile id the person (``persons``) and the
external id that Braze has for it in the end (``braze``). The same flags give the same bytes.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import pathlib
import shutil
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines.command_line.exit_status import Status
from pipelines.command_line.failures import fault
from pipelines.command_line.interruption import carry_out
from pipelines.command_line.last_words import finish, show
from pipelines.command_line.parser import Parser
from pipelines.sample_export import files, people, rows
from pipelines.sample_export.funnels import Library
from transforms.errors import StoreUnavailable, UsageError
from transforms.stores.places import place

PROGRAM = "sample_export"
NOTHING: dict[str, Any] = {
    "rows": 0, "event_types": 0, "files": 0, "bytes": 0, "persons": 0, "profiles": 0, "devices": 0, "output": None,
}  # fmt: skip
"""What ``--json`` says where nothing was written."""
CODECS = ("null", "deflate", "snappy")
TRUTH = "truth.json"
DEFAULT_START = "2026-03-01"
ORPHAN_ROWS = 0.5
FLUSH_MINUTES = 5
EXAMPLES = """\
examples:
  two days of 200 people:
    currents-to-mixpanel sample-export --output sample/
  300,000 rows, in compressed files of an hour:
    currents-to-mixpanel sample-export --output big/ --users 3000 --rows 300000 --flush_minutes 60 --codec deflate
  other people over a month, whose merges left no trace in the rows:
    currents-to-mixpanel sample-export --output old/ --seed 2 --days 30 --orphan_rows 0
"""


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
    codec: str = CODECS[0],
    rows: int | None = None,
    flush_minutes: int = FLUSH_MINUTES,
    start: str = DEFAULT_START,
    orphan_rows: float = ORPHAN_ROWS,
) -> Summary:
    """Write an export of ``users`` people over ``days`` days (UTC, from ``start``) into a new or empty folder.

    ``rows`` is the approximate total (default: 100 a person and day); each profile and each event type has at least one
    row. ``flush_minutes`` 0 gives one file a type and day, of at most 100,000 rows, for benchmarks. ``orphan_rows`` is
    the last share of the time in which merged profiles have a ``users.UserOrphan`` row: exports of old have none.

    Raises ValueError for an argument out of range and FileExistsError where ``output`` is not empty. What could not be
    finished is removed.
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
    if not 0 <= orphan_rows <= 1:
        raise ValueError(f"--orphan_rows {orphan_rows:g}: give a share from 0 to 1")
    if codec not in CODECS:
        raise ValueError(f"--codec {codec}: give one of {', '.join(CODECS)}")
    begin = _midnight(start)
    root = pathlib.Path(output)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(f"--output {root} is not an empty folder: name a new one, or remove it first")
    try:
        return _write(root, users, days, seed, codec, rows, flush_minutes, begin, orphan_rows)
    except BaseException:
        shutil.rmtree(root / "currents", ignore_errors=True)  # the same command would be refused beside it
        (root / TRUTH).unlink(missing_ok=True)
        raise


def _midnight(date: str) -> int:
    try:
        day = datetime.datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        raise ValueError(f"--start {date}: give a date as YYYY-MM-DD, such as {DEFAULT_START}") from None
    return int(day.timestamp())


def _write(
    root: pathlib.Path, users: int, days: int, seed: int, codec: str, total: int | None, flush_minutes: int, start: int,
    orphan_rows: float,
) -> Summary:  # fmt: skip
    end = start + days * rows.DAY
    # Old path form and schemas for the first 40 % of the hours, the next 30 % one release behind the newest.
    eras = start + days * 24 * 2 // 5 * rows.HOUR, start + days * 24 * 7 // 10 * rows.HOUR
    rng = np.random.default_rng(seed)
    population = people.Population(users=users, start=start, end=end, rng=rng, orphan_rows=orphan_rows)
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
    writer = files.Writer(
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
    (root / TRUTH).write_text(text + "\n", encoding="utf-8")
    counts = np.bincount(planned.event_type, minlength=len(library.types)).tolist()
    return Summary(
        rows_by_type=dict(zip(library.types, counts, strict=True)),
        files=writer.files,
        bytes=writer.size,
        profiles=len(truth["persons"]),
        persons=population.persons,
        devices=population.devices,
        special=special,
    )


def _parser() -> Parser:
    parser = Parser("sample-export", "--output DIR", (__doc__ or "").splitlines()[0], EXAMPLES)
    group = parser.add_argument_group("what is made")
    group.add_argument("--output", required=True, metavar="DIR", help="a new or empty folder")
    group.add_argument("--users", type=int, default=200, metavar="N", help="people (default %(default)s)")
    group.add_argument("--days", type=int, default=2, metavar="N", help="days from --start on (default %(default)s)")
    group.add_argument("--seed", type=int, default=1, metavar="S", help="same seed, same bytes (default %(default)s)")
    group.add_argument(
        "--codec",
        default=CODECS[0],
        metavar="NAME",
        help=f"of the Avro blocks: {', '.join(CODECS[:-1])} or {CODECS[-1]} (default %(default)s)",
    )
    group.add_argument("--start", default=DEFAULT_START, metavar="DATE", help="first day, UTC (default %(default)s)")
    group.add_argument(
        "--flush_minutes",
        type=int,
        default=FLUSH_MINUTES,
        metavar="N",
        help="minutes a file; 0: a file a day (default %(default)s)",
    )
    group.add_argument(
        "--orphan_rows", type=float, default=ORPHAN_ROWS, metavar="SHARE",
        help="last share of the time in which merged profiles have a users.UserOrphan row (default %(default)s)",
    )  # fmt: skip
    group.add_argument("--rows", type=int, metavar="N", help="approximate total (default 100 a person and day)")
    group.add_argument("--json", action="store_true", help="print an object with status and counts as the last line")
    return parser


def main(argv: Sequence[str]) -> Status:
    """Run the command; returns its exit status."""
    end = functools.partial(finish, PROGRAM, argv)
    told = dict(NOTHING)
    try:
        parser = _parser()
        for flag in parser.unknown(argv):
            raise UsageError(f"{flag} is not a flag{parser.did_you_mean(flag)}")
        flags = vars(parser.parse_args(argv))
        del flags["json"]
        output = told["output"] = flags["output"] = place(flags["output"])
        if "://" in output:
            raise UsageError(f"--output {output} is not on this machine: make the export in a folder and upload it")
        summary = write_export(**flags)
    except (UsageError, StoreUnavailable, ValueError, FileExistsError) as error:
        return end(Status.REFUSED, told, message=f"{error}; see --help")
    except OSError as error:
        return end(Status.FAILED, told, message=f"cannot write {output}: {error}; the same command starts again")
    except KeyboardInterrupt:
        return end(Status.INTERRUPTED, told, message="interrupted: nothing is left; the same command starts again")
    except SystemExit:  # --help
        return end(Status.DONE, told, word="help")
    except Exception as error:
        return end(Status.FAILED, told, message=fault(error))
    types = sum(1 for count in summary.rows_by_type.values() if count)
    show([
        f"{output}: {summary.rows:,} rows of {types} event types in {summary.files:,} files, {summary.bytes:,} bytes",
        f"{summary.persons:,} people with {summary.profiles:,} profiles on {summary.devices:,} devices (truth.json)",
        ", ".join(f"{count:,} {what}" for what, count in summary.special.items()) + " among the rows",
    ])  # fmt: skip
    told |= {name: getattr(summary, name) for name in NOTHING if name not in ("output", "event_types")}
    return end(Status.DONE, {**told, "event_types": types, **summary.special}, word="written")


def cli() -> None:
    """The installed command."""
    carry_out(main, PROGRAM, sys.argv[1:], NOTHING)


if __name__ == "__main__":
    cli()
