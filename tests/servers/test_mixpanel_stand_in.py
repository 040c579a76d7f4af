"""The stand-in of Mixpanel answers as the public documentation says, so that a delivery tested on it counts."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import ssl
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.servers.mixpanel_project import MixpanelProject
from tests.servers.mixpanel_stand_in import Faults, StandIn, make_certificate, stand_in


def event(number: int, **properties: Any) -> dict[str, Any]:
    ids = {"distinct_id": f"u{number}", "$user_id": f"u{number}", "$device_id": f"p{number}"}
    told = {**ids, "time": 1_772_325_703, "$insert_id": f"e{number}", "$partner_id": "braze", "ip": 0}
    return {"event": "Session Start", "properties": {**told, **properties}}


def post(server: StandIn, path: str, body: bytes, user: str, **headers: str) -> tuple[int, dict[str, Any]]:
    url = urlsplit(server.url)
    connection = http.client.HTTPConnection(url.netloc, timeout=10)
    basic = base64.b64encode(user.encode()).decode()
    connection.request("POST", path, body, {"Authorization": f"Basic {basic}", **headers})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def send(
    server: StandIn, events: list[dict[str, Any]], query: str = "?strict=1&project_id=424242", user: str = ""
) -> Any:
    body = b"".join(json.dumps(event).encode() + b"\n" for event in events)
    kind = {"Content-Type": "application/x-ndjson"}
    return post(server, "/import" + query, body, user or server.project.account, **kind)


def send_gzipped(server: StandIn, events: list[dict[str, Any]]) -> Any:
    body = gzip.compress(b"".join(json.dumps(event).encode() + b"\n" for event in events))
    kind = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
    return post(server, "/import?strict=1&project_id=424242", body, server.project.account, **kind)


def test_good_events_are_taken_once_however_often_they_are_sent() -> None:
    with stand_in() as server:
        for _ in range(2):
            assert send(server, [event(1), event(2)]) == (
                200,
                {"code": 200, "num_records_imported": 2, "status": "OK"},
            )
    assert len(server.project.events) == 2
    assert set(server.project.times_taken.values()) == {2}


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ("index", {"index": 1, "$insert_id": "e_2"}),
        ("$insert_id", {"$insert_id": "e_2"}),
        ("insert_id", {"insert_id": "e_2"}),
    ],
)
def test_a_bad_event_is_named_and_the_others_are_taken(shape: str, told: dict[str, Any]) -> None:
    with stand_in(MixpanelProject(shape=shape)) as server:
        status, answer = send(server, [event(1), event(2, **{"$insert_id": "e_2"}), event(3)])
    assert (status, answer["num_records_imported"]) == (400, 2)
    (failed,) = answer["failed_records"]
    assert {key: failed[key] for key in told} == told
    assert len(server.project.events) == 2


def test_a_merge_event_makes_a_simplified_project_refuse_the_whole_batch() -> None:
    with stand_in() as server:
        status, answer = send(server, [event(1), {**event(2), "event": "$merge"}])
    assert (status, answer["num_records_imported"], server.project.events) == (400, 0, {})
    assert isinstance(answer["failed_records"][0], str)


def test_the_token_alone_imports_without_a_project_and_anything_else_is_unauthorised() -> None:
    with stand_in() as server:
        token = server.project.token + ":"
        assert send(server, [event(1)], "?strict=1", token)[0] == 200
        assert send(server, [event(1)], "?strict=1&project_id=424242", token)[0] == 401
        assert send(server, [event(1)], "?strict=1&project_id=7")[0] == 401
        assert send(server, [event(1)], user="nobody:x")[0] == 401


def test_updates_are_applied_and_the_body_tells_what_became_of_them() -> None:
    with stand_in() as server:
        meta = {"$token": server.project.token, "$ip": "0", "$ignore_time": True}
        good = {**meta, "$distinct_id": "u1", "$set": {"language": "de"}}
        bad = {**meta, "$distinct_id": "", "$set": {"language": "de"}}
        status, answer = post(server, "/engage?strict=1&verbose=1&ip=0", json.dumps([good, bad]).encode(), "")
    assert (status, answer["status"], answer["failed_records"][0]["index"]) == (200, 0, 1)
    assert server.project.profiles == {"u1": {"language": "de"}}


@pytest.mark.parametrize(
    ("fault", "taken"), [("reset", 0), ("reset_within", 1), ("reset_after", 2), ("cut", 2), ("hang", 2)]
)
def test_a_broken_answer_says_nothing_of_what_was_taken(fault: str, taken: int) -> None:
    with stand_in(faults=Faults(share=1.0, kinds=(fault,), hang_seconds=0.1)) as server:
        with pytest.raises((OSError, http.client.HTTPException)):
            send_gzipped(server, [event(1), event(2)])
        assert len(server.project.events) == taken


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "taken", "answer"),
    [
        ("foreign_json", 0, []),
        ("short", 1, {"code": 200, "num_records_imported": 1, "status": "OK"}),
        ("unhurried", 2, {"code": 200, "num_records_imported": 2, "status": "OK"}),
        ("slow", 2, {"code": 200, "num_records_imported": 2, "status": "OK"}),
    ],
)
def test_an_answer_may_be_anothers_or_short_or_slow(fault: str, taken: int, answer: Any) -> None:
    began = time.monotonic()
    with stand_in(faults=Faults(share=1.0, kinds=(fault,), hang_seconds=0.4)) as server:
        assert send_gzipped(server, [event(1), event(2)]) == (200, answer)
        assert len(server.project.events) == taken
    assert fault != "slow" or time.monotonic() - began > 0.8


def test_a_share_of_the_requests_to_each_path_meets_each_fault_in_turn() -> None:
    faults = Faults(share=0.3, kinds=("429", "cut"))
    for path in ("/import", "/engage"):
        met = [faults.meet(path) for _ in range(1000)]
        assert 250 < len(met) - met.count(None) < 350
        assert abs(met.count("429") - met.count("cut")) <= 1


def test_who_watches_is_told_of_each_request_three_times() -> None:
    seen: list[tuple[str, str, int, int]] = []
    with stand_in() as server:

        def watch(path: str, stage: str, number: int) -> None:
            seen.append((path, stage, number, len(server.project.events)))

        server.watch = watch
        send(server, [event(1)])
        send(server, [event(2)])
    stages = [("arrived", 1, 0), ("taken", 1, 1), ("answered", 1, 1), ("arrived", 2, 1), ("taken", 2, 2)]
    assert seen[:5] == [("/import", *stage) for stage in stages]


def test_a_certificate_that_nobody_signed_is_not_trusted_unless_it_is_given(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    with stand_in(certificate=certificate) as server:
        netloc = urlsplit(server.url).netloc
        connection = http.client.HTTPSConnection(netloc, timeout=10)
        with pytest.raises(ssl.SSLCertVerificationError):
            connection.request("GET", "/api/app/me")
        trusted = ssl.create_default_context(cafile=str(certificate[0]))
        connection = http.client.HTTPSConnection(netloc, timeout=10, context=trusted)
        connection.request("GET", "/api/app/me")
        assert connection.getresponse().status == 401
