"""The command line: flags in groups, one frozen ``Options``, and clear refusals of all that is not a flag of ours.

Unknown flags are refused with the nearest real one, and flags that would carry a secret with the environment variable
to use instead: Beam logs every option it is given, and workers and services keep them.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import difflib
import re
import time
from collections.abc import Sequence
from typing import Any, NoReturn

from transforms.currents import catalog
from transforms.mixpanel.names import glob_regex
from transforms.settings import Settings

# Beam's own options that are passed on; all others are refused.
BEAM_FLAGS = ("--runner", "--direct_num_workers", "--direct_running_mode")
RUNNERS = ("DirectRunner",)

SECRET_FLAGS = {
    "--s3_access_key_id": "AWS_ACCESS_KEY_ID",
    "--s3_secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "--s3_session_token": "AWS_SESSION_TOKEN",
    "--azure_connection_string": "AZURE_STORAGE_CONNECTION_STRING",
    "--gbek": "no flag at all (the job keeps no secret)",
    "--token": "MIXPANEL_TOKEN (of the delivery; this job needs none)",
    "--project_token": "MIXPANEL_TOKEN (of the delivery; this job needs none)",
    "--api_secret": "MIXPANEL_TOKEN (of the delivery; this job needs none)",
    "--service_account_secret": "MIXPANEL_SERVICE_ACCOUNT (of the delivery; this job needs none)",
}
_SECRET_WORDS = re.compile(r"secret|password|passwd|token|connection_string|api_?key|access_key|credential")

EXAMPLES = """\
examples:
  one day of exports on this machine:
    currents-to-mixpanel --input exports/ --output out/ --since 2026-03-01 --until 2026-03-02
  the history that Braze's own connector, switched on in April 2026, did not send:
    currents-to-mixpanel --input exports/ --output out/ --native_since 2026-04-01
  one person in a hundred, resolved on all data, for a test project:
    currents-to-mixpanel --input exports/ --output trial/ --users_share 0.01 --tag trial-1
