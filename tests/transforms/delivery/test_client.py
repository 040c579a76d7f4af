"""What goes over the wire: paths, sizes, connections, the order of kinds; and which answers stop a delivery."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands.deliveries import ACCOUNT, deliver, event, publish, update, write_run
from tests.servers.mixpanel_project import Answer, MixpanelProject
from tests.servers.mixpanel_stand_in import Faults, stand_in

pytestmark = pytest.mark.slow

UPDATES = "/engage?strict=1&verbose=1&ip=0"


def test_events_and_updates_go_where_and_as_they_should(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with stand_in() as server:
        assert deliver(run, server, "--with_profiles").status == 0
        assert dict(server.paths) == {
            ("/import?strict=1&project_id=424242", "application/x-ndjson"): 2,
            (UPDATES, "application/json"): 1,
        }
    with stand_in() as server:
        assert deliver(write_run(tmp_path / "other"), server, "--token_only", **{ACCOUNT: None}).status == 0
        assert dict(server.paths) == {("/import?strict=1", "application/x-ndjson"): 2}, "the token names its project"


def test_the_lines_arrive_as_they_stand(tmp_path: Path) -> None:
    lines = [event(n, text="ä\u2028", amount=1.0) for n in range(100)]
    run = publish(tmp_path / "run", {"events/part-00000.ndjson.gz": lines})
    with stand_in() as server:
        assert deliver(run, server, "--batch_events", "7").status == 0
        arrived = sorted(line for body in server.bodies for line in body.splitlines())
        assert arrived == sorted(json.dumps(line, ensure_ascii=False).encode() for line in lines)
        assert max(body.count(b"\n") for body in server.bodies) == 7


@pytest.mark.parametrize(("size", "most"), [(20, 2000), (5000, 200)])
def test_requests_of_updates_keep_below_both_limits(size: int, most: int, tmp_path: Path) -> None:
    updates = [{**update(number), "$set": {"note": "x" * size}} for number in range(5000 if size == 20 else 1000)]
    run = publish(
        tmp_path / "run", {"events/part-00000.ndjson.gz": [event(1)], "profiles/part-00000.ndjson.gz": updates}
    )
    with stand_in() as server:
        done = deliver(run, server, "--with_profiles")
        assert (done.status, len(server.project.profiles)) == (0, len(updates))
        sizes = [len(body) for body in server.update_bodies]
        assert max(sizes) <= 1_000_000
        assert max(len(json.loads(body)) for body in server.update_bodies) <= most
        assert done.report["splits"] == {}, "none was too large"
        assert all(one["$token"] == server.project.token for body in server.update_bodies for one in json.loads(body))


def test_an_event_over_the_limit_of_bytes_goes_alone(tmp_path: Path) -> None:
    lines = [event(1), event(2, text="x" * 3000), event(3)]
    run = publish(tmp_path / "run", {"events/part-00000.ndjson.gz": lines})
    with stand_in() as server:
        assert deliver(run, server, "--batch_bytes", "1000").status == 0
        assert sorted(body.count(b"\n") for body in server.bodies) == [1, 1, 1]


class Order(MixpanelProject):
    """Notes in which order kinds came."""

    came = ""

    def take_events(self, body: bytes) -> Answer:
        self.came += "e"
        return super().take_events(body)

    def take_updates(self, body: bytes) -> Answer:
        self.came += "p"
        return super().take_updates(body)


def test_updates_come_after_all_events(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", profiles=100)
    project = Order()
    with stand_in(project, Faults(share=0.2, kinds=("503", "reset"), seed=2)) as server:
        assert deliver(run, server, "--with_profiles", "--batch_events", "50").status == 0
    assert project.came == "e" * 20 + "p" * 2


def test_connections_are_kept_alive(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with stand_in() as server:
        assert deliver(run, server, "--batch_events", "10", "--concurrency", "3").status == 0
        assert server.requests["/import"] == 100
        assert server.connections <= 3 + 1, "and one that asks who the service account is"


@pytest.mark.parametrize("status", [302, 402, 404, 410])
def test_a_status_that_nothing_is_known_of_stops_with_its_words(status: int, tmp_path: Path) -> None:
    class Strange(MixpanelProject):
        def take_events(self, body: bytes) -> Answer:
            return status, {"error": "over there"}

    run = write_run(tmp_path / "run")
    with stand_in(Strange()) as server:
        done = deliver(run, server, "--batch_events", "100")
        assert (done.status, f"stopped: {status} over there" in done.err) == (1, True), done.err
        assert server.requests["/import"] == 1, "the first batch goes alone"
    assert done.report["status"] == "stopped"
    assert done.report["events"] == {"in_run": 1000, "acknowledged": 0, "refused": 0, "not_sent": 1000}


def test_a_wrong_token_at_the_updates_is_refused_and_the_events_stay(tmp_path: Path) -> None:
    class Closed(MixpanelProject):
        def take_updates(self, body: bytes) -> Answer:
            return 401, {"error": "invalid token"}

    run = write_run(tmp_path / "run")
    with stand_in(Closed()) as server:
        done = deliver(run, server, "--with_profiles")
        assert (done.status, "stopped: 401 invalid token" in done.err) == (1, True), done.err
        only = deliver(run, server, "--only", "profiles")
        assert only.status == 1
    assert done.report["events"]["acknowledged"] == 1000
    assert done.report["profiles"]["not_sent"] == 20
