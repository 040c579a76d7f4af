"""Each public transform on a few rows: what goes in, what comes out."""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import fastavro
import pytest
from apache_beam.pvalue import DoOutputsTuple
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing import test_pipeline
from apache_beam.testing.util import assert_that, equal_to

from pipelines.graph import build
from transforms import (
    AnswerUnits,
    CountPersons,
    FindRepeats,
    FormatEvents,
    Keyed,
    Plan,
    Publish,
    ReadIds,
    ResolveIdentities,
    RunContext,
    Settings,
    UniqueLinks,
    WriteProfiles,
    claim,
    cut_units,
    discover,
    rows_of,
)
from transforms.errors import AccountingError

NOW = 1_772_323_200  # 2026-03-01T00:00:00Z
SETTINGS = Settings(now=NOW)
PLAN = Plan.for_input(units=1, files=1, input_bytes=1000)
SHARDED = dataclasses.replace(PLAN, id_shards=3)
SESSION, UPDATE = "users.behaviors.app.SessionStart", "users.profile.Update"

ADA = {"id": "e1", "time": NOW - 90, "user_id": "p1", "external_user_id": "ada", "device_id": "phone"}
GUEST = {"id": "e2", "time": NOW - 80, "user_id": "p2", "external_user_id": None, "device_id": "phone"}
AGAIN = {**ADA, "time": NOW - 70}

Export = Callable[..., list[Keyed]]


@pytest.fixture
def export(tmp_path: Path) -> Export:
    """Writes rows of one event type to an Avro file, as Braze does, and returns its work units."""

    def write(*rows: dict[str, Any], event_type: str = SESSION) -> list[Keyed]:
        folder = tmp_path / "export" / f"event_type={event_type}" / "date=2026-02-28-23"
        folder.mkdir(parents=True)
        types = {name: "long" if name == "time" else ["null", "string"] for row in rows for name in row}
        fields = [{"name": name, "type": kind} for name, kind in types.items()]
        with open(folder / "part.avro", "wb") as file:
            fastavro.writer(file, {"type": "record", "name": "Event", "fields": fields}, rows)
        return [(unit.number, unit.to_bytes()) for unit in cut_units(discover([str(tmp_path / "export")]))]

    return write


@pytest.fixture
def output(tmp_path: Path) -> str:
    return str(tmp_path / "out")


def new_pipeline() -> test_pipeline.TestPipeline:
    return test_pipeline.TestPipeline(runner=FnApiRunner())


def columns(element: Keyed, *names: str) -> Iterator[tuple[Any, ...]]:
    """Some columns of an element's rows."""
    for row in rows_of(element):
        yield tuple(row.get(name) for name in names)


def lines(output: str, path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(Path(output, path).read_bytes()).splitlines()]


def resolve(ids: DoOutputsTuple, output: str) -> DoOutputsTuple:
    return ids.links | ResolveIdentities(SETTINGS, PLAN, output)


def write_events(ids: DoOutputsTuple, output: str) -> DoOutputsTuple:
    answers = resolve(ids, output).resolved
    return (ids.units, answers, ids["keys"] | FindRepeats()) | beam.Flatten() | FormatEvents(SETTINGS, PLAN, output)


def test_a_row_links_its_profile_to_its_external_id_and_its_device(export: Export) -> None:
    with new_pipeline() as pipeline:
        ids = pipeline | beam.Create(export(ADA)) | ReadIds(SETTINGS, PLAN)
        assert_that(
            ids.links | beam.FlatMap(columns, "kind", "id", "a", "b", "time", "event_id"),
            equal_to([
                ("id", "device_id:phone", None, None, None, None),
                ("id", "external_user_id:ada", None, None, None, None),
                ("id", "user_id:p1", None, None, None, None),
                ("link", None, "user_id:p1", "external_user_id:ada", NOW - 90, "e1"),
                ("link", None, "user_id:p1", "device_id:phone", NOW - 90, "e1"),
                ("bound", None, "user_id:p1", "device_id:phone", NOW - 90, "e1"),
            ]),
        )  # fmt: skip


