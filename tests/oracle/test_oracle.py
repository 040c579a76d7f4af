"""The oracle and the simulator of Mixpanel on small cases whose right answer is written out."""

from __future__ import annotations

from typing import Any

import pytest

from tests.exports.random_exports import NOW
from tests.oracle import whole_job as oracle
from tests.oracle.mixpanel_simulator import SimplifiedIdMerge

T = NOW - 1000
SESSION = "users.behaviors.app.SessionStart"
CUSTOM = "users.behaviors.CustomEvent"
DELETE = "users.UserDeleteRequest"
ORPHAN = "users.UserOrphan"
UPDATE = "users.profile.Update"
EMAIL = "users.messages.email.Send"


def row(
    event_id: str | None, user: str | None = None, external: str | None = None, device: str | None = None, **other: Any
) -> dict[str, Any]:
    return {"id": event_id, "time": T, "user_id": user, "external_user_id": external, "device_id": device, **other}


def run(*files: tuple[str, list[dict[str, Any]]], **policy: Any) -> oracle.Expected:
    """Run the oracle on files named 0, 1, …"""
    return oracle.run({str(number): file for number, file in enumerate(files)}, now=NOW, **policy)


def ids_of(expected: oracle.Expected) -> dict[str, tuple[str, str | None, str | None]]:
    """Each event's (distinct_id, $user_id, $device_id) by its $insert_id."""
    properties = [event["properties"] for event in expected.events]
    return {p["$insert_id"]: (p["distinct_id"], p.get("$user_id"), p.get("$device_id")) for p in properties}


def statuses(expected: oracle.Expected) -> dict[tuple[str, str], str]:
    return {(small[1], large[1]): link[3] for (_, small, large), link in expected.links.items()}


def withheld(expected: oracle.Expected) -> dict[str, dict[str, int]]:
    return {reason: dict(by_type) for reason, by_type in expected.withheld.items()}


def test_anonymous_history_goes_to_the_user_of_the_profile() -> None:
    expected = run((SESSION, [row("a", "p"), row("b", "p", "alice"), row("c", "q"), row("d")]))
    assert ids_of(expected) == {
        "a": ("alice", "alice", "p"),
        "b": ("alice", "alice", "p"),
        "c": ("$device:q", None, "q"),
        "d": ("", None, None),
    }
    assert expected.ids == {
        ("user_id", "p"): ("alice", "alice"),
        ("external_user_id", "alice"): ("alice", "alice"),
        ("user_id", "q"): ("$device:q", "user_id:q"),
    }


def test_a_row_keeps_its_own_external_id_on_conflict() -> None:
    expected = run((SESSION, [row("a", "p", "alice"), row("b", "p", "bob", time=T + 1), row("c", "p")]))
    assert ids_of(expected) == {
        "a": ("alice", "alice", "p"),
        "b": ("bob", "bob", None),
        "c": ("alice", "alice", "p"),
    }
    assert statuses(expected) == {("alice", "p"): "accepted", ("bob", "p"): "refused"}


def test_the_earlier_evidence_wins_then_the_smaller_event_id_then_the_smaller_pair() -> None:
    assert ids_of(run((SESSION, [row("b", "p", "x"), row("a", "p", "y"), row("c", "p")])))["c"][0] == "y"
    assert ids_of(run((SESSION, [row("b", "p", "x", time=T - 1), row("a", "p", "y"), row("c", "p")])))["c"][0] == "x"
    same_id = run((SESSION, [row("a", "p", "y"), row("c", "p")]), (EMAIL, [row("a", "p", "x")]))
    assert ids_of(same_id)["c"][0] == "x"


def test_orphans_hand_their_history_to_the_survivor_even_in_a_cycle() -> None:
    orphans = [row("1", "a", orphaned_by_id="b"), row("2", "b", orphaned_by_id="c"), row("3", "c", orphaned_by_id="a")]
    loop = [row("4", "c", "ignored", "ignored", orphaned_by_id="c")]
    expected = run((ORPHAN, orphans + loop), (SESSION, [row("5", "c", "alice"), row("6", "a")]))
    assert ids_of(expected)["6"] == ("alice", "alice", "a")
    assert statuses(expected) == {
        ("alice", "c"): "accepted",
        ("a", "b"): "accepted",
        ("b", "c"): "accepted",
        ("a", "c"): "redundant",
    }
    assert ("device_id", "ignored") not in expected.ids
    assert expected.rows["identity_only"] == 4


