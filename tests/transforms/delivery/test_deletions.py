"""Which persons are asked to be deleted, what forbids it, and what Mixpanel's answers mean: without a network."""

from __future__ import annotations

import gzip
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.commands.deliveries import deletion, publish
from transforms.delivery.answers import Verdict
from transforms.delivery.client import Reply
from transforms.delivery.deletions import requests as deletion_requests
from transforms.delivery.deletions.answers import Task, of_deletion, of_state
from transforms.delivery.deletions.ledger import Asked, DeletionLedger, digest_of, done, read_asked, told
from transforms.delivery.deletions.requests import DeletionRequests
from transforms.delivery.deletions.wanted import (
    Wanted,
    known_until,
    not_delivered,
    objections,
    ranges,
    select,
    unconfirmed,
    undecided_lines,
)
from transforms.delivery.delivered_run import DeliveredRun, open_run
from transforms.delivery.ledger import Redelivered, State
from transforms.errors import ConnectionFailed, DamagedRunFile, DeliveryStopped

DAY = 86_400


def run_of(folder: Path, *lines: dict[str, Any]) -> DeliveredRun:
    half = len(lines) // 2
    files = {"deletions/part-00000.ndjson.gz": list(lines[:half]), "deletions/part-00001.ndjson.gz": list(lines[half:])}
    return open_run(str(publish(folder, files)))


def test_only_who_is_deleted_whole_by_every_line_is_asked_for_and_each_once(tmp_path: Path) -> None:
    run = run_of(
        tmp_path / "run", deletion("ben"), deletion("ada", user_id="p1"), deletion("partly", whole=False),
        deletion("ada", user_id="p2"), deletion("both", user_id="p3"), deletion("both", user_id="p4", whole=False),
        deletion("$device:p5", via="none"),
    )  # fmt: skip
    wanted = select(run)
    assert wanted == Wanted(("$device:p5", "ada", "ben"), known=2, lines=7, undecided=3)
    left = [json.loads(line)["distinct_id"] for line in undecided_lines(run, wanted.ids)]
    assert left == ["partly", "both", "both"]


