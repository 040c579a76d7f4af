"""The flags of what may leave: rules, the key of their hashes, and what of the settings follows from them."""

from __future__ import annotations

import argparse
import os
from typing import Any

from transforms.errors import CredentialsError, StoreError, StoreUnavailable, UsageError
from transforms.privacy.hash_key import VARIABLE, is_secret_name, read_key
from transforms.privacy.rules import DROP, HASH, checked, lines_of
from transforms.privacy.suppression import read_suppressed
from transforms.settings import Settings
from transforms.stores.places import place
from transforms.stores.store import store_for


def add_to(flags: argparse.ArgumentParser) -> None:
    """The group of flags."""
    group = flags.add_argument_group("what may leave")
    group.add_argument(
        "--drop", metavar="RULES",
        help="what does not leave: Braze fields, TYPE:FIELD, Mixpanel properties, profile:ATTRIBUTE (globs), pii or "
        "pii+, separated by commas, or @FILE with one a line",
    )  # fmt: skip
    group.add_argument(
        "--hash", metavar="RULES",
        help="what leaves as a hash (HMAC-SHA-256), by the same rules; user_id and external_user_id name the ids "
        "wherever they stand",
    )  # fmt: skip
    group.add_argument(
        "--hash_key_file", metavar="FILE",
        help="where the key of the hashes is: a file in any store, or projects/PROJECT/secrets/SECRET of Google Secret "
        f"Manager (default: the variable {VARIABLE})",
    )  # fmt: skip
    group.add_argument(
        "--unknown_fields", default=Settings.unknown_fields, choices=Settings.choices("unknown_fields"),
        help="event types and columns that the catalogue lacks (default %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--suppress", metavar="FILE",
        help="people who are left out: a file in any store with an id a line, behind user_id: or external_user_id:",
    )  # fmt: skip
    group.add_argument("--raw_rejects", action="store_true", help="keep rejected rows as they are, despite the rules")


def places(given: argparse.Namespace) -> list[tuple[str, str]]:
    """The paths that workers read, each with its flag."""
    key = given.hash_key_file
    found = [] if key is None or is_secret_name(key) else [("--hash_key_file", place(key))]
    return [*found, ("--suppress", place(given.suppress))] if given.suppress is not None else found


def privacy_settings(given: argparse.Namespace, local: bool) -> dict[str, Any]:
    """The settings of the flags, by name; ``local``: whether every worker has this process's environment.

    Raises:
        UsageError: a rule names nothing, or a flag does not fit another.
        CredentialsError: there are values to hash and no key.
    """
    found: dict[str, Any] = {
        DROP: _rules(DROP, given.drop),
        HASH: _rules(HASH, given.hash),
        "unknown_fields": given.unknown_fields,
        "raw_rejects": given.raw_rejects,
    }
    if given.suppress is not None:
        path = _absolute(given.suppress)
        found |= {"suppress": path, "suppress_digest": read_suppressed(path).digest}
    if not found[HASH]:
        if given.hash_key_file is not None:
            raise UsageError("--hash_key_file is for --hash, and nothing is hashed: leave one out or give the other")
        return found
    key = given.hash_key_file
    if key is None and not local and os.environ.get(VARIABLE):
        raise CredentialsError(
            f"{VARIABLE} is set here, and workers elsewhere do not have this environment: give them the key with "
            "--hash_key_file, as a path in a store or projects/PROJECT/secrets/SECRET"
        )
    if key is not None and not is_secret_name(key):
        key = _absolute(key)
    return {**found, "hash_key_file": key, "hash_key_seal": read_key(key, os.environ).seal}


def _absolute(text: str) -> str:
    path = place(text)
    return path if "://" in path else os.path.abspath(path)


def _rules(flag: str, text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    rules = []
    for item in (part.strip() for part in text.split(",")):
        rules += _of_file(flag, item[1:]) if item.startswith("@") else [item] if item else []
    if not rules:
        raise UsageError(f"--{flag} {text} has no rules: give one, such as pii, or leave it out")
    return checked(flag, rules)


def _of_file(flag: str, typed: str) -> list[str]:
    path = place(typed)
    try:
        content = store_for(path).get(path)
    except StoreUnavailable:
        raise
    except (OSError, StoreError) as error:
        raise UsageError(f"--{flag} @{path} cannot be read: {error}") from error
    if content is None:
        raise UsageError(f"--{flag} @{path} is not a file")
    try:
        return lines_of(content.decode())
    except UnicodeDecodeError:
        raise UsageError(f"--{flag} @{path} is not text in UTF-8") from None