def test_the_oracle_links_devices_by_each_policy() -> None:
    rows = [row("1", "p", "alice", "tablet"), row("2", "q", "bob", "tablet"), row("3", "r", None, "tablet")]
    own = [row("4", "s", "carol", "phone"), row("5", "t", None, "phone")]
    sole = run((SESSION, rows + own), device_links="sole")
    assert ids_of(sole)["3"][0] == "$device:r"
    assert ids_of(sole)["5"][0] == "carol"
    assert {statuses(sole)[("tablet", profile)] for profile in "pqr"} == {"contested"}
    assert sole.ids[("device_id", "tablet")] == (None, "device_id:tablet")
    assert sole.ids[("device_id", "phone")] == ("carol", "carol")
    first = run((SESSION, rows + own), device_links="first")
    assert ids_of(first)["3"][0] == "alice"
    assert statuses(first)[("tablet", "q")] == "refused"
    none = run((SESSION, rows + own), device_links="none")
    assert ids_of(none)["5"][0] == "$device:t"
    assert statuses(none)[("phone", "s")] == "contested"
    quarantined = run((SESSION, rows + own), max_profiles_per_device=2, device_links="sole")
    assert {statuses(quarantined)[("tablet", profile)] for profile in "pqr"} == {"quarantined"}
    assert statuses(quarantined)[("phone", "t")] == "accepted"


def test_machine_made_rows_and_junk_ids_link_nothing() -> None:
    expected = run(
        ("users.messages.email.Open", [row("1", "p", "alice", "d", machine_open="true")]),
        ("users.messages.webhook.Send", [row("2", "q", None, "d")]),
        (SESSION, [row("3", " NULL ", "0-0", "Anon"), row("4", "", "bob")]),
    )
    assert set(expected.ids) == {
        ("user_id", "p"), ("user_id", "q"), ("external_user_id", "alice"), ("external_user_id", "bob"),
    }  # fmt: skip
    assert ids_of(expected)["3"] == ("", None, None)
    assert ids_of(expected)["4"] == ("bob", "bob", None)


def test_the_oracle_drops_repeats_and_gives_each_reject_its_reason() -> None:
    upper = "7A0E8400-E29B-41D4-A716-446655440000"
    expected = run(
        (SESSION, [row(upper, "p"), row(upper.lower(), "q"), row(None, "p", "alice"), row("x", "p", time=None)]),
        (SESSION, [row("x", "q", time=31_535_999), row("x", "q", time=NOW + 3601), row("x", "q", time=NOW + 3600)]),
        (EMAIL, [row(upper, "q"), row("X", "q"), row("x", "q")]),
    )
    assert sorted(ids_of(expected)) == [upper, "X", "x"]
    assert len(expected.events) == 5
    assert expected.rejects == {
        ("missing_id", "0", 2): 1, ("time_invalid", "0", 3): 1,
        ("time_invalid", "1", 0): 1, ("time_invalid", "1", 1): 1,
    }  # fmt: skip
    assert expected.ids[("user_id", "p")] == ("alice", "alice")  # a row without an id is evidence all the same
    assert expected.rows["repeats"] == 1
    assert expected.rows_by_type[EMAIL]["events"] == 3


def test_the_oracle_tells_whole_persons_from_parts_in_deletions() -> None:
    expected = run(
        (DELETE, [{"id": i, "time": T, "user_id": i} for i in ("own", "via-device", "orphan", "alone")]),
        (DELETE, [{"id": "junk", "time": T, "user_id": "none"}]),
        (SESSION, [row("1", "own", "alice", "d"), row("2", "via-device", None, "d"), row("3", "left", "bob")]),
        (ORPHAN, [row("4", "orphan", orphaned_by_id="left")]),
        (SESSION, [row("5", "orphan"), row("6", "left")]),
    )
    assert [(d["distinct_id"], d["user_id"], d["via"], d["whole_person"]) for d in expected.deletions] == [
        ("alice", "own", "own", True),
        ("alice", "via-device", "device", True),
        ("bob", "orphan", "profile", False),
        ("$device:alone", "alone", "none", True),
    ]
    assert expected.rejects == {("missing_user_id", "1", 0): 1}
    assert withheld(expected) == {"deleted_user": {SESSION: 3}}
    assert sorted(ids_of(expected)) == ["3", "6"]