@pytest.mark.parametrize("name", ["", "  ", "$device:", "Anonymous", "null", "$device:0", None, 5])
def test_what_names_nobody_is_never_asked_for(name: Any, tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", {**deletion("x"), "distinct_id": name}, deletion("ada"))
    assert select(run) == Wanted(("ada",), known=1, lines=2, undecided=1)
    assert len(list(undecided_lines(run, ["ada"]))) == 1


@pytest.mark.parametrize("whole", ["true", 1, None])
def test_only_the_word_true_means_whole(whole: Any, tmp_path: Path) -> None:
    assert select(run_of(tmp_path / "run", {**deletion("ada"), "whole_person": whole})).ids == ()


def test_requests_hold_1999_ids_and_leave_out_what_is_done() -> None:
    assert list(ranges(4000, [])) == [(0, 1999), (1999, 3998), (3998, 4000)]
    assert list(ranges(1999, [])) == [(0, 1999)]
    assert list(ranges(0, [])) == []
    assert list(ranges(5000, [(1999, 3998), (0, 10), (4000, 4001)])) == [(10, 1999), (3998, 4000), (4001, 5000)]
    assert list(ranges(10, [(0, 10), (2, 5)])) == []


def test_a_confirmation_lists_ids_as_they_are_or_as_lines_of_deletions() -> None:
    text = '\ufeffada\r\n{"distinct_id":"ben","whole_person":true}\n"c\\u0061rl"\n\n{odd\n dora \nlast'
    ids = sorted([" dora ", "ada", "ben", "carl", "dora", "eve", "last", "{odd"])
    for content in (text.encode(), gzip.compress(text.encode())):
        assert unconfirmed(ids, content, "f") == ["dora", "eve"]
    assert unconfirmed(ids[:1], b"", "f") == ids[:1]
    with pytest.raises(DamagedRunFile, match="f is not text"):
        unconfirmed(ids, b"\xff\xfe\x00", "f")
    with pytest.raises(DamagedRunFile, match="f is not a gzip file"):
        unconfirmed(ids, b"\x1f\x8bcut, and no more than that", "f")


@pytest.mark.slow
def test_ids_that_are_cut_between_two_pieces_of_a_large_file_are_read_whole() -> None:
    ids = [f"{random.Random(n).getrandbits(256):064x}" for n in range(80_000)]
    text = "\n".join(ids).encode()
    for content in (text, gzip.compress(text)):
        assert unconfirmed(sorted([*ids, "another"]), content, "f") == ["another"]


def wanted_of(count: int, known: int | None = None) -> Wanted:
    return Wanted(tuple(f"u{n:04d}" for n in range(count)), count if known is None else known, count, 0)


@pytest.mark.parametrize(
    ("count", "known", "known_users", "words"),
    [
        (100, 100, 10_000, None),
        (101, 101, 1_000_000, "101 ids are more than 100"),
        (101, 0, 1_000_000, "101 ids are more than 100"),
        (100, 100, 9_999, "100 of 9,999 known users are more than 1%"),
        (5, 0, 0, None),
        (1, 1, 99, "1 of 99 known users"),
        (1, 1, None, "does not say how many known users"),
        (0, 0, None, None),
    ],
)
def test_many_at_once_need_a_confirmation(
    count: int, known: int, known_users: int | None, words: str | None, tmp_path: Path
) -> None:
    run = run_of(tmp_path / "run")
    run.report.update({"now": 1000 * DAY, "identity": {"known_users": known_users}})
    wanted = wanted_of(count, known)
    found = list(objections(run, wanted, None, 1000 * DAY, stale=False))
    assert len(found) == (words is not None)
    assert words is None or words in found[0]
    assert list(objections(run, wanted, [], 1000 * DAY, stale=False)) == []
    if count:
        (lacking,) = objections(run, wanted, wanted.ids[:1], 1000 * DAY, stale=False)
        assert f"lacks 1 of the {count:,} ids, 'u0000' among them" in lacking


def test_a_run_is_old_seven_days_after_what_it_knows(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run")
    run.report.update({"now": 1000 * DAY, "flags": {"until": None}, "identity": {"known_users": 10_000}})
    for now, words in ((1007 * DAY, None), (1007 * DAY + 1, "--stale_deletions")):
        found = list(objections(run, wanted_of(1), None, now, stale=False))
        assert len(found) == (words is not None)
        assert words is None or words in found[0]
        assert not list(objections(run, wanted_of(1), None, now, stale=True))
    assert known_until({"now": 1000 * DAY, "flags": {"until": 900 * DAY}}) == 900 * DAY
    assert known_until({"now": 1000 * DAY, "flags": {"until": 1100 * DAY}}) == 1000 * DAY
    assert known_until({"flags": {"until": 900 * DAY}}) is None
    del run.report["now"]
    assert "does not say when it was made" in next(objections(run, wanted_of(1), None, 0, stale=False))


def test_a_run_is_delivered_whole_when_nothing_is_left_and_no_more_refused_than_is_allowed() -> None:
    def totals(**changes: int) -> dict[str, dict[str, int]]:
        events = {"in_run": 100, "acknowledged": 100, "refused": 0, "not_sent": 0, **changes}
        return {"events": events, "profiles": {"in_run": 9, "acknowledged": 4, "refused": 0, "not_sent": 5}}

    events_only = State({}, {("events", "f"): 100}, {"events": 0, "profiles": 0}, Redelivered())
    with_profiles = State({}, {("events", "f"): 100, ("profiles", "g"): 4}, {"events": 0, "profiles": 0}, Redelivered())
    assert not_delivered(totals(), events_only, 0.0) is None
    assert "5 of 9 profiles are not sent" in str(not_delivered(totals(), with_profiles, 0.0))
    assert "1 of 100 events are not sent" in str(not_delivered(totals(acknowledged=99, not_sent=1), events_only, 0.0))
    refused = totals(acknowledged=99, refused=1)
    assert "1 of 100 events were refused" in str(not_delivered(refused, events_only, 0.009))
    assert not_delivered(refused, events_only, 0.01) is None


@pytest.mark.parametrize(
    ("status", "body", "verdict", "tasks"),
    [
        (201, {"status": "ok", "results": {"task_id": "7"}}, Verdict.TAKEN, (Task("7"),)),
        (200, {"status": "ok", "results": [{"tracking_id": "8", "status": "pending", "project_id": 42}]}, Verdict.TAKEN,
         (Task("8", "PENDING", "42"),)),
        (200, {"status": "ok", "results": {"task_id": 9}}, Verdict.TAKEN, (Task("9"),)),
        (200, {"status": "ok", "results": {}}, Verdict.AGAIN, ()),
        (200, {"status": "error", "error": "no"}, Verdict.SPLIT, ()),
        (201, None, Verdict.AGAIN, ()),
        (400, {"error": "bad"}, Verdict.SPLIT, ()),
        (400, {"status": "error"}, Verdict.SPLIT, ()),
        (413, {"error": "large"}, Verdict.SPLIT, ()),
        (429, {"error": "slow"}, Verdict.AGAIN, ()),
        (503, {"error": "later"}, Verdict.AGAIN, ()),
        (401, {"error": "who"}, Verdict.STOP, ()),
        (404, {"error": "where"}, Verdict.STOP, ()),
        (302, {}, Verdict.STOP, ()),
    ],
)  # fmt: skip
def test_an_answer_to_a_deletion_is_read_in_either_shape(
    status: int, body: Any, verdict: Verdict, tasks: tuple[Task, ...]
) -> None:
    content = b"<html>" if body is None else json.dumps(body).encode()
    found = of_deletion(status, {"retry-after": "3"}, content, 2)
    assert (found.verdict, found.tasks) == (verdict, tasks)
    assert found.retry_after == (3.0 if status in (429, 503) else None)
    if verdict is Verdict.SPLIT:
        alone = of_deletion(status, {}, content, 1)
        assert (alone.verdict, alone.tasks) == (Verdict.TAKEN, ())
        assert str(body.get("error", "error")) in alone.words


def test_a_state_is_read_in_either_shape_and_an_unknown_task_is_not_found() -> None:
    job = {"status": "started", "project_id": 42}
    for results in (job, [job]):
        found = of_state(200, {}, json.dumps({"results": results}).encode(), "7")
        assert found.tasks == (Task("7", "STARTED", "42"),)
    assert of_state(404, {}, b"", "7").tasks == (Task("7", "NOT_FOUND"),)
    assert of_state(200, {}, b"{}", "7").verdict is Verdict.AGAIN
    assert of_state(200, {}, b'{"results":[]}', "7").verdict is Verdict.AGAIN
    assert of_state(401, {}, b"{}", "7").verdict is Verdict.STOP


class Clock:
    """A connection that gives these answers in turn, each after half a second by a clock of its own."""

    def __init__(self, *answers: Any) -> None:
        self.now, self.answers, self.asked = 0.0, list(answers), []  # type: ignore[var-annotated]

    def ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Reply:
        self.asked.append((self.now, method, path, body, headers))
        self.now += 0.5
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Reply(answer[0], answer[1] if len(answer) > 1 else {}, b'{"results":{"task_id":"7","status":"PENDING"}}')

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def requests(self, give_up_after: float = 100.0) -> DeletionRequests:
        return DeletionRequests(
            self, "t0ken", "gdpr", lambda: None, give_up_after, lambda text: text.replace("t0ken", "…"),
            lambda: self.now, self.sleep,
        )  # fmt: skip


def test_requests_are_a_second_apart_and_carry_both_tokens() -> None:
    clock = Clock((201,), (201,), (200,))
    requests = clock.requests()
    requests.delete(["ada", "ben"])
    requests.delete(["carl"])
    requests.state("7/..")
    assert [at for at, *_ in clock.asked] == [0.0, 1.5, 3.0]
    _, method, path, body, headers = clock.asked[0]
    assert (method, path) == ("POST", "/api/app/data-deletions/v3.0/?token=t0ken")
    assert json.loads(body) == {"compliance_type": "GDPR", "distinct_ids": ["ada", "ben"]}
    assert headers["Authorization"] == "Bearer gdpr"
    assert clock.asked[2][1:4] == ("GET", "/api/app/data-deletions/v3.0/7%2F%2E%2E/?token=t0ken", None)


def test_a_request_is_made_again_after_a_growing_while_until_it_is_given_up() -> None:
    clock = Clock((503,), ConnectionFailed("reset"), (429, {"retry-after": "30"}), (201,))
    requests = clock.requests()
    assert requests.delete(["ada"]).tasks == (Task("7", "PENDING"),)
    at = [moment for moment, *_ in clock.asked]
    waits = [later - earlier - 0.5 for earlier, later in itertools.pairwise(at)]
    assert 3 <= waits[0] <= 7
    assert 5 <= waits[1] <= 9
    assert waits[2] == pytest.approx(30)
    assert requests.retries == {"503": 1, "no answer": 1, "429": 1}
    with pytest.raises(DeliveryStopped, match="nothing got through for 10 s"):
        Clock(*[(503,)] * 20).requests(10.0).delete(["ada"])


def test_refused_credentials_stop_at_once() -> None:
    for status, unauthorised in ((401, True), (403, True), (404, False)):
        clock = Clock((status,))
        with pytest.raises(DeliveryStopped, match=str(status)) as raised:
            clock.requests().delete(["ada"])
        assert raised.value.unauthorised is unauthorised
    assert deletion_requests.SECONDS_APART == 1.0


def test_what_was_asked_for_is_read_back_and_counts_once(tmp_path: Path) -> None:
    wanted = wanted_of(3000)
    ids, folder = wanted.ids, str(tmp_path)
    entries = [
        Asked(0, 1999, digest_of(ids[:1999]), 5, (Task("1"),)),
        Asked(1000, 999, digest_of(ids[1000:1999]), 6, (Task("2"),)),
        Asked(1999, 1, digest_of(ids[1999:2000]), 6, (), "odd"),
        Asked(2000, 1, digest_of(ids[2000:2001]), 6, (), "put right"),
        Asked(2000, 1, digest_of(ids[2000:2001]), 7, (Task("3"),)),
        Asked(2500, 500, digest_of(ids[2499:2999]), 7, (Task("of other ids"),)),
        Asked(2600, 100, digest_of(ids[2600:2700]), 8, (Task("4", None, "666"),)),
        Asked(2700, 100, digest_of(ids[2700:2800]), 8, (Task("5"),)),
    ]
    for generation, part in ((1, entries[:3]), (2, entries[3:])):
        ledger = DeletionLedger(folder, generation)
        for one in part:
            ledger.add(one)
    assert read_asked(folder) == entries
    states = {"5": ("FAILURE", 9), "1": ("SUCCESS", 9)}
    assert done(wanted, entries, states, "424242") == ([(0, 1999), (1000, 1999), (2000, 2001)], {1999: "odd"})
    found = told(wanted, entries, states, "424242", None)
    assert (found["asked"], found["refused"], found["not_asked"]) == (2000, 1, 999)
    assert (found["status"], found["ended_badly"], found["messages"]) == ("partial", 1, {"odd": 1})
    again = [*entries, Asked(2700, 100, digest_of(ids[2700:2800]), 10, (Task("6"),))]
    assert told(wanted, again, states, "424242", None)["ended_badly"] == 0, (
        "the ids of the failed task were asked again"
    )
