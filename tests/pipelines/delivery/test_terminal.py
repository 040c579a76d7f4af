"""A delivery on a terminal and without one: the question, the live line, the plain lines, the six lines at the end."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipelines.delivery import live
from tests.commands.deliveries import (
    ACCOUNT,
    begin,
    command,
    deliver,
    environment,
    event,
    publish,
    update,
    wait_for,
    write_run,
)
from tests.commands.terminals import OnTerminal
from tests.commands.whole_run import ROOT
from tests.servers.mixpanel_project import MixpanelProject
from tests.servers.mixpanel_stand_in import Faults, StandIn, stand_in
from transforms.delivery.gate import Gate
from transforms.delivery.sender import Figures

pytestmark = pytest.mark.slow

QUESTION = "Send this? [yes/no] "


def ask(run: Path, server: StandIn, *extra: str, **changes: str | None) -> OnTerminal:
    return OnTerminal(command(run, server, *extra), ROOT, environment(server, **changes))


def test_a_person_is_asked_once_with_what_goes_where_and_how(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with stand_in() as server:
        asked = ask(run, server, "--batch_events", "300")
        shown = asked.until(QUESTION)
        assert (dict(server.requests), (run / "_delivery").exists()) == ({}, False), "nothing before the answer"
        assert "to send    1,000 events of 1,000 (0 acknowledged and 0 refused before) in 4 requests" in shown
        assert "project    424242, region eu" in shown
        assert "devices    --device_links sole, 3 profiles joined through devices alone" in shown
        assert "Merges in Mixpanel cannot be undone." in shown
        assert "attribute" not in shown
        assert "MIXPANEL_TOKEN" not in shown
        asked.answer("yes\n")
        assert asked.end() == 0
        assert asked.shown.count(QUESTION) == 1
        assert len(server.project.events) == 1000


@pytest.mark.parametrize("answer", ["no\n", "\n", "yess\n", "of course\n", "\x04"])
def test_anything_but_yes_sends_nothing(answer: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with stand_in() as server:
        asked = ask(run, server)
        asked.until(QUESTION)
        asked.answer(answer)
        assert asked.end() == 2
        assert "nothing was sent" in asked.shown
        assert server.requests == {}
    assert not (run / "_delivery").exists()


def test_ctrl_c_at_the_question_sends_nothing(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with stand_in() as server:
        asked = ask(run, server)
        asked.until(QUESTION)
        asked.process.send_signal(2)
        assert asked.end() == 130
        assert server.requests == {}
    assert "Traceback" not in asked.shown


def test_the_question_lists_attributes_with_their_persons_and_the_project_that_is_not_named(tmp_path: Path) -> None:
    updates = [update(number) for number in range(20)]
    for number in range(5):
        updates[number]["$set"]["plan"] = "gold"
    removals = [{"$distinct_id": f"u{number}", "$unset": ["old"]} for number in range(3)]
    contents = {"events/part-00000.ndjson.gz": [event(1)], "profiles/part-00000.ndjson.gz": [*updates, *removals]}
    run = publish(tmp_path / "run", contents)
    with stand_in() as server:
        asked = ask(run, server, "--with_profiles")
        shown = asked.until(QUESTION)
        for line in ("attribute  $city of 20 persons", "attribute  plan of 5 persons", "attribute  old of 3 persons"):
            assert line in shown
        assert "to send    23 profiles of 23" in shown
        unnamed = "to the project of MIXPANEL_TOKEN, whose name Mixpanel does not give, region eu"
        assert f"project    424242, region eu\nprofiles   {unnamed}\n" in shown, "the token's project gets them"
        asked.answer("no\n")
        asked.end()
        alone = ask(run, server, "--token_only", **{ACCOUNT: None})
        shown = alone.until(QUESTION)
        assert f"project    {unnamed}\n" in shown
        assert "424242" not in shown
        alone.answer("no\n")
        alone.end()


def test_what_was_acknowledged_before_is_not_counted_again(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with stand_in(MixpanelProject(refuses=lambda record: "odd" if str(record).count("'i-77'") else None)) as server:
        assert deliver(run, server).status == 3
        asked = ask(run, server)
        assert "to send    0 events of 1,000 (999 acknowledged and 1 refused before) in 0 requests" in asked.until(
            QUESTION
        )
        asked.answer("no\n")
        asked.end()
        again = ask(run, server, "--redeliver", "refused")
        assert "to send    1 events of 1,000 (999 acknowledged and 1 refused before) in 1 requests" in again.until(
            QUESTION
        )
        again.answer("no\n")
        again.end()
        assert server.requests["/import"] == 2, "those of the first delivery"


def test_a_ledger_of_another_run_is_refused_before_anybody_is_asked(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with stand_in() as server:
        assert deliver(run, server).status == 0
        write_run(run, events=1001)
        asked = ask(run, server)
        assert asked.end() == 2
        assert "is the ledger of another run" in asked.shown
        assert QUESTION not in asked.shown


LINE = re.compile(r"[\d,]+ of 4,000 acknowledged, [\d,]+/s, 0 refused, about [^,]+ left, gate at 20,000/s")


def test_a_terminal_has_one_line_that_is_drawn_anew_and_is_gone_at_the_end(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", events=4000)
    with stand_in(None, Faults(delay=0.1)) as server:
        asked = ask(run, server, "--yes", "--batch_events", "50", "--concurrency", "2")
        assert asked.end() == 0
    drawn = LINE.findall(asked.shown)
    assert len(drawn) > 3
    last = asked.shown.index("events     4,000 of 4,000 acknowledged")
    assert "\n" not in asked.shown[:last], "each is drawn over the one before"
    assert asked.shown[:last].endswith("\r\x1b[K")


def test_without_a_terminal_there_are_plain_lines(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", events=4000)
    with stand_in(None, Faults(delay=0.7)) as server:
        process = begin(run, server, "--batch_events", "50", "--concurrency", "4")
        wait_for(server, 75)
        server.faults.delay = 0
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    lines = err.splitlines()
    assert lines
    assert all(LINE.fullmatch(line) for line in lines), err
    assert "\r" not in err
    assert "\x1b" not in err


class Sending:
    """A sender as the live line sees it."""

    def __init__(self, acknowledged: int, refused: int) -> None:
        self.figures, self.gate = Figures(), Gate(12_345.0, lambda: 0.0)
        self.figures.acknowledged["events"] += acknowledged
        self.figures.refused["events"] += refused


def test_the_line_counts_what_was_before_and_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    before = {"events": {"acknowledged": 1000, "refused": 7}, "profiles": {"acknowledged": 5, "refused": 5}}
    line = live.DeliveryLine(Sending(2000, 3), {"events": 10_000}, before)  # type: ignore[arg-type]
    now[0] = 20.0
    assert line.line() == "3,000 of 10,000 acknowledged, 100/s, 10 refused, about 1 min 10 s left, gate at 12,345/s"
    idle = live.DeliveryLine(Sending(0, 0), {"events": 10_000}, before)  # type: ignore[arg-type]
    assert idle.line() == "1,000 of 10,000 acknowledged, 0/s, 7 refused, gate at 12,345/s"


def test_six_lines_stand_at_the_end(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with stand_in() as server:
        done = deliver(run, server, "--with_profiles")
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines] == ["events", "profiles", "requests", "speed", "status", "report"]
    assert lines[0] == "events     1,000 of 1,000 acknowledged, 0 refused, 0 not sent"
    assert lines[1] == "profiles   20 of 20 acknowledged, 0 refused, 0 not sent"
    assert lines[2] == "requests   3, 0 sent again, 0 split"
    assert re.fullmatch(r"speed      [\d,]+ events a second, .+", lines[3])
    assert lines[4] == "status     delivered: project 424242, region eu"
    assert lines[5] == f"report     {done.folder / 'report.html'}"
