"""The flags: their names, groups, defaults and help; what they may not be is said in ``options``."""

from __future__ import annotations

import argparse
import re
from typing import Any, NoReturn

from pipelines.command_line import privacy_flags, runner_options
from pipelines.command_line.parser import Parser
from transforms.settings import READ_CONCURRENCY, Settings

EXAMPLES = """\
Flags may be written with hyphens: --users-share is --users_share.

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


def parser() -> Parser:
    """Every flag of the command, in the groups of its help."""
    flags = Parser(
        "run",
        "--input PREFIX[,PREFIX…] --output DIR",
        "Turns the Avro files of Braze Currents into what Mixpanel's import takes.",
        EXAMPLES,
        more="\n       currents-to-mixpanel deliver|sample-export|catalog-entry --help",
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
        "--max_reject_share", type=_share, **_setting("max_reject_share"), metavar="SHARE",
        help="fail when more of the rows are rejected or lost (default %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--max_block_mb", type=_megabytes, **_setting("max_block_mb"), metavar="MB",
        help="treat a block of a file that is larger than this when decompressed as damage (default %(default)s)",
    )  # fmt: skip
    group.add_argument("--mixed_workspaces", action="store_true", help="allow rows of more than one app_group_id")

    group = flags.add_argument_group("what is sent")
    group.add_argument(
        "--event_types",
        metavar="TYPE[,TYPE…]",
        help="only these Braze event types (globs); who is who is decided on all",
    )
    group.add_argument(
        "--events_since", metavar="TIME", help="only events from this time on; who is who is decided on all"
    )
    group.add_argument(
        "--events_until", metavar="TIME", help="only events before this time; who is who is decided on all"
    )
    group.add_argument("--exclude_events", metavar="NAME[,NAME…]", help="not these Mixpanel event names (globs)")
    group.add_argument(
        "--anonymous",
        **_setting("anonymous"),
        help="rows without a known user (default %(default)s)",
    )
    group.add_argument(
        "--native_since", metavar="TIME", help="leave out what Braze's own connector has sent since then"
    )
    group.add_argument(
        "--users_share",
        type=_share,
        **_setting("users_share"),
        metavar="SHARE",
        help="only this share of the persons, e.g. 0.01",
    )
    group.add_argument(
        "--deleted_users",
        **_setting("deleted_users"),
        help="rows of profiles deleted on request (default %(default)s)",
    )
    group.add_argument(
        "--properties",
        **_setting("properties"),
        help="all: also the fields Braze's own connector drops",
    )
    group.add_argument(
        "--profile_updates",
        **_setting("profile_updates"),
        help="how users.profile.Update is sent (default %(default)s)",
    )
    group.add_argument("--tag", metavar="TEXT", help="adds the property braze_import to every event")

    privacy_flags.add_to(flags)

    group = flags.add_argument_group("who is who")
    group.add_argument(
        "--id_merge", **_setting("id_merge"),
        help="the project's identity system (default %(default)s); none: canonical ids only, which makes every bare "
        "profile id a user for ever on a simplified project; native: only rows with an external_user_id",
    )  # fmt: skip
    group.add_argument(
        "--device_links", **_setting("device_links"),
        help="whom a device links: who was anonymous on it and the known user who came next (next); its known "
        "user, nobody once two share it (sole); whoever was first (first); nobody (none) (default %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--device_stay", type=_days, metavar="DAYS",
        help="with --device_links next: how long before the known user an anonymous profile may have begun there, "
        f"in days, also 0.5, or any (default {Settings.device_stay:g})",
    )  # fmt: skip
    group.add_argument(
        "--max_profiles_per_device",
        type=_positive,
        **_setting("max_profiles_per_device"),
        metavar="N",
        help="a device with more Braze profiles links nobody (default %(default)s)",
    )
    group.add_argument(
        "--no_id", metavar="WORD[,WORD…]", help="more words that identify nobody, beside null, guest and the like"
    )
    group.add_argument(
        "--max_profiles_per_known_user", type=_positive, **_setting("max_profiles_per_known_user"), metavar="N",
        help="an external id that more Braze profiles carry is taken for a placeholder, a crowd's id "
        "(default %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--crowd_ids",
        **_setting("crowd_ids"),
        help="keep: a crowd's id is a known user, with a warning; drop: it is not a known user (default %(default)s)",
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
        "--read_concurrency", type=_positive, default=READ_CONCURRENCY, metavar="N",
        help="concurrent reads of a worker from an object store (default %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--runner", default=runner_options.DIRECT, metavar="NAME",
        help=f"the Beam runner: {', '.join((runner_options.DIRECT, *runner_options.REMOTE[:-1]))} or "
        f"{runner_options.REMOTE[-1]}; --help_runner NAME shows its options (default %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--no_wait",
        action="store_true",
        help="submit the job and leave; _manifest.json appears when the job has finished",
    )
    group.add_argument("--direct_num_workers", type=_positive, help=argparse.SUPPRESS)
    group.add_argument("--direct_running_mode", choices=("in_memory", "multi_processing"), help=argparse.SUPPRESS)
    group.add_argument("--json", action="store_true", help="print an object with status and counts as the last line")
    group.add_argument("--verbose", action="store_true", help="show Beam's own log")
    flags._optionals.add_argument(
        "--help_runner", metavar="NAME", action=_RunnerHelp, help="the options of a runner, such as FlinkRunner"
    )
    runner_options.add_to(flags)
    return flags


def _setting(name: str) -> dict[str, Any]:
    """The default of a flag, and its choices, where there are any: those of the setting."""
    return {"default": getattr(Settings, name), "choices": Settings.choices(name) or None}


class _RunnerHelp(argparse.Action):
    """Shows the options of one runner, and ends."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, name: Any, option_string: Any = None
    ) -> NoReturn:
        from pipelines.command_line.runners import named  # which imports much that only a run needs

        assert isinstance(parser, Parser)
        runner = named(name)
        titles = [runner_options.title(group) for group in runner_options.GROUPS if runner in group.runners]
        if titles:
            print(f"With --runner {runner}, besides the flags of --help:\n\n{parser.format_groups(titles)}", end="")
        else:
            print(f"{runner} has no options besides the flags of --help.")
        parser.exit()


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
