"""The flags: their names, groups, defaults and help; what they may not be is said in ``options``."""

from __future__ import annotations

import argparse
import re
from typing import NoReturn

from pipelines.command_line import privacy_flags, runner_options
from transforms.errors import UsageError

EXAMPLES = """\
examples:
  one day of exports on this machine:
    currents-to-mixpanel --input exports/ --output out/ --since 2026-03-01 --until 2026-03-02
  the history that Braze's own connector, switched on in April 2026, did not send:
    currents-to-mixpanel --input exports/ --output out/ --native_since 2026-04-01
  one person in a hundred, resolved on all data, for a test project:
    currents-to-mixpanel --input exports/ --output trial/ --users_share 0.01 --tag trial-1
"""

ANY = "any"
_MOST_MEGABYTES = 1024  # the engine counts the bytes of a column in 31 bits


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def parser() -> Parser:
    """Every flag of the command, in the groups of its help."""
    flags = Parser(
        prog="currents-to-mixpanel",
        description="Turns the Avro files of Braze Currents into what Mixpanel's import takes.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    group = flags.add_argument_group("what is read")
    group.add_argument(
        "--input", required=True, metavar="PREFIX[,PREFIX…]", help="folders (read recursively), globs or files"
    )
    group.add_argument(
        "--since", metavar="HOUR", help="from this UTC hour of date= on, e.g. 2026-03-01 or 2026-03-01-17"
    )
    group.add_argument(
        "--until", metavar="HOUR",
        help="up to this UTC hour of date=, exclusive (default: the last full hour before the clock)",
    )  # fmt: skip
    group.add_argument(
        "--skip", action="append", default=[], metavar="FILE", help="leave out this file, or glob (may be repeated)"
    )
    group.add_argument(
        "--skip_archived", action="store_true", help="leave out objects that would have to be restored first"
    )
    group.add_argument("--now", metavar="TIME", help="the clock: UNIX seconds or ISO 8601 (default: this machine's)")
    group.add_argument(
        "--max_reject_share", type=_share, default=0.01, metavar="SHARE",
        help="fail when more of the rows are rejected or lost (default 0.01)",
    )  # fmt: skip
    group.add_argument(
        "--max_block_mb", type=_megabytes, default=256, metavar="MB",
        help="treat a block of a file that is larger than this when decompressed as damage (default 256)",
    )  # fmt: skip
    group.add_argument("--mixed_workspaces", action="store_true", help="allow rows of more than one app_group_id")

    group = flags.add_argument_group("what is sent")
    group.add_argument(
        "--event_types", metavar="TYPE[,TYPE…]", help="only these Braze event types (globs); identity reads all"
    )
    group.add_argument("--events_since", metavar="TIME", help="only events from this time on; identity reads all")
    group.add_argument("--events_until", metavar="TIME", help="only events before this time; identity reads all")
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

    privacy_flags.add_to(flags)

    group = flags.add_argument_group("who is who")
    group.add_argument(
        "--id_merge", choices=("simplified", "original", "none", "native"), default="simplified",
        help="the project's identity system (default simplified); none: canonical ids only, which makes every bare "
        "profile id a user for ever on a simplified project; native: only rows with an external_user_id",
    )  # fmt: skip
    group.add_argument(
        "--device_links", choices=("next", "sole", "first", "none"), default="next",
        help="whom a device links: who was anonymous on it and the known user who came next (next, default); its known "
        "user, nobody once two share it (sole); whoever was first (first); nobody (none)",
    )  # fmt: skip
    group.add_argument(
        "--device_stay", type=_days, metavar="DAYS",
        help="with --device_links next: how long before the known user came an anonymous profile may have begun there, "
        "in days, also 0.5, or any (default 1)",
    )  # fmt: skip
    group.add_argument(
        "--max_profiles_per_device",
        type=_positive,
        default=20,
        metavar="N",
        help="a device with more profiles links nobody (default 20)",
    )
    group.add_argument(
        "--no_id", metavar="WORD[,WORD…]", help="more words that identify nobody, beside null, guest and the like"
    )
    group.add_argument(
        "--max_profiles_per_known_user", type=_positive, default=1_000, metavar="N",
        help="an external id that more Braze profiles carry is taken for a placeholder, a crowd's id (default 1000)",
    )  # fmt: skip
    group.add_argument(
        "--crowd_ids",
        choices=("keep", "drop"),
        default="keep",
        help="keep: a crowd's id is a known user, with a warning; drop: it is not a known user (default keep)",
    )
    group.add_argument(
        "--truth", metavar="FILE", help="a JSON file, profile to person, to score the identities against"
    )

    group = flags.add_argument_group("where it goes and how it runs")
    group.add_argument(
        "--output", required=True, metavar="DIR", help="a new folder, or one of an equal run that did not finish"
    )
    group.add_argument("--overwrite", action="store_true", help="replace the run that is in DIR")
    group.add_argument(
        "--workers",
        type=_positive,
        metavar="N",
        help="processes, with DirectRunner (default: 2 from 256 MB of input and two cores on, else 1)",
    )
    group.add_argument(
        "--read_concurrency", type=_positive, default=32, metavar="N",
        help="concurrent reads of a worker from an object store (default 32)",
    )  # fmt: skip
    group.add_argument(
        "--runner", default="DirectRunner", metavar="NAME",
        help="the Beam runner: DirectRunner (default), PrismRunner, PortableRunner, FlinkRunner, SparkRunner or "
        "DataflowRunner; each has options of its own below",
    )  # fmt: skip
    group.add_argument(
        "--no_wait", action="store_true", help="submit the job and leave; _manifest.json appears when it is through"
    )
    group.add_argument("--direct_num_workers", type=_positive, help=argparse.SUPPRESS)
    group.add_argument("--direct_running_mode", choices=("in_memory", "multi_processing"), help=argparse.SUPPRESS)
    group.add_argument("--json", action="store_true", help="an object with status and counts as the last line")
    group.add_argument("--verbose", action="store_true", help="show Beam's own log")
    runner_options.add_to(flags)
    return flags


def _days(text: str) -> float | str:
    if text == ANY:
        return text
    if not re.fullmatch(r"\d{1,4}(\.\d+)?", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text} is not a number of days: write one such as 7 or 0.5, or any")
    return float(text)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share: write a number from 0 to 1")
    return value


def _megabytes(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text[:5]) <= _MOST_MEGABYTES:
        raise argparse.ArgumentTypeError(f"{text} is not a size: write megabytes, a whole number from 1 to 1024")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a count: write a whole number from 1 on")
    return int(text)