def test_reading_numbers_each_profile_once_and_keeps_the_profile_and_the_key_of_each_row(export: Export) -> None:
    with new_pipeline() as pipeline:
        ids = pipeline | beam.Create(export(ADA, GUEST, AGAIN)) | ReadIds(SETTINGS, PLAN)
        named = ids.links | "Named" >> beam.FlatMap(columns, "number", "id") | beam.Filter(is_profile)
        rows = ids.units | "Rows" >> beam.FlatMap(columns, "kind", "row", "profile")
        keys = ids["keys"] | "Keys" >> beam.FlatMap(columns, "unit", "row")
        assert_that(named, equal_to([(0, "user_id:p1"), (1, "user_id:p2")]), "BothProfilesOnce")
        of_rows = [("row", 0, 0), ("row", 1, 1), ("row", 2, 0), ("unit", None, None)]
        assert_that(rows, equal_to(of_rows), "ProfileOfEachRow")
        assert_that(keys, equal_to([(0, 0), (0, 1), (0, 2)]), "AllThreeRows")


def is_profile(named: tuple[int, str | None]) -> bool:
    return str(named[1]).startswith("user_id:")


def test_a_guest_on_the_device_of_one_known_user_is_that_user(export: Export, output: str) -> None:
    with new_pipeline() as pipeline:
        ids = pipeline | beam.Create(export(ADA, GUEST)) | ReadIds(SETTINGS, PLAN)
        assert_that(
            resolve(ids, output).resolved | beam.FlatMap(columns, "profile", "known_user", "via"),
            equal_to([(0, "ada", "own"), (1, "ada", "device")]),
        )


def test_resolving_writes_the_identity_files(export: Export, output: str) -> None:
    with new_pipeline() as pipeline:
        ids = pipeline | beam.Create(export(ADA)) | ReadIds(SETTINGS, PLAN)
        assert_that(
            resolve(ids, output).files | beam.FlatMap(columns, "path", "rows"),
            equal_to([("identities/ids-00000.parquet", 3), ("identities/links-00000.parquet", 2)]),
        )


def test_a_unit_is_told_the_same_where_ids_are_gathered_in_shards(export: Export, output: str) -> None:
    with new_pipeline() as pipeline:
        ids = pipeline | beam.Create(export(ADA, GUEST)) | ReadIds(SETTINGS, SHARDED)
        unique = ids.links | UniqueLinks(SETTINGS)
        identities = unique.links | ResolveIdentities(SETTINGS, SHARDED, output)
        answers = {"asked": unique.asked, "resolved": identities.resolved} | AnswerUnits()
        assert_that(
            answers | beam.FlatMap(columns, "unit", "profile", "known_user"),
            equal_to([(0, 0, "ada"), (0, 1, "ada")]),
        )


def test_of_rows_with_one_id_the_first_stays(export: Export) -> None:
    with new_pipeline() as pipeline:
        ids = pipeline | beam.Create(export(ADA, GUEST, AGAIN)) | ReadIds(SETTINGS, PLAN)
        assert_that(
            ids["keys"] | FindRepeats() | beam.FlatMap(columns, "unit", "row", "dropped"),
            equal_to([(0, 2, True), (0, 0, False)]),
        )


def test_events_are_written_under_the_person_they_belong_to(export: Export, output: str) -> None:
    with new_pipeline() as pipeline:
        ids = pipeline | beam.Create(export(ADA, GUEST, AGAIN)) | ReadIds(SETTINGS, PLAN)
        assert_that(
            write_events(ids, output).files | beam.FlatMap(columns, "path", "rows"),
            equal_to([("events/part-00000.ndjson.gz", 2)]),
        )
    events = [line["properties"] for line in lines(output, "events/part-00000.ndjson.gz")]
    assert [(event["distinct_id"], event["$device_id"]) for event in events] == [("ada", "p1"), ("ada", "p2")]


