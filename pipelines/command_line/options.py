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
from typing import Any

from pipelines.command_line import flags, privacy_flags
from pipelines.command_line.inputs import split_inputs
from pipelines.command_line.runner_options import DIRECT
from pipelines.command_line.runners import Submission, submission
from transforms.currents import catalog
from transforms.currents.globs import glob_regex
from transforms.currents.paths import HOUR
from transforms.errors import UsageError
from transforms.evidence.ids import folded
from transforms.settings import Settings
from transforms.stores.places import place

SECRET_FLAGS = {
    "--hash_key": "CURRENTS_HASH_KEY, or name its file with --hash_key_file",
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


@dataclasses.dataclass(frozen=True)
class Options:
    """A checked command line: where from and where to, the settings that shape the output, and how to run."""

    inputs: tuple[str, ...]
    output: str
    since: int | None
    until: int | None
    skip: tuple[str, ...]
    skip_archived: bool
    settings: Settings
    now_given: bool
    overwrite: bool
    truth: str | None
    workers: int | None
    read_concurrency: int
    submission: Submission
    verbose: bool


def parse(argv: Sequence[str]) -> Options:
    """Check a command line.

    Raises:
        UsageError: a flag is unknown, mistyped, secret-bearing, or has a value it cannot have.
        SystemExit: ``--help`` was asked for.
    """
    parser = flags.parser()
    unknown = parser.unknown(argv)  # before anything else: a mistyped --input is not a missing one
    _refuse_secrets(unknown)
    for flag in unknown:
        raise UsageError(f"{flag} is not a flag{parser.did_you_mean(flag)}")
    given, rest = parser.parse_known_args(list(argv))
    if rest:
        raise UsageError(f"{rest[0]} has no flag before it: every value needs one (--input, --output, …)")
    return _options(given)


def _options(given: argparse.Namespace) -> Options:
    if given.id_merge == "original":
        raise UsageError("--id_merge original is not supported yet: use simplified, none or native")
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
    events_since, events_until = (
        None if text is None else _time(flag, text)
        for flag, text in (("--events_since", given.events_since), ("--events_until", given.events_until))
    )  # fmt: skip
    if events_since is not None and events_until is not None and events_since >= events_until:
        raise UsageError(
            f"--events_since {given.events_since} is not before --events_until {given.events_until}: no time lies "
            "between them"
        )
    if not given.output.strip():
        raise UsageError("--output is empty: name a folder of this run's own")
    inputs, output = split_inputs(given.input), place(given.output)
    places = [*(("--input", source) for source in inputs), ("--output", output)]
    truth = None if given.truth is None else place(given.truth)
    if truth is not None:
        places.append(("--truth", truth))
    places += privacy_flags.places(given)
    where = submission(given, places)
    leaving = privacy_flags.privacy_settings(given, where.local)
    now = _time("--now", given.now) if given.now is not None else int(time.time())
    return Options(
        inputs=inputs,
        output=output,
        since=since,
        until=until,
        skip=tuple(given.skip),
        skip_archived=given.skip_archived,
        settings=Settings(
            now=now,
            event_types=_list("--event_types", given.event_types) if given.event_types is not None else None,
            exclude_events=_list("--exclude_events", given.exclude_events) if given.exclude_events is not None else (),
            anonymous=given.anonymous,
            native_since=_time("--native_since", given.native_since) if given.native_since is not None else None,
            events_since=events_since,
            events_until=events_until,
            users_share=given.users_share,
            deleted_users=given.deleted_users,
            properties=given.properties,
            profile_updates=given.profile_updates,
            tag=given.tag,
            id_merge=given.id_merge,
            device_links=given.device_links,
            device_stay=_stay(given.device_links, given.device_stay),
            max_profiles_per_device=given.max_profiles_per_device,
            max_profiles_per_known_user=given.max_profiles_per_known_user,
            crowd_ids=given.crowd_ids,
            no_id=_words("--no_id", given.no_id),
            max_reject_share=given.max_reject_share,
            max_block_mb=given.max_block_mb,
            mixed_workspaces=given.mixed_workspaces,
            # Elsewhere a run cannot be made again when its damage shows: all columns are read at once.
            read_whole_rows=where.runner != DIRECT,
            read_until=now // HOUR * HOUR if until is None else None,
            **leaving,
        ),
        now_given=given.now is not None,
        overwrite=given.overwrite,
        truth=truth,
        workers=workers,
        read_concurrency=given.read_concurrency,
        submission=where,
        verbose=given.verbose,
    )


def _stay(policy: str, given: float | str | None) -> float | None:
    if given is not None and policy != "next":
        raise UsageError(f"--device_stay {given} is for --device_links next, and it is {policy}: leave one of them out")
    return None if given == flags.ANY else Settings.device_stay if given is None else float(given)


def check_event_types(wanted: Sequence[str] | None, found: Sequence[str]) -> None:
    """Refuse an ``--event_types`` that names nothing in the catalogue and nothing in the export.

    Raises:
        UsageError: with the nearest type that exists.
    """
    known = sorted({*catalog.event_types(), *found})
    for name in wanted or ():
        if not any(re.fullmatch(glob_regex(name), kind) for kind in known):
            near = difflib.get_close_matches(name, known, 1, 0.5)
            raise UsageError(f"--event_types {name} is not an event type{f': did you mean {near[0]}?' if near else ''}")


def _refuse_secrets(unknown: Sequence[str]) -> None:
    for flag in unknown:
        name = "--" + flag.lstrip("-").replace("-", "_")
        if name in SECRET_FLAGS:
            raise UsageError(f"{flag} would put a secret into logs: use the environment variable {SECRET_FLAGS[name]}")
        if flag.startswith("--") and _SECRET_WORDS.search(name):
            raise UsageError(f"{flag} is not a flag, and secrets do not go into flags: use the environment")


def _list(flag: str, text: str) -> tuple[str, ...]:
    items = tuple(item.strip() for item in text.split(",") if item.strip())
    if not items:
        raise UsageError(f"{flag} is empty: give it a value or leave it out")
    return items


def _words(flag: str, text: str | None) -> tuple[str, ...]:
    """Words as they are compared, in one order, so that the same words are the same run."""
    return tuple(sorted({folded(word) for word in _list(flag, text)})) if text is not None else ()


def _time(flag: str, text: str) -> int:
    """UNIX seconds of a time given as such or in ISO 8601 (UTC where it names no zone)."""
    try:
        if re.fullmatch(r"\d{1,11}(\.\d*)?", text):  # milliseconds have more digits
            return int(float(text))
        moment = datetime.datetime.fromisoformat(re.sub(r"[Zz]$", "+00:00", text))
    except ValueError:
        raise UsageError(
            f"{flag} {text} is not a time: write UNIX seconds or ISO 8601, e.g. 2026-03-01T17:00:00Z"
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)).timestamp())


def _hour(flag: str, text: str | None) -> int | None:
    if text is None:
        return None
    if re.fullmatch(r"\d{1,8}", text):  # as seconds, an hour of 1970: surely a date meant otherwise
        raise UsageError(f"{flag} {text} is not an hour: write e.g. 2026-03-01 or 2026-03-01-17")
    return _time(flag, re.sub(r"^(\d{4}-\d\d-\d\d)-(\d\d)$", r"\1T\2:00", text))


def shown_flags(options: Options) -> dict[str, Any]:
    """The flags of a run for its report: what was asked for, no secret among them (none is ever a flag)."""
    shown = dataclasses.asdict(options)
    settings, where = shown.pop("settings"), shown.pop("submission")
    shown |= {"runner": where["runner"], "no_wait": where["no_wait"], **where["given"]}
    del settings["read_until"]  # not a flag: it stands beside what it leaves out
    for name in ("hash_key_seal", "suppress_digest"):  # not flags, and nothing that a key may be tried against is shown
        del settings[name]
    return {key: list(v) if isinstance(v, tuple) else v for key, v in {**shown, **settings}.items()}
