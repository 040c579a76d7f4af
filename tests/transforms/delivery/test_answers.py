"""What answers mean: no record is acknowledged that an answer does not acknowledge."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from transforms.delivery.answers import Verdict, of_engage, of_import

EVENTS = b"".join(b'{"event":"E","properties":{"$insert_id":"i%d"}}\n' % n for n in range(4))
UPDATES = b"".join(b'{"$distinct_id":"u%d","$set":{"a":1}}\n' % n for n in range(4))
ONE = EVENTS[: EVENTS.index(b"\n") + 1]


def asked(status: int, body: Any, lines: bytes = EVENTS, **headers: str) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return of_import(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, content, lines, lines.count(b"\n")
    )


def bad(failed: list[Any], imported: int | None, **more: Any) -> dict[str, Any]:
    counted = {} if imported is None else {"num_records_imported": imported}
    return {"code": 400, "error": "some failed", "status": "Bad Request", "failed_records": failed, **counted, **more}


def test_a_full_count_is_acknowledged() -> None:
    answer = asked(200, {"code": 200, "num_records_imported": 4, "status": "OK"})
    assert (answer.verdict, answer.refused) == (Verdict.TAKEN, ())


@pytest.mark.parametrize(
    "body",
    [
        b"", b"1", b"OK", b"<html>sign in</html>", b'{"code":200,"num_records_imp', b"[]", b"null", b"{}",
        b'{"num_records_imported":3}', b'{"num_records_imported":5}', b'{"num_records_imported":"4"}',
        b'{"num_records_imported":true}', b'{"num_records_imported":4,"failed_records":[{"index":1}]}',
    ],
)  # fmt: skip
def test_a_200_that_does_not_say_so_is_sent_again(body: bytes) -> None:
    assert asked(200, body).verdict is Verdict.AGAIN


@pytest.mark.parametrize(
    "failed",
    [
        [{"index": 1, "$insert_id": "i1", "field": "properties.time", "message": "too old"}],
        [{"index": 1, "field": "properties.time", "message": "too old"}],
        [{"insert_id": "i1", "field": "properties.time", "message": "too old"}],
        [{"$insert_id": "i1", "field": "properties.time", "message": "too old"}],
    ],
)
def test_named_records_are_refused_and_the_rest_is_acknowledged(failed: list[Any]) -> None:
    answer = asked(400, bad(failed, 3))
    assert (answer.verdict, answer.refused) == (Verdict.TAKEN, ((1, "properties.time: too old"),))


@pytest.mark.parametrize(
    ("failed", "imported"),
    [
        (["$identify is not supported"], 0),
        ([{"index": 1, "message": "x"}], 4),
        ([{"index": 1, "message": "x"}], 2),
        ([{"index": 1, "message": "x"}], None),
        ([{"index": 7, "message": "x"}], 3),
        ([{"index": -1, "message": "x"}], 3),
        ([{"index": True, "message": "x"}], 3),
        ([{"index": 1, "insert_id": "i2", "message": "x"}], 3),
        ([{"insert_id": "elsewhere", "message": "x"}], 3),
        ([{"message": "x"}], 3),
        ([{"index": 1, "message": "x"}, {"index": 1, "message": "x"}], 2),
        ([{"index": 1, "message": "x"}, "a text"], 2),
        ([], 4),
        ([], 0),
    ],
)
def test_what_does_not_add_up_is_split(failed: list[Any], imported: int | None) -> None:
    assert asked(400, bad(failed, imported)).verdict is Verdict.SPLIT


def test_an_insert_id_that_stands_twice_is_split() -> None:
    answer = asked(400, bad([{"insert_id": "i0", "message": "x"}], 1), ONE + ONE)
    assert answer.verdict is Verdict.SPLIT


@pytest.mark.parametrize("body", [bad(["$identify is not supported"], 0), bad([{"insert_id": "other", "message":
                         "$identify is not supported"}], 0)])  # fmt: skip
def test_the_last_record_of_a_split_is_refused_in_the_words_of_the_answer(body: Any) -> None:
    assert asked(400, body, ONE).refused == ((0, "$identify is not supported"),)


def test_a_400_that_is_not_mixpanels_is_sent_again() -> None:
    assert asked(400, b"<html>Bad Request</html>").verdict is Verdict.AGAIN
    assert asked(400, b'{"code":400,"failed_re').verdict is Verdict.AGAIN


def test_too_large_is_split_and_one_record_refused() -> None:
    body = {"code": 413, "error": "request exceeds max limit of 2097152 bytes", "status": "Request Entity Too Large"}
    assert asked(413, body).verdict is Verdict.SPLIT
    assert asked(413, body, ONE).refused == ((0, "413 request exceeds max limit of 2097152 bytes"),)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 599])
def test_what_may_pass_is_sent_again(status: int) -> None:
    assert asked(status, b"").verdict is Verdict.AGAIN
    assert asked(status, b"", retry_after="7").retry_after == 7.0
    date = "Wed, 21 Oct 2026 07:28:00 GMT"
    assert asked(status, b"", retry_after=date, date="Wed, 21 Oct 2026 07:27:15 GMT").retry_after == 45.0
    assert asked(status, b"", retry_after=date, date="Wed, 21 Oct 2026 07:28:01 GMT").retry_after is None
    assert asked(status, b"", retry_after="99999").retry_after == 3600.0
    for nothing in ("0", "-5", "nan", "soon", "Wed, 99 Oct 2026", ""):
        assert asked(status, b"", retry_after=nothing).retry_after is None


def test_a_date_of_retry_after_goes_by_this_machines_clock_where_the_answer_has_no_date(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_792_567_670.0)
    assert asked(429, b"", retry_after="Wed, 21 Oct 2026 07:28:00 GMT").retry_after == 10.0


@pytest.mark.parametrize("status", [201, 204, 301, 302, 307, 401, 402, 403, 404, 405, 410, 422])
def test_any_other_status_stops_with_its_words(status: int) -> None:
    answer = asked(status, {"error": "Invalid credentials"})
    assert (answer.verdict, answer.words) == (Verdict.STOP, f"{status} Invalid credentials")


def engaged(status: int, body: Any, lines: bytes = UPDATES) -> Any:
    return of_engage(
        status, {}, body if isinstance(body, bytes) else json.dumps(body).encode(), lines, lines.count(b"\n")
    )


@pytest.mark.parametrize(
    "body", [b"1", {"status": 1, "error": None}, {"status": 1, "error": ""}, {"status": "OK", "num_good_events": 4}]
)
def test_updates_are_acknowledged_by_the_body(body: Any) -> None:
    assert engaged(200, body).verdict is Verdict.TAKEN
    assert engaged(200, body).refused == ()


@pytest.mark.parametrize(
    "body",
    [
        b"", b"true", b"2", b"[]", {}, {"status": "OK", "num_good_events": 3}, {"status": "ok"}, {"status": True},
        {"error": "sign in to the guest network"}, {"status": False},
    ],
)  # fmt: skip
def test_updates_with_an_answer_that_says_nothing_are_sent_again(body: Any) -> None:
    assert engaged(200, body).verdict is Verdict.AGAIN


@pytest.mark.parametrize("body", [b"0", {"status": 0, "error": "bad"}, {"status": 1, "error": "bad"}])
def test_a_zero_that_names_no_record_is_split(body: Any) -> None:
    assert engaged(200, body).verdict is Verdict.SPLIT
    assert engaged(200, body, UPDATES[: UPDATES.index(b"\n") + 1]).refused[0][0] == 0


@pytest.mark.parametrize("status", [200, 400])
def test_named_updates_are_refused(status: int) -> None:
    body = {"status": 0, "error": "e", "num_good_events": 3, "failed_records": [{"index": 2, "message": "bad $set"}]}
    assert engaged(status, body).refused == ((2, "bad $set"),)
