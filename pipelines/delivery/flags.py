"""The flags of a delivery: names, defaults, help, and what they may not be."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from urllib.parse import urlsplit

from pipelines.command_line.parser import Parser
from transforms.delivery.batches import DEFAULT_BYTES, MOST_BYTES, MOST_EVENTS
from transforms.delivery.client import is_loopback
from transforms.errors import UsageError
from transforms.stores.places import place

EXAMPLES = """\
examples:
  what would be sent, without sending anything:
    currents-to-mixpanel deliver --input out/ --project_id 123 --region eu --dry_run
  events and profile updates, after a question; from a script with --yes:
    currents-to-mixpanel deliver --input out/ --project_id 123 --region eu --with_profiles
  what Mixpanel refused, after the cause was fixed there:
    currents-to-mixpanel deliver --input out/ --project_id 123 --region eu --redeliver refused
"""

_MOST_CONNECTIONS = 50


def parser() -> Parser:
    """Every flag of the command, in the groups of its help."""
    flags = Parser(
        "deliver",
        "--input RUN --project_id N --region us|eu|in",
        "Posts a finished run to a Mixpanel project. Credentials come from MIXPANEL_SERVICE_ACCOUNT,\n"
        "MIXPANEL_TOKEN and (for deletions) MIXPANEL_GDPR_TOKEN, or from files that these names with _FILE\nname.",
        EXAMPLES,
    )
    group = flags.add_argument_group("what is sent where")
    group.add_argument("--input", required=True, metavar="RUN", help="the --output of a finished run")
    group.add_argument("--project_id", required=True, metavar="N", help="the project's number")
    group.add_argument("--region", required=True, choices=("us", "eu", "in"), help="where the project's data lives")
    group.add_argument("--with_profiles", action="store_true", help="profile updates too, after the events")
    group.add_argument("--only", choices=("profiles",), help="profile updates alone, once the events are through")
    group.add_argument("--untagged", action="store_true", help="allow a run without --tag")
    group.add_argument(
        "--token_only", action="store_true", help="authorise with MIXPANEL_TOKEN: its project gets the data"
    )
    group.add_argument("--redeliver", choices=("refused",), help="send the refused records again")
    group.add_argument("--records", metavar="FILE", help="with --redeliver: lines of refused/ with corrected records")
    group.add_argument("--ledger", metavar="DIR", help="where the ledger goes (default: RUN/_delivery)")
    group.add_argument("--endpoint", metavar="URL", help="a stand-in or proxy on this machine, instead of Mixpanel")

    group = flags.add_argument_group("deletions, which go alone")
    group.add_argument(
        "--send_deletions", action="store_true", help="ask Mixpanel to delete the persons that deletions/ has whole"
    )
    group.add_argument("--confirmed", metavar="FILE", help="lists every id that may be deleted, a line each")
    group.add_argument(
        "--delete_at_most", type=int, metavar="N", help="do not ask, and change nothing where there are more ids"
    )
    group.add_argument("--stale_deletions", action="store_true", help="allow a run that is older than 7 days")
    group.add_argument("--deletion_status", action="store_true", help="ask for the state of what was asked for before")

    group = flags.add_argument_group("how")
    group.add_argument("--dry_run", action="store_true", help="show what would be sent, and send nothing")
    group.add_argument("--yes", action="store_true", help="do not ask")
    group.add_argument("--json", action="store_true", help="an object as the last line")
    for flag, kind, default, metavar, text in (
        ("--batch_events", int, MOST_EVENTS, "N", "events a request, at most"),
        ("--batch_bytes", int, DEFAULT_BYTES, "N", "bytes a request, at most"),
        ("--concurrency", int, 10, "N", f"connections, {_MOST_CONNECTIONS} at most"),
        ("--max_events_per_second", float, 20_000.0, "N", "over all connections"),
        ("--timeout", float, 60.0, "S", "seconds for an answer"),
        ("--give_up_after", float, 3600.0, "S", "seconds in which nothing gets through"),
        ("--max_refused_share", float, 0.01, "SHARE", "stop when more are refused"),
        ("--refused_ok", float, 0.0, "SHARE", "status 0 with so many refused"),
    ):
        group.add_argument(flag, type=kind, default=default, metavar=metavar, help=f"{text} (default {default:.7g})")
    return flags


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The flags as they were given.

    Raises:
        UsageError: a flag is not known, or its value cannot be.
    """
    flags = parser()
    for name in flags.unknown(argv):  # before anything else: a mistyped --input is not a missing one
        if any(word in name.lower() for word in ("secret", "token", "password", "account", "key")):
            raise UsageError(
                f"{name} is not a flag: secrets go into MIXPANEL_SERVICE_ACCOUNT, MIXPANEL_TOKEN or MIXPANEL_GDPR_TOKEN"
            )
        raise UsageError(f"{name} is not a flag{flags.did_you_mean(name)}")
    found, rest = flags.parse_known_args(list(argv))
    if rest:
        raise UsageError(f"{rest[0]} has no flag before it: every value needs one (--input, --project_id, …)")
    for name in ("input", "ledger", "records", "confirmed"):
        if getattr(found, name) is not None:
            setattr(found, name, place(getattr(found, name)))
    if not found.project_id.isdecimal():
        raise UsageError(f"--project_id {found.project_id} is not a number: copy it from the project's settings")
    for name, least, most in (
        ("batch_events", 1, MOST_EVENTS), ("batch_bytes", 1, MOST_BYTES), ("concurrency", 1, _MOST_CONNECTIONS),
        ("max_events_per_second", 1, 1e6), ("timeout", 0.1, 3600), ("give_up_after", 0, 1e9),
        ("max_refused_share", 0, 1), ("refused_ok", 0, 1),
    ):  # fmt: skip
        value = getattr(found, name)
        if not least <= value <= most:
            raise UsageError(f"--{name} {value:g}: give a number from {least:g} to {most:g}")
    if found.endpoint is not None and (
        urlsplit(found.endpoint).scheme not in ("http", "https") or not is_loopback(found.endpoint)
    ):
        raise UsageError(f"--endpoint {found.endpoint} is not on this machine: give http(s)://127.0.0.1:PORT")
    if found.records is not None and found.redeliver is None:
        raise UsageError("--records goes with --redeliver refused")
    _check_deletions(found)
    return found


def _check_deletions(found: argparse.Namespace) -> None:
    verb = "--send_deletions" if found.send_deletions else "--deletion_status" if found.deletion_status else None
    for name in ("with_profiles", "only", "redeliver", "records"):
        if verb and getattr(found, name):
            raise UsageError(f"{verb} goes alone: give --{name} in a command of its own")
    if found.send_deletions and found.deletion_status:
        raise UsageError("--send_deletions asks for the states itself: leave --deletion_status out")
    if found.deletion_status and found.dry_run:
        raise UsageError("--deletion_status changes nothing: leave --dry_run out")
    for name in ("confirmed", "delete_at_most", "stale_deletions"):
        if not found.send_deletions and getattr(found, name) not in (None, False):
            raise UsageError(f"--{name} goes with --send_deletions")
    if found.delete_at_most is not None and found.delete_at_most < 0:
        raise UsageError(f"--delete_at_most {found.delete_at_most}: give the number of ids that may be deleted")


def kinds(flags: argparse.Namespace) -> tuple[str, ...]:
    """What is to be sent, in its order."""
    if flags.only:
        return ("profiles",)
    return ("events", "profiles") if flags.with_profiles else ("events",)