@pytest.mark.parametrize(
    ("policy", "reasons"),
    [
        ({"event_types": [SESSION]}, {"event_type": {EMAIL: 2, UPDATE: 1}}),
        ({"exclude_events": ["Session*"]}, {"excluded": {SESSION: 2}, "anonymous_profile": {UPDATE: 1}}),
        ({"id_merge": "native"}, {"native_drops": {SESSION: 1, EMAIL: 1, UPDATE: 1}}),
        ({"native_since": T}, {"left_to_native": {SESSION: 1, EMAIL: 1}, "anonymous_profile": {UPDATE: 1}}),
        ({"events_since": T + 1}, {"outside_window": {SESSION: 2, EMAIL: 2}, "anonymous_profile": {UPDATE: 1}}),
        ({"events_until": T}, {"outside_window": {SESSION: 2, EMAIL: 2}, "anonymous_profile": {UPDATE: 1}}),
        ({"events_since": T, "events_until": T + 1}, {"anonymous_profile": {UPDATE: 1}}),
        ({"native_since": T + 1}, {"anonymous_profile": {UPDATE: 1}}),
        ({"anonymous": "none"}, {"anonymous": {SESSION: 1, EMAIL: 1}, "anonymous_profile": {UPDATE: 1}}),
        ({"anonymous": "behaviors"}, {"anonymous": {EMAIL: 1}, "anonymous_profile": {UPDATE: 1}}),
        ({"profile_updates": "off"}, {"anonymous_profile": {UPDATE: 1}}),
        ({"users_share": 0.0}, {"sampled_out": {SESSION: 2, EMAIL: 2}, "anonymous_profile": {UPDATE: 1}}),
    ],
)
def test_withheld_rows_have_the_first_reason_that_applies(policy: dict[str, Any], reasons: dict[str, Any]) -> None:
    both = [row("1", "p", "alice"), row("2", "q")]
    expected = run((SESSION, both), (EMAIL, both), (UPDATE, [row("3", "q", first_name="Q")]), **policy)
    assert withheld(expected) == reasons
    counts = expected.rows
    assert counts["read"] == sum(counts[kind] for kind in oracle.ROW_KINDS) == 5


def test_profile_updates_off_is_a_reason_only_for_known_users() -> None:
    assert withheld(run((UPDATE, [row("1", "p", "alice", first_name="A")]), profile_updates="off")) == {
        "profile_updates_off": {UPDATE: 1}
    }


def test_types_without_a_mixpanel_form_are_sent_only_where_they_are_asked_for() -> None:
    agent = ("agentconsole.ToolInvocation", [{"id": "1", "time": T, "agent_id": "x"}])
    assert run(agent).rows["not_exported"] == 1
    asked = run(agent, event_types=["agentconsole.ToolInvocation"], properties="all")
    assert asked.events == [
        {
            "event": "Agentconsole Tool Invocation",
            "properties": {
                "distinct_id": "",
                "time": T,
                "$partner_id": "braze",
                "ip": 0,
                "$insert_id": "1",
                "agent_id": "x",
            },
        }
    ]
    assert run(agent, event_types=["agentconsole.*"]).events == asked.events
    unknown = run(("users.behaviors.app.FooBar", [row("1", "p", None, "d", ip="1.2.3.4", new=[None, "x"])]))
    assert unknown.events[0]["event"] == "Foo Bar"
    assert unknown.events[0]["properties"]["braze_ip"] == "1.2.3.4"
    assert unknown.events[0]["properties"]["new"] == [None, "x"]
    assert unknown.events[0]["properties"]["device_id"] == "d"
    assert "user_id" not in unknown.events[0]["properties"]


def test_the_oracle_sends_custom_events_and_purchases_with_their_properties() -> None:
    text = (
        '{"a": 1, "none": null, "deep": {"b": {"c": {"d": {}}}}, "fits": [[[1]]], "ip": "x", "' + "é" * 200 + '": true}'
    )
    expected = run(
        (CUSTOM, [row("1", "p", name="shop", properties=text, os_version="17", timezone="UTC")]),
        (
            CUSTOM,
            [row("2", "p", name="n" * 300, properties='{"a": NaN, "b": 1}'), row("3", "p", name="x", properties=" ")],
        ),
        ("users.behaviors.Purchase", [row("4", "p", price=3.140000104904175, properties='{"size": "L"}')]),
    )
    custom, long_name, blank, purchase = expected.events
    prefix = "[Custom event property] "
    assert custom["event"] == "[Braze Custom Event] shop"
    assert custom["properties"] == {
        "distinct_id": "$device:p", "$device_id": "p", "time": T, "$partner_id": "braze", "ip": 0, "$insert_id": "1",
        "$os": "17", prefix + "a": 1, prefix + "deep": '{"b":{"c":{"d":{}}}}',
        prefix + "fits": [[[1]]], prefix + "ip": "x", prefix + "é" * 115: True,
    }  # fmt: skip
    assert long_name["event"] == "[Braze Custom Event] " + "n" * 234
    assert long_name["properties"][prefix + "b"] == 1
    assert prefix + "a" not in long_name["properties"]
    assert not [key for key in blank["properties"] if key.startswith("[")]
    assert purchase["properties"]["price"] == 3.14
    assert purchase["properties"]["[Purchase property] size"] == "L"


