"""The README and docs say what the program does: flags, flows, report keys, modules and links are held against it."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.command_line import flags
from pipelines.delivery import flags as delivery_flags
from pipelines.sample_export import __main__ as sample_export
from tests.commands.whole_run import REJECT_KEYS, ROOT, Actual, read_output, run_cli
from tests.exports.small_exports import avro, path, write
from tests.oracle.mixpanel_rules import check_deletion, check_event, check_profile
from tests.repository.packaging_metadata import project
from tools import write_docs
from transforms.currents import catalog
from transforms.vocabulary.rows import OUTCOMES, REJECTS, WITHHELD

PAGES = {
    place.relative_to(ROOT).as_posix(): place.read_text("utf-8")
    for place in sorted(
        [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("[!.]*/README.md"), *ROOT.glob("deploy/*/*.md")]
    )
}
README, IDENTITY = PAGES["README.md"], PAGES["docs/identity.md"]
# Pages that name flags of other programs too.
FOREIGN_FLAGS = ("deploy/", "benchmarks/", "CONTRIBUTING.md", "docs/running-on-a-cluster.md", "docs/decisions.md")
FOREIGN = {"--constraint"}  # pip's
MOST_LINES = 150
NOW = 1_772_400_000  # 2026-03-01, the day of the sample
IDS = ("distinct_id", "$user_id", "$device_id", "$insert_id")
HIDDEN_FLAGS = {"--direct_num_workers", "--direct_running_mode"}
OPEN_ENDED = {  # parts of the report whose keys come from the data or the machine
    "rows_by_type", "withheld_by_type", "flags", "versions", "unknown_types", "unknown_columns", "limits", "by_month",
    "by_type", "events_by_day", "clusters_by_size", "shuffled",
}  # fmt: skip


def own_flags() -> set[str]:
    parsers = (flags.parser(), sample_export._parser(), delivery_flags.parser())
    return {flag for parser in parsers for action in parser._actions for flag in action.option_strings if flag != "-h"}


def test_every_flag_is_described_and_none_that_does_not_exist() -> None:
    pages = [text for name, text in PAGES.items() if not name.startswith(FOREIGN_FLAGS)]
    named = set(re.findall(r"(?<![\w-])--[a-z]\w*", "\n".join(pages))) - FOREIGN
    assert named - own_flags() == set()
    flag_pages = PAGES["docs/flags.md"] + PAGES["docs/runners.md"]
    assert own_flags() - set(re.findall(r"(?<![\w-])--[a-z]\w*", flag_pages)) - {"--help"} == set()
    assert set(re.findall(r"--\w+", flag_pages.split("Beam's names")[1].split("\n")[0])) == HIDDEN_FLAGS


@pytest.mark.parametrize("page", write_docs.PAGES)
def test_generated_parts_are_what_the_code_says(page: str) -> None:
    assert PAGES[page] == write_docs.written(page), "run: python -m tools.write_docs"
    assert "<!-- generated: " in PAGES[page]


def test_the_readme_is_short_and_the_licence_is_the_owners_to_choose() -> None:
    assert len(README.splitlines()) <= MOST_LINES
    assert "No licence has been chosen yet: that is the owner's decision." in README
    linked = set(re.findall(r"\]\(((?:docs|deploy|benchmarks)/[\w./-]+\.md)", README))
    assert {name for name in PAGES if "/" in name} <= linked, "no page without a way"


def test_the_choices_and_defaults_of_flags_are_those_of_the_parser() -> None:
    lines = (PAGES["docs/flags.md"] + PAGES["docs/runners.md"]).splitlines()
    for action in flags.parser()._actions:
        flag = action.option_strings[0]
        row = next((line for line in lines if line.startswith(f"| `{flag} ")), "")
        for choice in set(action.choices or ()) - {"original"} if flag not in HIDDEN_FLAGS else ():
            assert choice in row, f"{flag} {choice} is not in its table"
        if isinstance(action.default, (int, float, str)) and not isinstance(action.default, bool) and row:
            assert f"{action.default:g}" if isinstance(action.default, float) else str(action.default) in row, flag


def test_the_two_commands_stand_word_for_word() -> None:
    for command in ("run_local.sh", "run_tests.sh"):
        assert re.search(rf"^\./{command}\b", README, re.MULTILINE)
        assert (ROOT / command).stat().st_mode & 0o111, f"{command} cannot be executed"


def test_the_installed_commands_exist() -> None:
    scripts = project()["scripts"]
    assert set(scripts) == {"currents-to-mixpanel"}
    for name, target in scripts.items():
        module, function = target.split(":")
        assert callable(getattr(importlib.import_module(module), function, None)), f"{name}: no {module}.{function}"
        assert f"\n{name} --" in README


# --- the flows ---------------------------------------------------------------------------------------------------


def table_below(marker: str) -> list[dict[str, str | None]]:
    lines = IDENTITY.split(marker)[1].strip().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[: lines.index("")]]
    return [dict(zip(cells[0], (cell or None for cell in row), strict=True)) for row in cells[2:]]


def lines_below(marker: str) -> list[dict[str, Any]]:
    block = IDENTITY.split(marker)[1].split("```json\n")[1].split("```")[0]
    return [json.loads(line) for line in block.splitlines()]


def avro_of(event_type: str, rows: list[dict[str, str | None]]) -> bytes:
    kind = catalog.event_types()[event_type]
    fields = [
        {"name": field.name, "type": ["null", field.type[:-1]], "default": None}
        if field.type.endswith("?") else {"name": field.name, "type": field.type}
        for field in kind.fields
    ]  # fmt: skip
    filler = {"app_id": "app", "session_id": "session", "email_address": "someone@example.com"}
    record = {"type": "record", "name": f"dataexport.S3.inner.{event_type}", "fields": fields}
    return avro(
        [{**filler, **row, "time": NOW - 3600 + int((row["id"] or "")[1:]) * 60} for row in rows], schema=record
    )


def run_flow(folder: Path, rows: list[dict[str, str | None]], *flags: str) -> Actual:
    kinds = sorted({row["event type"] or "" for row in rows})
    files = {path("a", event_type=k): avro_of(k, [row for row in rows if row["event type"] == k]) for k in kinds}
    done = run_cli(write(folder / "in", files), folder / "out", f"--now={NOW}", "--workers=1", *flags)
    assert done.returncode == 0, done.stderr
    return read_output(folder / "out")


def shown(actual: Actual) -> list[dict[str, Any]]:
    """Events by id, with the properties that the page shows."""
    events = sorted((json.loads(line) for line in actual.event_lines), key=lambda e: e["properties"]["$insert_id"])
    return [
        {"event": e["event"], "properties": {k: e["properties"][k] for k in IDS if k in e["properties"]}}
        for e in events
    ]


@pytest.mark.slow
@pytest.mark.parametrize("flow", ["sign-up", "new device", "shared device"])
def test_a_flow_comes_out_as_shown(flow: str, tmp_path: Path) -> None:
    marker = f"<!-- flow: {flow} -->"
    assert shown(run_flow(tmp_path, table_below(marker))) == lines_below(marker)


@pytest.mark.slow
@pytest.mark.parametrize(("policy", "user_of_e2"), [("next", "ada"), ("sole", "ada"), ("first", "ada"), ("none", None)])
def test_without_the_orphan_row_the_device_joins_unless_told_not_to(
    policy: str, user_of_e2: str | None, tmp_path: Path
) -> None:
    rows = [row for row in table_below("<!-- flow: new device -->") if row["orphaned_by_id"] is None]
    second = shown(run_flow(tmp_path, rows, f"--device_links={policy}"))[1]["properties"]
    assert second.get("$user_id") == user_of_e2
    assert second["distinct_id"] == (user_of_e2 or "$device:p2")


@pytest.mark.slow
def test_the_shared_tablet_is_named_and_with_first_it_is_the_first_one_s(tmp_path: Path) -> None:
    rows = table_below("<!-- flow: shared device -->")
    contested = [{"device_id": "tablet", "known_users": ["ada", "ben"]}]
    for policy in ("next", "sole"):
        found = run_flow(tmp_path / policy, rows, f"--device_links={policy}")
        assert found.report["identity"]["contested_examples"] == contested
    first = shown(run_flow(tmp_path / "first", rows, "--device_links=first"))
    assert first[2]["properties"]["$user_id"] == "ada"


# --- outputs and report ------------------------------------------------------------------------------------------


def example_lines() -> Iterator[dict[str, Any]]:
    for block in re.findall(r"```json\n(.*?)```", PAGES["docs/outputs.md"], re.DOTALL):
        yield from (json.loads(line) for line in block.splitlines())


def test_the_example_lines_have_the_form_of_real_ones() -> None:
    event, profile, deletion, reject, identity, link = example_lines()
    check_event(json.dumps(event).encode(), NOW)
    check_profile(json.dumps(profile).encode())
    check_deletion(json.dumps(deletion).encode())
    assert list(deletion) == ["distinct_id", "user_id", "time", "via", "whole_person"]
    assert set(reject) == REJECT_KEYS
    assert list(identity) == ["id_type", "id", "distinct_id", "cluster"]
    assert list(link) == ["a_type", "a", "b_type", "b", "rank", "time", "event_id", "file", "status"]


def keys_of(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value[:1]:
            yield from keys_of(item)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            if key not in OPEN_ENDED:
                yield from keys_of(inner)


@pytest.mark.slow
def test_every_key_of_the_report_is_explained(tmp_path: Path) -> None:
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps({"p1": "Ada", "p3": "Ben"}))
    report = run_flow(tmp_path, table_below("<!-- flow: shared device -->"), f"--truth={truth}").report
    page = PAGES["docs/report.md"]
    assert report["identity"]["score"]["persons"] == 2
    assert {key for key in keys_of(report) if f"`{key}`" not in page} == set()
    assert {name for name in (*OUTCOMES.codes, *WITHHELD.codes, *REJECTS.codes) if f"`{name}`" not in page} == set()


# --- pages -------------------------------------------------------------------------------------------------------


def test_the_architecture_page_names_every_module_and_no_other() -> None:
    page = PAGES["docs/architecture.md"]
    named = set(re.findall(r"`((?:transforms|pipelines|tests)/[\w/]*(?:\.\w+)?)`", page))
    assert {name for name in named if not (ROOT / name).exists()} == set()
    modules = {
        file.relative_to(ROOT).as_posix()
        for room in ("transforms", "pipelines")
        for file in (ROOT / room).rglob("*.py")
    }
    rooms = tuple(name for name in named if name.endswith("/") and name != "transforms/")
    missing = {m for m in modules if m not in named and not m.endswith("__init__.py") and not m.startswith(rooms)}
    assert not missing, f"docs/architecture.md does not say what these are for: {sorted(missing)}"


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere_and_no_path_is_of_one_machine(name: str) -> None:
    page = PAGES[name]
    for target in re.findall(r"\]\(([^)#:]+?)(?:#[\w-]+)?\)", page):
        assert ((ROOT / name).parent / target).resolve().exists(), f"{name} links to {target}"
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([\w-]+)\)", page):
        other = ((ROOT / name).parent / target).resolve().relative_to(ROOT).as_posix() if target else name
        headings = {
            re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")
            for heading in re.findall(r"^#+ (.*)$", PAGES[other], re.MULTILINE)
        }
        assert anchor in headings, f"{name} links to section {anchor} of {other}"
    assert not re.search(r"(?<![\w./])/(?:tmp|home|work|root|Users)/", page)


def test_the_picture_is_a_png_of_reasonable_size() -> None:
    picture = (ROOT / "docs" / "report.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 400_000
