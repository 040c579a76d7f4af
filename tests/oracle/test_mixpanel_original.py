"""The stand-in's project on Original ID Merge: what joins ids, what does not, and that nobody is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.oracle.mixpanel_original import MAX_CLUSTER, OriginalIdMerge
from tests.servers.mixpanel_project import MixpanelProject

UUID_A, UUID_B = "0b61c5a0-7c36-4a55-9d5c-1f2e3d4c5b6a", "1c72d6b1-8d47-4b66-8e6d-2a3f4e5d6c7b"
TIME = {"time": 1_772_325_703}


def identify(known: str, anonymous: str) -> dict[str, Any]:
    return {"event": "$identify", "properties": {**TIME, "$insert_id": "v", "$identified_id": known,
                                                 "$anon_id": anonymous}}  # fmt: skip


def alias(known: str, name: str) -> dict[str, Any]:
    return {"event": "$create_alias", "properties": {**TIME, "$insert_id": "v", "distinct_id": known, "alias": name}}


def merge(*ids: Any) -> dict[str, Any]:
    return {"event": "$merge", "properties": {**TIME, "$insert_id": "v", "$distinct_ids": list(ids)}}


def seen(distinct_id: str, **more: Any) -> dict[str, Any]:
    told = {"distinct_id": distinct_id, "$insert_id": f"e-{len(distinct_id)}", "$partner_id": "braze", "ip": 0}
    return {"event": "Session Start", "properties": {**TIME, **told, **more}}


def send(project: MixpanelProject, *events: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    return project.take_events(b"".join(json.dumps(event).encode() + b"\n" for event in events))


def test_each_verb_joins_what_it_names_and_events_that_came_before_follow() -> None:
    project = MixpanelProject(simplified=False)
    events = [seen(UUID_A), seen("ada"), seen("adaline"), seen("ad"), seen("ben-b")]
    assert send(project, *events, identify("ada", UUID_A), alias("ada", "adaline"), merge("adaline", "ad"))[0] == 200
    persons = {key[1]: person for key, person in project.persons().items()}
    ada = persons.pop("ada")
    assert persons == {UUID_A: ada, "adaline": ada, "ad": ada, "ben-b": "ben-b"}
    assert ada in {UUID_A, "ada", "adaline", "ad"}


def test_ids_beside_the_distinct_id_join_nothing() -> None:
    project = MixpanelProject(simplified=False)
    both = {"$user_id": "ada", "$device_id": "p1"}
    assert send(project, seen("ada", **both), seen("$device:p1", **{"$device_id": "p1"}))[0] == 200
    assert sorted(project.persons().values()) == ["$device:p1", "ada"]


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([identify("ada", "p1")], "not a UUID of version 4"),
        ([identify("ada", "0b61c5a0-7c36-1a55-9d5c-1f2e3d4c5b6a")], "not a UUID of version 4"),
        ([identify("ada", UUID_A), identify("ben", UUID_A)], "merged already"),
        ([merge(UUID_A, "p1"), identify("ben", UUID_A)], "merged already"),
        ([alias("ada", "nick"), alias("ben", "nick")], "alias is taken"),
        ([merge("nick", "p1"), alias("ben", "nick")], "alias is taken"),
    ],
)
def test_a_verb_against_the_rules_is_taken_and_has_no_effect(events: list[dict[str, Any]], why: str) -> None:
    project = MixpanelProject(simplified=False)
    status, answer = send(project, *({**one, "properties": {**one["properties"], "$insert_id": f"v-{number}"}}
                                     for number, one in enumerate(events)))  # fmt: skip
    assert (status, answer["num_records_imported"]) == (200, len(events))
    found = OriginalIdMerge(events)
    assert [why in words for _, words in found.failures] == [True]
    assert found.person_of("ben") == "ben"


def test_a_verb_said_again_changes_nothing() -> None:
    verbs = [identify("ada", UUID_A), alias("ada", "nick"), merge("ada", "p1")]
    found = OriginalIdMerge(verbs * 2)
    assert (found.failures, len({found.person_of(one) for one in ("ada", UUID_A, "nick", "p1")})) == ([], 1)


def test_a_name_of_a_name_is_one_person() -> None:
    found = OriginalIdMerge([alias("ada", "nick"), alias("nick", "nicky"), seen("ada"), seen("nicky")])
    assert len(set(found.persons().values())) == 1


def test_a_cluster_holds_500_ids_and_the_next_stays_alone() -> None:
    found = OriginalIdMerge(merge("ada", f"p{number}") for number in range(MAX_CLUSTER + 9))
    assert [found.person_of(f"p{number}") == found.person_of("ada") for number in (MAX_CLUSTER - 2, MAX_CLUSTER - 1)] \
        == [True, False]  # fmt: skip
    assert len(found.failures) == 10
    assert found.person_of("p508") == "p508"


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (merge("ada"), "exactly 2"),
        (merge("ada", "p1", "p2"), "exactly 2"),
        (merge("ada", 7), "is no string"),
        (merge("ada", "anonymous"), "disallowed"),
        (identify("", UUID_A), "blank"),
        ({**alias("ada", "nick"), "properties": {**TIME, "$insert_id": "v", "alias": "nick"}}, "distinct_id is no str"),
        ({**merge("a", "b"), "properties": {"$insert_id": "v", "$distinct_ids": ["a", "b"]}}, "time is no integer"),
        ({**merge("a", "b"), "properties": {**TIME, "$distinct_ids": ["a", "b"]}}, "$insert_id is no string"),
    ],
)
def test_a_verb_of_another_form_is_refused_and_told(event: dict[str, Any], words: str) -> None:
    project = MixpanelProject(simplified=False)
    status, answer = send(project, seen("ada"), event)
    assert (status, answer["num_records_imported"]) == (400, 1)
    assert (answer["failed_records"][0]["index"], words in answer["failed_records"][0]["message"]) == (1, True), answer


def test_profiles_of_one_cluster_are_one_and_those_of_linked_devices_are_lost_on_simplified_projects() -> None:
    original = MixpanelProject(simplified=False, profiles={"p1": {"a": 1, "b": 1}, "ada": {"b": 2}, "ben": {"a": 3}})
    send(original, merge("p1", "ada"))
    assert sorted(map(str, original.profiles_of_persons().values())) == ["{'a': 1, 'b': 2}", "{'a': 3}"]
    simplified = MixpanelProject(profiles={"$device:p1": {"a": 1}, "$device:p2": {"a": 2}, "ada": {"a": 3}})
    send(simplified, seen("ada", **{"$user_id": "ada", "$device_id": "p1"}))
    assert simplified.profiles_of_persons() == {"$device:p2": {"a": 2}, "ada": {"a": 3}}