def test_the_oracle_shortens_insert_ids_and_keeps_mixpanels_limits() -> None:
    assert oracle.insert_id(SESSION, "Evt-1") == "Evt-1"
    assert oracle.insert_id(SESSION, "evt_1") == oracle.insert_id(SESSION, "evt_1") != oracle.insert_id(EMAIL, "evt_1")
    assert len(oracle.insert_id(SESSION, "NULL")) == 32
    many = "{" + ",".join(f'"k{number:03}": {number}' for number in range(300)) + "}"
    large = '{"blob": "' + "x" * 1_000_000 + '"}'
    expected = run((CUSTOM, [row("1", name="a", properties=many), row("2", name="a", properties=large)]))
    properties = expected.events[0]["properties"]
    assert len(properties) == 250
    assert max(properties) == "time"
    assert "[Custom event property] k244" in properties  # 250 less the five that every row without ids has
    assert "[Custom event property] k245" not in properties
    assert expected.rejects == {("event_too_large", "0", 1): 1}


def test_profile_updates_take_the_latest_value_of_each_attribute() -> None:
    custom = '{"$plan": "gold", "score": null, "tags": ["a"]}'
    updates = (
        (UPDATE, [row("1", "p", "alice", time_ms=2, first_name="New", country="DE", custom_attributes=custom)]),
        (UPDATE, [row("2", "p", None, time_ms=1, first_name="Old", last_name="L", country="Germany")]),
        (UPDATE, [row("3", "p", None, time_ms=1, custom_attributes='{"score": 1, "$plan": null, "old": null}')]),
        (UPDATE, [row("4", "p", None, custom_attributes="[]"), row("5", "q", None, first_name="Q")]),
    )
    common = {"$distinct_id": "alice", "$ip": "0", "$ignore_time": True}
    latest = {
        "$first_name": "New", "$last_name": "L", "$country_code": "DE", "braze_$plan": "gold", "tags": ["a"],
        "custom_attributes": "[]",
    }  # fmt: skip
    expected = run(*updates)
    assert expected.profiles == [{**common, "$set": latest}, {**common, "$unset": ["old", "score"]}]
    assert not expected.rejects
    assert expected.rows["profile_updates"] == 4
    assert run(*updates, profile_updates="set_once").profiles == [{**common, "$set_once": {**latest, "score": 1}}]


def test_the_oracle_knows_the_id_merges_none_and_native() -> None:
    rows = [row("1", "p", "alice"), row("2", "p"), row("3", "q"), row("4")]
    none = run((SESSION, rows), id_merge="none", tag="t")
    assert ids_of(none) == {i: (d, None, None) for i, d in {"1": "alice", "2": "alice", "3": "q", "4": ""}.items()}
    assert none.events[0]["properties"]["braze_import"] == "t"
    assert ids_of(run((SESSION, rows), id_merge="native")) == {"1": ("alice", None, None)}


def test_simulator_keeps_a_device_with_its_first_user() -> None:
    def event(insert_id: str, user: str | None, device: str | None, distinct_id: str = "") -> dict[str, Any]:
        ids = {"$user_id": user, "$device_id": device}
        return {"event": "E", "properties": {**ids, "distinct_id": distinct_id, "time": T, "$insert_id": insert_id}}

    mixpanel = SimplifiedIdMerge([event("before", None, "d"), event("link", "alice", "d"), event("late", "bob", "d")])
    mixpanel.feed(event("after", None, "d"))
    mixpanel.feed(event("bare", None, None, "$device:d"))
    mixpanel.feed(event("phantom", None, None, "x"))
    mixpanel.feed(event("nobody", None, None))
    mixpanel.feed(event("other", None, "e"))
    names = ["before", "link", "late", "after", "bare", "phantom", "nobody", "other"]
    persons = ["alice", "alice", "bob", "alice", "alice", "x", "", "$device:e"]
    assert [mixpanel.person(name) for name in names] == persons
    with pytest.raises(ValueError, match=r"\$merge is refused"):
        mixpanel.feed({"event": "$merge", "properties": {}})
