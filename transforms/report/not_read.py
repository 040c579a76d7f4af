"""The files that were listed and not read, in words: for the summary, the warnings and the page."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from transforms.report.markup import Html, code, count, moment, note, nothing, number, own_words, size, table
from transforms.vocabulary.files import NOT_READ


def in_short(listing: Mapping[str, Any]) -> str:
    """One line, empty where everything was read."""
    parts = []
    for reason, found in (listing.get("not_read") or {}).items():
        words = NOT_READ[reason].plain
        if reason == "unfinished_hour" and (until := listing.get("read_until")) is not None:
            words = f"left for later (of {_hour(until)} and after)"
        parts.append(f"{found['files']:,} {words}")
    files = sum(found["files"] for found in (listing.get("not_read") or {}).values())
    return f"{files:,} file{'' if files == 1 else 's'}: {', '.join(parts)}" if parts else ""


def warnings(listing: Mapping[str, Any]) -> list[str]:
    """What somebody should look at, a sentence each."""
    left, told = listing.get("not_read") or {}, []
    if found := left.get("other_name"):
        told.append(
            f"{_files(found)} that look like exports were not read, because their names do not end in .avro (such as "
            f"{found['example']}): unpack compressed ones (gunzip) or name them (--input '…/**/*.avro.gz'), and rename "
            "the others to end in .avro"
        )
    if hidden := listing.get("hidden_avro"):
        told.append(
            f"{hidden:,} .avro file{' was' if hidden == 1 else 's were'} not read, because the name, or that of a "
            f"folder above, begins with . or _ (such as {left['hidden']['example']}): tools name temporary files like "
            "this; rename what is data"
        )
    if found := left.get("archived"):
        told.append(
            f"{_files(found)} ({found['bytes']:,} bytes) are archived, and were left out by --skip_archived (such as "
            f"{found['example']}): restore them, and run again without the flag"
        )
    if found := left.get("link_nowhere"):
        told.append(
            f"{_files(found)} cannot be read, because they are links to files that do not exist (such as "
            f"{found['example']}): restore the files, and run again"
        )
    if found := left.get("placeholder"):
        told.append(
            f"{_files(found)} cannot be read, because a cloud drive has not downloaded them (such as "
            f"{found['example']}): download them, and run again"
        )
    if found := left.get("not_regular"):
        told.append(
            f"{_files(found)} cannot be read, because they are pipes, sockets or devices (such as "
            f"{found['example']}): write their content to files"
        )
    dates = listing.get("unreadable_dates") or {}
    if dates.get("files"):
        told.append(
            f"{_files(dates)} read although their hour cannot be told (such as {dates['example']}): their date= is "
            "neither an hour (date=YYYY-MM-DD-HH) nor a day (date=YYYY-MM-DD)"
        )
    return told


def shown(listing: Mapping[str, Any]) -> str:
    """A table by reason, and the hour up to which files were read."""
    left = listing.get("not_read") or {}
    rows = [
        [
            *(code(reason), own_words(NOT_READ[reason].meaning)),
            *(count(one.get("files")), Html(size(one.get("bytes"))), code(one.get("example"))),
        ]
        for reason, one in left.items()
    ]
    heads = ["Reason", "Meaning", "#Files", "#Size", "Such as"]
    found: str = table("Files that were not read, by reason", heads, rows) if rows else nothing("None: all were read.")
    if listing.get("read_until") is not None:
        found += note(
            f"Without --until, hours are read up to {moment(listing['read_until'])}, when the last one was over."
        )
    dates = listing.get("unreadable_dates") or {}
    if count(dates.get("files")):
        found += note(f"{number(dates['files'])} files were read whose date= is neither an hour nor a day.")
    return found


def _files(found: Mapping[str, Any]) -> str:
    return f"{found['files']:,} file{'' if found['files'] == 1 else 's'}"


def _hour(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%d %H:00 UTC")