def test_a_unit_whose_answers_were_lost_is_not_written(export: Export, output: str) -> None:
    pipeline = new_pipeline()
    ids = pipeline | beam.Create(export(ADA)) | ReadIds(SETTINGS, PLAN)
    _ = ids.units | FormatEvents(SETTINGS, PLAN, output)
    with pytest.raises(AccountingError, match="lost or doubled"):
        pipeline.run()


def test_the_latest_value_of_a_profile_attribute_is_written(export: Export, output: str) -> None:
    old, new = {**ADA, "first_name": "A."}, {**AGAIN, "id": "e3", "first_name": "Ada"}
    with new_pipeline() as pipeline:
        ids = pipeline | beam.Create(export(old, new, event_type=UPDATE)) | ReadIds(SETTINGS, PLAN)
        profiles = write_events(ids, output).attributes | WriteProfiles(SETTINGS, output)
        assert_that(
            profiles.files | beam.FlatMap(columns, "path", "rows"),
            equal_to([("profiles/part-00000.ndjson.gz", 1)]),
        )
    (profile,) = lines(output, "profiles/part-00000.ndjson.gz")
    assert (profile["$distinct_id"], profile["$set"]) == ("ada", {"$first_name": "Ada"})


def test_two_profiles_of_a_user_count_as_one_person(export: Export, output: str) -> None:
    with new_pipeline() as pipeline:
        ids = pipeline | beam.Create(export(ADA, GUEST)) | ReadIds(SETTINGS, PLAN)
        assert_that(
            write_events(ids, output).persons | CountPersons() | beam.FlatMap(persons_by_month),
            equal_to([("2026-02", {"known": 1, "anonymous": 0})]),
        )


def persons_by_month(element: Keyed) -> Iterator[tuple[str, dict[str, int]]]:
    for row in rows_of(element):
        yield from row["persons"]["by_month"].items()


FIGURES_OF_ONE_UNIT = {
    "units": 1,
    "narrow": {"units": 1, "rows": 0},
    "wide": {"rows": 0},
    "files": {"read": 1, "bytes": 1000},
    "identity_files": 0,
}


def context(output: str, units: int) -> RunContext:
    digest, settings = claim(output, "", SETTINGS, "a test", now_given=True, overwrite=False)
    plan = Plan.for_input(units=units, files=units, input_bytes=1000)
    return RunContext(output, digest, settings, plan, "a test", {}, {}, started=NOW, launcher_process=0)


def test_the_whole_graph_publishes_a_report_and_a_manifest(export: Export, output: str) -> None:
    export(ADA, GUEST, AGAIN)
    units = list(cut_units(discover([str(Path(output).parent / "export")])))
    with new_pipeline() as pipeline:
        build(pipeline, units, context(output, units=1))
    rows = json.loads(Path(output, "report.json").read_bytes())["rows"]
    assert (rows["read"], rows["events"], rows["repeats"]) == (3, 2, 1)
    assert Path(output, "_manifest.json").exists()


def test_a_run_that_lost_a_unit_is_not_published(export: Export, output: str) -> None:
    pipeline = new_pipeline()
    files = pipeline | "Files" >> beam.Create([]).with_output_types(Keyed)
    tallies = pipeline | "Tallies" >> beam.Create([(0, b"T" + json.dumps(FIGURES_OF_ONE_UNIT).encode())])
    _ = {"files": files, "tallies": tallies} | Publish(context(output, units=2))
    with pytest.raises(AccountingError, match="units read for ids"):
        pipeline.run()
    assert not Path(output, "_manifest.json").exists()


def test_a_collection_of_other_elements_is_refused_when_the_pipeline_is_built() -> None:
    pipeline = new_pipeline()
    with pytest.raises(beam.typehints.decorators.TypeCheckError, match="ReadIds"):
        _ = pipeline | beam.Create(["a file name"]) | ReadIds(SETTINGS, PLAN)
