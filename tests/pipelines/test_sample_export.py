"""Sample exports: they look like Braze's, they contain what they promise, and the same flags give the same bytes."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
from typing import Any

import fastavro
import pytest

from pipelines.sample_export import __main__ as sample_export
from pipelines.sample_export import people
from pipelines.sample_export.funnels import FUNNELS, parse
from transforms.currents import catalog

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).resolve().parents[2]
SMALL: dict[str, Any] = {"users": 20, "days": 1, "rows": 2500, "flush_minutes": 60}
PATH = re.compile(
    r"currents/(dataexport\.prod-01\.S3\.integration\.[0-9a-f]{24})/event_type=(?P<type>[\w.]+)/"
    r"date=(?P<date>\d{4}-\d\d-\d\d-\d\d)/((?P<old>\d+/prod-01)|(?P<new>version=\d+/us-01))/\1\+\d+\+\d+\.avro"
)


@dataclasses.dataclass
class Export:
    summary: sample_export.Summary
    root: pathlib.Path
    rows: list[tuple[str, str, dict[str, Any]]]  # (path relative to the root, event type, row)
    truth: dict[str, str]
    braze: dict[str, str | None]

    def of(self, event_type: str) -> list[dict[str, Any]]:
        return [row for _, its_type, row in self.rows if its_type == event_type]


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    root = tmp_path_factory.mktemp("sample") / "export"
    summary = sample_export.write_export(root, users=120, days=2, seed=7, rows=15_000)
    rows = []
    for path in sorted(root.rglob("*.avro")):
        match = PATH.fullmatch(path.relative_to(root).as_posix())
        assert match, path
        with path.open("rb") as file:
            reader = fastavro.reader(file)
            assert reader.writer_schema["name"] == f"dataexport.S3.inner.{match['type']}"
            rows += [(match[0], match["type"], row) for row in reader]
    truth = json.loads((root / "truth.json").read_text())
    return Export(summary, root, rows, truth["persons"], truth["braze"])


def _digest(root: pathlib.Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def test_the_same_seed_gives_the_same_bytes_in_another_process(tmp_path: pathlib.Path) -> None:
    sample_export.write_export(tmp_path / "a", seed=3, **SMALL)
    flags = [f"--{name}={value}" for name, value in {**SMALL, "seed": 3, "output": tmp_path / "b"}.items()]
    environment = {**os.environ, "PYTHONHASHSEED": "12"}
    command = [sys.executable, "-m", "pipelines.sample_export", *flags]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    assert f"{len(catalog.event_types())} event types" in done.stdout
    sample_export.write_export(tmp_path / "c", seed=4, **SMALL)
    assert _digest(tmp_path / "a") == _digest(tmp_path / "b") != _digest(tmp_path / "c")


def test_an_export_has_every_event_type_and_its_summary_counts_them(export: Export) -> None:
    found = collections.Counter(event_type for _, event_type, _ in export.rows)
    assert found == export.summary.rows_by_type
    assert set(found) == set(catalog.event_types())
    assert export.summary.rows == len(export.rows) == pytest.approx(15_000, rel=0.1)
    assert export.summary.files == len({path for path, _, _ in export.rows})


def test_an_export_has_both_forms_of_paths_and_older_schemas(export: Export) -> None:
    matches = [PATH.fullmatch(path) for path in {path for path, _, _ in export.rows}]
    assert {bool(match["old"]) for match in matches if match} == {True, False}
    assert {match["new"] for match in matches if match} == {None, "version=10/us-01", "version=11/us-01"}
    columns = collections.defaultdict(set)
    for _, event_type, row in export.rows:
        columns[event_type].add(frozenset(row))
    assert all(any(set(c.properties) == set(seen) for seen in columns[n]) or c.removed or len(columns[n]) == 1
               for n, c in catalog.event_types().items())  # fmt: skip
    assert sum(len(shapes) > 1 for shapes in columns.values()) >= 5


def test_truth_covers_exactly_the_usable_profiles(export: Export) -> None:
    seen = {row[name] for _, _, row in export.rows for name in ("user_id", "orphaned_by_id") if row.get(name)}
    assert seen - people.JUNK_USER_IDS == set(export.truth)
    assert len(export.truth) == export.summary.profiles
    several = collections.Counter(export.truth.values())
    assert max(several.values()) > 1


def test_a_sample_holds_every_case_of_identity(export: Export) -> None:
    gone = {row["user_id"] for row in export.of(catalog.USER_DELETE_REQUEST)}
    assert gone <= set(export.truth)
    assert gone
    profiles, externals = collections.defaultdict(set), collections.defaultdict(set)
    for _, _, row in export.rows:
        profile, external = row.get("user_id"), row.get("external_user_id")
        if profile and row.get("device_id"):
            profiles[row["device_id"]].add(profile)
        if profile:
            externals[profile].add(external)
    assert set(people.JUNK_EXTERNAL_IDS) <= set().union(*externals.values())
    assert people.ZERO_DEVICE in profiles
    assert any(len(those) > 20 for those in profiles.values()), "the kiosk"
    shared = [those for those in profiles.values() if 1 < len({export.truth.get(one) for one in those}) < 4]
    assert shared, "a family's tablet"
    assert any({None} < seen for seen in externals.values()), "a sign-up"
    assert any(seen == {None} for seen in externals.values()), "somebody who never signs up"


def test_installs_follow_the_rules_of_the_sdk(export: Export) -> None:
    """Anonymous first, on a device of their own; a merge ends the anonymous profile; later users are known ones."""
    own: dict[str, set[Any]] = collections.defaultdict(set)
    ends: dict[str, dict[str, Any]] = {}
    seen: dict[str, list[tuple[int, str, str | None]]] = collections.defaultdict(list)
    for _, event_type, row in export.rows:
        profile, external = row.get("user_id"), row.get("external_user_id")
        if event_type == catalog.USER_ORPHAN:
            ends[row["user_id"]] = row
        elif profile and external not in people.JUNK_EXTERNAL_IDS:
            own[profile].add(external)
        if row.get("device_id") and profile and event_type != catalog.USER_ORPHAN and row["time"] > 0:
            seen[row["device_id"]].append((row["time"], profile, external))
    assert ends
    for profile, row in ends.items():
        assert own[profile] <= {None}
        assert export.braze[profile] in own[row["orphaned_by_id"]] | {export.braze[row["orphaned_by_id"]]}
        mine = [time for time, one, _ in seen[row["device_id"]] if one == profile]
        assert mine
        assert max(mine) <= row["time"]
    for profile, external in export.braze.items():
        if own[profile] - {None}:
            assert external in own[profile]
    merged = {profile for profile, external in export.braze.items() if external and own[profile] <= {None}}
    assert set(ends) < merged, "merges from before Braze had rows of them"


def test_orphan_rows_stand_in_the_last_share_of_the_time_alone(tmp_path: pathlib.Path) -> None:
    for share, low in ((1.0, 0.0), (0.25, 0.75), (0.0, None)):
        root = tmp_path / str(share)
        summary = sample_export.write_export(root, users=150, days=2, seed=5, rows=3_000, orphan_rows=share)
        count = summary.rows_by_type.get(catalog.USER_ORPHAN, 0)
        assert bool(count) == (low is not None)
        for path in root.rglob(f"event_type={catalog.USER_ORPHAN}/**/*.avro"):
            with path.open("rb") as file:
                begin = _epoch("2026-03-01-00") + (low or 0) * 2 * 86_400
                assert all(row["time"] >= begin for row in fastavro.reader(file))


def test_rows_that_are_late_repeated_or_unusable(export: Export) -> None:
    first: dict[tuple[str, str], str] = {}
    repeats = late = missing = invalid = 0
    for path, event_type, row in sorted(export.rows, key=lambda entry: entry[0]):
        match = PATH.fullmatch(path)
        assert match
        if row["id"] is None:
            missing += 1
        elif not 31536000 <= row["time"] < 2**31 - 1:
            invalid += 1
        elif (event_type, row["id"]) in first:
            repeats += 1
            assert first[event_type, row["id"]] != path
        else:
            first[event_type, row["id"]] = path
            late += row["time"] < int(_epoch(match["date"])) - 3600
    assert missing
    assert missing + invalid == export.summary.special["rejects"]
    assert repeats == export.summary.special["repeats"] > 0
    assert 0 < late <= export.summary.special["late"]


def _epoch(date: str) -> float:
    return datetime.datetime.strptime(date + "+0000", "%Y-%m-%d-%H%z").timestamp()


def test_messages_properties_and_profile_updates_look_like_those_of_braze(export: Export) -> None:
    assert {row["machine_open"] for row in export.of("users.messages.email.Open")} == {"true", None}
    for _, _, row in export.rows:
        assert row.get("campaign_id") is None or row.get("canvas_id") is None
    assert any(row["campaign_id"] and not row["campaign_name"] for row in export.of("users.messages.email.Send"))
    texts = [row["properties"] for row in export.of(catalog.CUSTOM_EVENT)]
    assert {"not json", "", "[1, 2, 3]"} <= set(texts)
    assert any("NaN" in text for text in texts)
    assert any(len(text) > 8192 for text in texts)
    assert any('"$city"' in text for text in texts)
    assert sum(text.startswith("{") for text in texts) > 0.9 * len(texts)
    updates = export.of(catalog.PROFILE_UPDATE)
    assert any(row["custom_attributes"] == "{broken" for row in updates)
    assert any(row["first_name"] for row in updates)
    assert any(row["first_name"] is None for row in updates)
    assert all(row["time_ms"] // 1000 == row["time"] for row in updates)
    ends = {row["session_id"] for row in export.of("users.behaviors.app.SessionEnd")}
    assert ends <= {row["session_id"] for row in export.of("users.behaviors.app.SessionStart")} or len(ends) > 100
    workspaces = {row["app_group_id"] for _, _, row in export.rows if row.get("app_group_id")}
    assert len(workspaces) == 1


def test_activity_in_a_sample_is_skewed_as_among_real_people(export: Export) -> None:
    rows = collections.Counter(row["user_id"] for _, _, row in export.rows if row.get("user_id"))
    counts = sorted(rows.values(), reverse=True)
    assert sum(counts[: len(counts) // 10]) > 0.3 * sum(counts)


@pytest.mark.parametrize("codec", sample_export.CODECS)
def test_an_export_of_one_file_a_day_can_be_written_in_every_codec(tmp_path: pathlib.Path, codec: str) -> None:
    summary = sample_export.write_export(tmp_path, seed=1, codec=codec, **{**SMALL, "flush_minutes": 0})
    assert summary.files < 3 * len(catalog.event_types()) + 1
    path = next(tmp_path.rglob("*email.Send*/**/*.avro"))
    with path.open("rb") as file:
        reader = fastavro.reader(file)
        assert reader.codec == codec
        assert list(reader)


def test_funnels_of_a_sample_name_only_types_of_the_catalogue() -> None:
    def names(step: Any) -> set[str]:
        return {step.event_type}.union(*(names(follow) for follow in step.follows))

    assert set().union(*(names(funnel.first) for funnel in parse(FUNNELS))) <= set(catalog.event_types())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--userz", "20"], "--userz is not a flag: did you mean --users?"),
        (["--users", "3"], "--users 3: the special cases of identity need at least 20 people"),
        (["--days", "0"], "--days 0: give at least 1"),
        (["--days", "two"], "argument --days: invalid int value: 'two'"),
        (["--codec", "zip"], "--codec zip: give one of null, deflate, snappy"),
        (["--start", "1.3.2026"], "--start 1.3.2026: give a date as YYYY-MM-DD"),
        (["--flush_minutes", "7"], "--flush_minutes 7: give 0 or a divisor of 60"),
        (["--rows", "0"], "--rows 0: give at least 1"),
        (["--seed", "-1"], "--seed -1: give 0 or more"),
        (["--orphan_rows", "2"], "--orphan_rows 2: give a share from 0 to 1"),
    ],
)
def test_errors_are_one_line_and_exit_2(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    assert sample_export.main(["--output", str(tmp_path / "out"), *flags]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_refuses_a_folder_that_holds_something(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    assert sample_export.main(["--output", str(tmp_path)]) == 2
    assert "is not an empty folder: name a new one, or remove it first" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
