"""What a run costs, held against its own events and against runs under the other flags."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.commands.whole_run import ROOT, Actual, read_output, run_cli
from transforms.currents.catalog import FREE_EVENTS, mixpanel_name
from transforms.mixpanel.monthly_users import LARGEST_TYPES, largest
from transforms.report.what_it_costs import figures

Figures = dict[str, dict[str, int]]


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "sample"
    command = [sys.executable, "-m", "pipelines.sample_export", "--output", str(folder), "--users=60", "--days=2"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


def run(export: Path, out: Path, *flags: str) -> Actual:
    done = run_cli(export, out, "--now=1790000000", *flags)
    assert done.returncode == 0, done.stderr
    return read_output(out)


def by_hand(actual: Actual, without: frozenset[str] = frozenset()) -> Figures:
    """The figures of each month, from the events themselves."""
    events: dict[str, Counter[str]] = defaultdict(Counter)
    persons: dict[str, dict[str, set[tuple[bool, str]]]] = defaultdict(lambda: {"all": set(), "billed": set()})
    for line in map(json.loads, actual.event_lines):
        name, properties = line["event"], line["properties"]
        if any(name == known or name.startswith(f"{known} ") for known in without):
            continue
        month = datetime.datetime.fromtimestamp(properties["time"], datetime.timezone.utc).strftime("%Y-%m")
        events[month][name] += 1
        if properties["distinct_id"]:
            person = ("$user_id" in properties, properties["distinct_id"])
            persons[month]["all"].add(person)
            if name not in FREE_EVENTS:
                persons[month]["billed"].add(person)
    return {
        month: {
            "events": counts.total(),
            "events_of_free_names": sum(counts[name] for name in FREE_EVENTS),
            "mtu_known": sum(known for known, _ in persons[month]["billed"]),
            "mtu_anonymous": sum(not known for known, _ in persons[month]["billed"]),
            "persons_of_free_names_only": len(persons[month]["all"] - persons[month]["billed"]),
        }
        for month, counts in events.items()
    }


def of(report: dict[str, Any], choice: str) -> Figures:
    return {month: found[choice] for month, found in report["cost"]["by_month"].items()}


def test_the_cost_is_that_of_the_events_and_of_runs_under_the_other_flags(export: Path, tmp_path: Path) -> None:
    actual = run(export, tmp_path / "out")
    report = actual.report
    assert of(report, "as_it_is") == by_hand(actual)
    names = Counter(json.loads(line)["event"] for line in actual.event_lines)
    told: Counter[str] = Counter()
    for month in report["cost"]["by_month"].values():
        told.update(month["events_by_name"])
    assert told == names

    for flag in ("anonymous", "device_links"):
        other = run(export, tmp_path / flag, f"--{flag}=none")
        assert of(report, f"{flag}_none") == by_hand(other), flag
        assert by_hand(other) != by_hand(actual), flag

    types = report["cost"]["largest_types"]
    events = {kind: rows["events"] for kind, rows in report["rows_by_type"].items()}
    assert len(types) == LARGEST_TYPES
    assert min(events[kind] for kind in types) >= max(n for kind, n in events.items() if kind not in types)
    assert of(report, "without_largest_types") == by_hand(actual, frozenset(map(mixpanel_name, types)))


def test_the_largest_types_are_the_first_by_name_where_they_are_equally_many() -> None:
    assert largest({**{f"t{n:02}": 1 for n in range(12)}, "z": 2}) == ["z", *(f"t{n:02}" for n in range(9))]


def test_a_run_without_events_costs_nothing() -> None:
    assert figures({}, {}) == {"largest_types": [], "by_month": {}}
