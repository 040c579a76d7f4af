"""The command as a Dataflow Flex Template: which of its flags are parameters, and how a launch's words become flags.

A parameter is
- a flag of the command itself, unless it says how one machine works or what the launcher decides (``_NOT_HERE``);
- an option of DataflowRunner that a launch has no place of its own for (region, machine type, network and so on have
  one in ``gcloud dataflow flex-template run``) and that does not bring this program, which the image holds already.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from typing import Any

from pipelines import PROGRAM, currents_to_mixpanel
from pipelines.command_line import flags
from pipelines.command_line.exit_status import Status
from pipelines.command_line.last_words import finish
from pipelines.command_line.parser import help_text, with_underscores
from pipelines.command_line.runner_options import DATAFLOW, OPTIONS, RUNNERS_OF
from pipelines.command_line.summary import counts
from transforms.errors import UsageError

_NOT_HERE = frozenset({
    "help", "version", "help_runner", "runner", "no_wait", "workers", "direct_num_workers", "direct_running_mode",
    "json", "verbose",
})  # fmt: skip
# Of DataflowRunner's: what a launch has no field for. The image is one, but gcloud has no flag for it.
_OF_THE_RUNNER = frozenset({
    "sdk_container_image", "autoscaling_algorithm", "disk_size_gb", "disk_type", "dataflow_service_options",
    "number_of_worker_harness_threads", "max_cache_memory_usage_mb",
})  # fmt: skip
_DEMANDED = frozenset({"input", "output", "sdk_container_image"})

_PLACE = r"[a-z0-9]+://[^,\s][^,]*"  # local paths are those of the launcher, which ends before the work begins
_HOUR = r"\d{4}-\d{2}-\d{2}(-\d{2}|[T ]\d{2}(:\d{2}){0,2}(Z|[+-]\d{2}:\d{2})?)?"
_TIME = r"(\d{9,11}|\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2})?)?)"
_SHARE = r"(0(\.\d+)?|1(\.0+)?)"
_PATTERNS = {
    "PREFIX[,PREFIX…]": rf"{_PLACE}(,{_PLACE})*",
    "DIR": _PLACE,
    "RULES": r"[^,]*[^,\s][^,]*(,[^,]*[^,\s][^,]*)*",
    "FILE": r".*\S.*",
    "HOUR": _HOUR,
    "TIME": _TIME,
    "SHARE": _SHARE,
    "TYPE[,TYPE…]": r"[^,\s]+(,[^,\s]+)*",
    "NAME[,NAME…]": r"[^,]*[^,\s][^,]*(,[^,]*[^,\s][^,]*)*",
    "WORD[,WORD…]": r"[^,]*[^,\s][^,]*(,[^,]*[^,\s][^,]*)*",
    "TEXT": r".*\S.*",
    "N": r"[1-9]\d{0,8}",
    "DAYS": r"(any|\d{1,4}(\.\d+)?)",
    "MB": r"([1-9]\d{0,2}|10[01]\d|102[0-4])",
    "IMAGE": r"[\w.-]+(:\d+)?(/[\w.-]+)+(:[\w.-]+|@sha256:[0-9a-f]{64})",
    "TYPE": r"[\w./-]+",
    "NAME[=VALUE]": r"[\w-]+(=[^;\s]+)?(;[\w-]+(=[^;\s]+)?)*",
}
_SWITCH = r"(true|false)"
# What the service's launcher may add that a batch job has no use for; it is left out where it is off.
_STREAMING = frozenset({"streaming", "enable_streaming_engine", "update"})


def parameters() -> Iterator[tuple[str, argparse.Action]]:
    """(Title of its group, flag) of every parameter of the template, in the order of ``--help``."""
    for group in flags.parser()._action_groups:
        for action in group._group_actions:
            if action.dest in OPTIONS:
                wanted = action.dest in _OF_THE_RUNNER and DATAFLOW in RUNNERS_OF[action.dest]
            else:
                wanted = action.dest not in _NOT_HERE
            if wanted:
                yield str(group.title), action


def metadata() -> dict[str, Any]:
    """What the template's ``metadata.json`` says."""
    return {
        "name": "currents-to-mixpanel",
        "description": str(flags.parser().description),
        "streaming": False,
        "parameters": [_parameter(action) for _, action in parameters()],
    }


def _parameter(action: argparse.Action) -> dict[str, Any]:
    text = help_text(action).replace("may be repeated", "several: divided by ;")
    return {
        "name": action.dest,
        "label": action.dest.replace("_", " ").capitalize(),
        "helpText": text[0].upper() + text[1:] + ("" if text.endswith(".") else "."),
        "isOptional": action.dest not in _DEMANDED,
        "regexes": [f"^{_pattern(action)}$"],
        "paramType": "TEXT",
    }


def _pattern(action: argparse.Action) -> str:
    if action.nargs == 0:
        return _SWITCH
    if action.choices is not None:
        return f"({'|'.join(re.escape(str(choice)) for choice in action.choices)})"
    if action.dest in ("truth", "suppress"):
        return _PLACE
    if action.dest == "hash_key_file":
        return rf"({_PLACE}|projects/[^/\s]+/secrets/[\w-]+(/versions/\w+)?)"
    return _PATTERNS[str(action.metavar)]


def arguments(launched: Sequence[str]) -> list[str]:
    """The command line of a launch, which gives every parameter as ``--name=value``: switches lose their ``true``, a
    list becomes a flag of each item, an empty value is none, and the job is submitted without being waited for.
    """
    actions = {flag: action for action in flags.parser()._actions for flag in action.option_strings}
    words = []
    for word in map(with_underscores, launched):
        flag, given, value = word.partition("=")
        name = flag.lstrip("-")
        off = value.strip().lower() in ("false", "")
        if name == "use_public_ips":
            words += ["--no_use_public_ips"] if off and given else []
        elif name in _STREAMING and given and off:
            continue
        elif flag not in actions or not given:
            words.append(word)  # if it is none of ours, the command says so
        elif actions[flag].nargs == 0:
            if not off and value.strip().lower() != "true":
                raise UsageError(f"{flag} {value} is neither true nor false")
            words += [] if off else [flag]
        elif isinstance(actions[flag], argparse._AppendAction) and name not in ("labels", "experiments"):
            words += [f"{flag}={item.strip()}" for item in value.split(";") if item.strip()]
        elif value.strip():
            words.append(word)
    if not any(word.split("=")[0] == "--runner" for word in words):
        words.append(f"--runner={DATAFLOW}")
    return [*words, *(["--no_wait"] if "--no_wait" not in words else [])]


def main(launched: Sequence[str]) -> Status:
    """Submit the job of a launch; returns the command's exit status."""
    try:
        words = arguments(launched)
    except UsageError as error:
        return finish(PROGRAM, launched, Status.REFUSED, counts(None), message=str(error))
    return currents_to_mixpanel.main(words)