"""


class UsageError(Exception):
    """The command line cannot be obeyed; the message says what to write instead."""


@dataclasses.dataclass(frozen=True)
class Options:
    """A checked command line: where from and where to, the settings that shape the output, and how to run."""

    inputs: tuple[str, ...]
    output: str
    since: int | None
    until: int | None
    skip: tuple[str, ...]
    settings: Settings
    now_given: bool
    overwrite: bool
    truth: str | None
    workers: int | None
    verbose: bool
    read_concurrency: int


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def parse(argv: Sequence[str]) -> Options:
    """Check a command line.

    Raises:
        UsageError: a flag is unknown, mistyped, secret-bearing, or has a value it cannot have.
        SystemExit: ``--help`` was asked for.
    """
    parser = _parser()
    _refuse_secrets(argv, parser)
    _refuse_unknown(argv, parser)
    given, rest = parser.parse_known_args(list(argv))
    if rest:
        raise UsageError(f"{rest[0]} stands alone: every value needs its flag before it (--input, --output, …)")
    return _options(given)


def _parser() -> _Parser:
    parser = _Parser(
        prog="currents-to-mixpanel",
        description="Turns the Avro files of Braze Currents into what Mixpanel's import takes.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    group = parser.add_argument_group("what is read")
    group.add_argument(
        "--input", required=True, metavar="PREFIX[,PREFIX…]", help="folders (read recursively), globs or files"
    )
    group.add_argument(
        "--since", metavar="HOUR", help="from this UTC hour of date= on, e.g. 2026-03-01 or 2026-03-01-17"
    )
    group.add_argument("--until", metavar="HOUR", help="up to this UTC hour of date=, exclusive")
    group.add_argument(
        "--skip", action="append", default=[], metavar="FILE", help="leave this file out (may be repeated)"
    )
    group.add_argument("--now", metavar="TIME", help="the clock: UNIX seconds or ISO 8601 (default: this machine's)")
    group.add_argument(
        "--max_reject_share", type=_share, default=0.01, metavar="SHARE",
        help="fail when more of the rows are rejected or lost (default 0.01)",
    )  # fmt: skip
    group.add_argument("--mixed_workspaces", action="store_true", help="allow rows of more than one app_group_id")
    group.add_argument(
        "--read_concurrency", type=_positive, default=32, metavar="N", help="reads in flight (default 32)"
    )

    group = parser.add_argument_group("what is sent")
    group.add_argument(
        "--event_types", metavar="TYPE[,TYPE…]", help="only these Braze event types (globs); identity reads all"
    )
    group.add_argument("--exclude_events", metavar="NAME[,NAME…]", help="not these Mixpanel event names (globs)")
    group.add_argument(
        "--anonymous",
        choices=("all", "behaviors", "none"),
        default="all",
        help="rows without a known user (default all)",
    )
    group.add_argument(
        "--native_since", metavar="TIME", help="leave out what Braze's own connector has sent since then"
    )
    group.add_argument(
        "--users_share", type=_share, default=1.0, metavar="SHARE", help="only this share of the persons, e.g. 0.01"
    )
    group.add_argument(
        "--deleted_users",
        choices=("drop", "send"),
        default="drop",
        help="rows of profiles deleted on request (default drop)",
    )
    group.add_argument(
        "--properties",
        choices=("native", "all"),
        default="native",
        help="all: also the fields Braze's own connector drops",
    )
    group.add_argument(
        "--profile_updates",
        choices=("set", "set_once", "off"),
        default="set",
        help="how users.profile.Update is sent (default set)",
    )
    group.add_argument("--tag", metavar="TEXT", help="adds the property braze_import to every event")

    group = parser.add_argument_group("who is who")
    group.add_argument(
        "--id_merge", choices=("simplified", "original", "none", "native"), default="simplified",
        help="the project's identity system (default simplified); none: canonical ids only, which makes every bare "
        "profile id a user for ever on a simplified project; native: only rows with an external_user_id",
    )  # fmt: skip
    group.add_argument(
        "--device_links", choices=("sole", "first", "none"), default="sole",
        help="whom a device links: its known user, nobody once two share it (sole, default); whoever was first "
        "(first); nobody (none)",
    )  # fmt: skip
    group.add_argument(
        "--max_profiles_per_device",
        type=_positive,
        default=20,
        metavar="N",
        help="a device with more says nothing (default 20)",
    )
    group.add_argument(
        "--truth", metavar="FILE", help="a JSON file, profile to person, to score the identities against"
    )

    group = parser.add_argument_group("where it goes and how it runs")
    group.add_argument("--output", required=True, metavar="DIR", help="a folder of this run's own")
    group.add_argument("--overwrite", action="store_true", help="replace the run that is in DIR")
    group.add_argument("--workers", type=_positive, metavar="N", help="processes (default: two, where that is faster)")
    group.add_argument(
        "--runner", choices=RUNNERS, default="DirectRunner", help="the Beam runner (default DirectRunner)"
    )
    group.add_argument("--direct_num_workers", type=_positive, help=argparse.SUPPRESS)
    group.add_argument("--direct_running_mode", choices=("in_memory", "multi_processing"), help=argparse.SUPPRESS)
    group.add_argument("--verbose", action="store_true", help="show Beam's own log")
    return parser


def _options(given: argparse.Namespace) -> Options:
    if given.id_merge == "original":
        raise UsageError("--id_merge original is not there yet: use simplified, none or native")
    if given.tag is not None and not given.tag.strip():
        raise UsageError("--tag is empty: give it a text or leave it out")
    workers = given.workers or given.direct_num_workers
    if given.direct_running_mode == "in_memory":
        if (workers or 1) > 1:
            raise UsageError(f"--direct_running_mode in_memory is one process: leave out --workers {workers}")
        workers = 1
    since, until = _hour("--since", given.since), _hour("--until", given.until)
    if since is not None and until is not None and since >= until:
        raise UsageError(f"--since {given.since} is not before --until {given.until}: no hour lies between them")
    if not given.output.strip():
        raise UsageError("--output is empty: name a folder of this run's own")
    return Options(
        inputs=tuple(_path(source) for source in _list("--input", given.input)),
        output=_path(given.output),
        since=since,
        until=until,
        skip=tuple(name for text in given.skip for name in _list("--skip", text)),
        settings=Settings(
            now=_time("--now", given.now) if given.now else int(time.time()),
            event_types=_list("--event_types", given.event_types) if given.event_types is not None else None,
            exclude_events=_list("--exclude_events", given.exclude_events) if given.exclude_events is not None else (),
            anonymous=given.anonymous,
            native_since=_time("--native_since", given.native_since) if given.native_since else None,
            users_share=given.users_share,
            deleted_users=given.deleted_users,
            properties=given.properties,
            profile_updates=given.profile_updates,
            tag=given.tag,
            id_merge=given.id_merge,
            device_links=given.device_links,
            max_profiles_per_device=given.max_profiles_per_device,
            max_reject_share=given.max_reject_share,
            mixed_workspaces=given.mixed_workspaces,
        ),
        now_given=given.now is not None,
        overwrite=given.overwrite,
        truth=given.truth,
        workers=workers,
        verbose=given.verbose,
        read_concurrency=given.read_concurrency,
    )


def check_event_types(wanted: Sequence[str] | None, found: Sequence[str]) -> None:
    """Refuse an ``--event_types`` that names nothing in the catalogue and nothing in the export.

    Raises:
        UsageError: with the nearest type that exists.
    """
    known = sorted({*catalog.event_types(), *found})
    for name in wanted or ():
        if not any(re.fullmatch(glob_regex(name), kind) for kind in known):
            near = difflib.get_close_matches(name, known, 1, 0.5)
            raise UsageError(f"--event_types {name} is no event type{f': did you mean {near[0]}?' if near else ''}")


def _flags(parser: argparse.ArgumentParser) -> list[str]:
    return [flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")]


def _refuse_secrets(argv: Sequence[str], parser: argparse.ArgumentParser) -> None:
    known = set(_flags(parser))
    for word in argv:
        flag = word.split("=", 1)[0]
        if not flag.startswith("--") or flag in known:
            continue
        name = "--" + flag.lstrip("-").replace("-", "_")
        if name in SECRET_FLAGS:
            raise UsageError(f"{flag} would put a secret into logs: use the environment variable {SECRET_FLAGS[name]}")
        if _SECRET_WORDS.search(name):
            raise UsageError(f"{flag} is no flag, and secrets do not go into flags: use the environment")


def _refuse_unknown(argv: Sequence[str], parser: argparse.ArgumentParser) -> None:
    """Before anything else: a mistyped --input is no missing one."""
    flags = _flags(parser)
    for word in argv:
        flag = word.split("=", 1)[0]
        if len(flag) < 2 or flag[0] != "-" or flag[1].isdigit() or flag in flags or flag == "-h":
            continue
        near = difflib.get_close_matches("--" + flag.lstrip("-").replace("-", "_"), flags, 1, 0.6)
        raise UsageError(f"{flag} is no flag{f': did you mean {near[0]}?' if near else ': --help lists them'}")


def _list(flag: str, text: str) -> tuple[str, ...]:
    items = tuple(item.strip() for item in text.split(",") if item.strip())
    if not items:
        raise UsageError(f"{flag} is empty: give it a value or leave it out")
    return items


def _path(text: str) -> str:
    return text.removeprefix("file://") or text


def _time(flag: str, text: str) -> int:
    """UNIX seconds of a time given as such or in ISO 8601 (UTC where it names no zone)."""
    try:
        if re.fullmatch(r"\d{1,11}(\.\d*)?", text):  # milliseconds have more digits
            return int(float(text))
        moment = datetime.datetime.fromisoformat(re.sub(r"[Zz]$", "+00:00", text))
    except ValueError:
        raise UsageError(
            f"{flag} {text} is no time: write UNIX seconds or ISO 8601, e.g. 2026-03-01T17:00:00Z"
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)).timestamp())


def _hour(flag: str, text: str | None) -> int | None:
    if text is None:
        return None
    return _time(flag, re.sub(r"^(\d{4}-\d\d-\d\d)-(\d\d)$", r"\1T\2:00", text))


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share: write a number from 0 to 1")
    return value


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no count: write a whole number from 1 on")
    return int(text)


def shown_flags(options: Options) -> dict[str, Any]:
    """The flags of a run for its report: what was asked for, no secret among them (none is ever a flag)."""
    shown = dataclasses.asdict(options)
    settings = shown.pop("settings")
    return {key: list(v) if isinstance(v, tuple) else v for key, v in {**shown, **settings}.items()}
