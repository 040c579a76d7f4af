"""A delivery's memory does not grow with the run, nor with what was refused; a damaged ledger or run is noticed."""

from __future__ import annotations

import collections
import gzip
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipelines.delivery.redelivery import Redelivery
from tests.commands.deliveries import command, deliver, environment, event, publish, update, write_run
from tests.commands.whole_run import ROOT
from tests.servers.mixpanel_project import Answer, MixpanelProject
from tests.servers.mixpanel_stand_in import stand_in
from transforms.delivery import ledger as ledgers
from transforms.delivery.batches import cut, pieces
from transforms.delivery.delivered_run import open_run
from transforms.delivery.ledger import Ledger, Refusal, Settled, check_contract, read_state, refused_now
from transforms.delivery.outcome import write_refused
from transforms.errors import DamagedRunFile, DeliveryMismatch, NotAFinishedRun, UsageError
from transforms.stores.store import join

pytestmark = pytest.mark.slow

MEGABYTE = 1 << 20


class Forgetful(MixpanelProject):
    """Counts what it takes, and keeps nothing."""

    taken = 0

    def take_events(self, body: bytes) -> Answer:
        rows = body.count(b"\n")
        self.taken += rows
        return 200, {"code": 200, "num_records_imported": rows, "status": "OK"}


class NoBodies(collections.Counter[bytes]):
    def __setitem__(self, body: bytes, count: int) -> None:
        """So large a body is not kept."""


def test_one_file_of_400_megabytes_is_sent_in_less_than_300(tmp_path: Path) -> None:
    rows = 40_000
    padded = [event(number, text="x" * 10_000) for number in range(100)]  # lines that compress to a hundredth
    run = publish(tmp_path / "run", {"events/part-00000.ndjson.gz": padded * (rows // 100)})
    assert (run / "events/part-00000.ndjson.gz").stat().st_size < 10 * MEGABYTE
    project = Forgetful()
    with stand_in(project) as server:
        server.bodies = NoBodies()
        done = deliver(run, server, "--max_events_per_second", "1000000")
    assert (done.status, project.taken) == (0, rows), done.err
    assert done.report["bytes_sent"] > 0
    assert done.report["peak_memory_bytes"] < 300e6


def test_what_opens_to_a_thousand_times_its_size_is_opened_in_pieces() -> None:
    data = gzip.compress(b"x" * (64 * MEGABYTE) + b"\n") + gzip.compress(b"") + gzip.compress(b"y\n")
    sizes = [len(piece) for piece in pieces([data], "a")]
    assert max(sizes) <= 4 * MEGABYTE
    assert sum(sizes) == 64 * MEGABYTE + 3
    for step in (1, 7, 1000):
        small = gzip.compress(b"{}\n" * 300_000)
        parts = [small[at : at + step] for at in range(0, len(small), step)]
        assert b"".join(pieces(parts, "a")) == b"{}\n" * 300_000
    with pytest.raises(DamagedRunFile, match="a is cut off"):
        list(pieces([data[:-5]], "a"))


REFUSED = 60_000


@pytest.fixture(scope="module")
def much_refused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with 60,000 refused records of a kilobyte each, in files as the command writes them."""
    folder = tmp_path_factory.mktemp("much")
    ledger = Ledger(str(folder), 1, print)
    for ordinal in range(REFUSED // 2000):
        lines = range(1 + ordinal * 2000, 1 + (ordinal + 1) * 2000)
        refused = tuple(
            Refusal(line, f"bad {line}", orjson.dumps(event(line, text=f"{line}" + "x" * 900))) for line in lines
        )
        ledger.add(Settled("events", "events/part-00000.ndjson.gz", ordinal, 2000, refused), lambda: None)
    ledger.close()
    return folder


def peak(work: Any) -> float:
    """Megabytes that some work held at most."""
    tracemalloc.start()
    work()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most / 1e6


def test_the_ledger_is_in_files_that_are_small_to_read(much_refused: Path) -> None:
    files = list((much_refused / "ledger").iterdir())
    assert sum(file.stat().st_size for file in files) > 60 * MEGABYTE
    assert max(file.stat().st_size for file in files) < 2 * ledgers._FILE_BYTES + 4 * MEGABYTE
    assert len(files) > 1


def test_so_many_refused_records_are_written_without_being_held(much_refused: Path) -> None:
    found: list[Any] = []
    assert peak(lambda: found.append(write_refused(str(much_refused), read_state(str(much_refused))))) < 60
    messages, examples = found[0]
    assert (len(messages), sum(messages.values()), messages["(others)"]) == (101, REFUSED, REFUSED - 100)
    assert len(examples) == 100 + 3, "three of each message"
    assert max(len(one["record"]) for one in examples) <= 300
    parts = sorted((much_refused / "refused").iterdir())
    lines = [json.loads(line) for part in parts for line in gzip.decompress(part.read_bytes()).splitlines()]
    assert [line["line"] for line in lines] == list(range(1, REFUSED + 1))
    assert max(gzip.decompress(part.read_bytes()).count(b"\n") for part in parts) <= 10_000


def test_so_many_refused_records_are_sent_again_without_being_held(much_refused: Path) -> None:
    state = read_state(str(much_refused))
    rows = [0]

    def send() -> None:
        for batch in Redelivery(str(much_refused), state, None).batches("events", 2000, 2_000_000):
            rows[0] += batch.rows
            assert len(batch.lines) <= 2_000_000

    assert peak(send) < 60
    assert rows == [REFUSED]
    assert list(Redelivery(str(much_refused), state, None).batches("profiles", 2000, 2_000_000)) == []


def test_so_many_corrected_records_are_sent_again_without_being_held(much_refused: Path, tmp_path: Path) -> None:
    folder, state = str(much_refused), read_state(str(much_refused))
    write_refused(folder, state)
    corrected = tmp_path / "corrected.gz"
    corrected.write_bytes(b"".join(part.read_bytes() for part in sorted((much_refused / "refused").iterdir())))
    again = Redelivery(folder, state, str(corrected))
    assert peak(again.check) < 60
    assert sum(batch.rows for batch in again.batches("events", 2000, 2_000_000)) == REFUSED
    corrected.write_bytes(corrected.read_bytes() + gzip.compress(b"\n" + orjson.dumps(
        {"kind": "events", "file": "events/part-00000.ndjson.gz", "line": 7, "record": {}})))  # fmt: skip
    with pytest.raises(UsageError, match=f"line {REFUSED + 2} of --records .* stands there twice"):
        again.check()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{}\n", "line 1 of --records .* does not have the form"),
        (b'{"kind":"events","file":"f","line":"1","record":{}}\n', "does not have the form"),
        (b'{"kind":"events","file":"f","line":-1,"record":{}}\n', "does not have the form"),
        (b'{"kind":"events","file":"f","line":1,"record":[]}\n', "does not have the form"),
        (b'\n{"kind":"events","file":"f","line":1,"record":{}}', "line 2 .* not among the refused records"),
        (gzip.compress(b"\n", mtime=0)[:-4], "is cut off"),
        (None, "is not a file"),
    ],
)
def test_records_that_are_not_refused_ones_are_refused_before_anything_is_sent(
    content: bytes | None, words: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "corrected").write_bytes(content)
    with pytest.raises(UsageError, match=words):
        Redelivery(str(tmp_path), read_state(str(tmp_path)), str(tmp_path / "corrected")).check()


def lines_of(folder: Path) -> Iterator[int]:
    return (one.line for _, _, _, one in refused_now(str(folder), read_state(str(folder))))


def test_what_was_sent_again_stands_as_it_was_answered_last(tmp_path: Path) -> None:
    file = "events/part-00000.ndjson.gz"

    def write(generation: int, *refused: int, lines: tuple[int, ...] = ()) -> None:
        ledger = Ledger(str(tmp_path), generation, print)
        ones = tuple(Refusal(line, f"in {generation}", b"{}") for line in refused)
        ledger.add(Settled("events", file, 0, len(lines) or 5, ones, lines), lambda: None)
        ledger.close()

    write(1, 1, 2, 4)
    assert list(lines_of(tmp_path)) == [1, 2, 4]
    write(2, 2, lines=(1, 2))
    assert sorted(lines_of(tmp_path)) == [2, 4]
    write(3, 2, 4, lines=(2, 4))
    assert sorted(lines_of(tmp_path)) == [2, 4]
    assert {one.message for _, _, _, one in refused_now(str(tmp_path), read_state(str(tmp_path)))} == {"in 3"}
    write(4, lines=(4,))
    state = read_state(str(tmp_path))
    assert (list(lines_of(tmp_path)), state.refused["events"], state.rows["events", file]) == ([2], 1, 5)


@pytest.mark.parametrize("damage", [b"\0" * 40, b"\0" * 20 + b'","more"]\n', b'["events"]\n', b"7\n"])
def test_of_an_append_that_lost_power_nothing_counts(damage: bytes, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", files=1)
    with stand_in() as server:
        assert deliver(run, server, "--batch_events", "100", "--concurrency", "1").status == 0
        (file,) = (run / "_delivery/424242/ledger").iterdir()
        lines = file.read_bytes().splitlines(keepends=True)
        file.write_bytes(b"".join(lines[:6]) + damage + b"".join(lines[8:]))
        done = deliver(run, server, "--batch_events", "100")
        assert (done.status, done.report["events"]["acknowledged"]) == (0, 1000), done.err
        assert server.requests["/import"] == 10 + 4
        assert len(server.bodies) == 10, "in equal bytes"


def test_a_contract_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "delivery.json").write_bytes(b"\0\0")
    with pytest.raises(DeliveryMismatch, match="give a new --ledger"):
        check_contract(str(tmp_path), {}, begin=True)


def test_a_dry_run_and_a_question_write_no_contract(tmp_path: Path) -> None:
    check_contract(str(tmp_path), {"run": "a"}, begin=False)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_not_published_or_not_one_is_refused_with_what_it_is(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    listed = (run / "_manifest.json").read_bytes()
    (run / "report.json").write_text("[]")
    with pytest.raises(NotAFinishedRun, match=r"report\.json is not a run's report"):
        open_run(str(run))
    (run / "report.json").write_text("{}")
    for damaged in (b"", b"[]", b"{}", b'{"files":[1]}', listed[:-20]):
        (run / "_manifest.json").write_bytes(damaged)
        with pytest.raises(NotAFinishedRun, match="is not a run's manifest"):
            open_run(str(run))
    (run / "_manifest.json").unlink()
    with pytest.raises(NotAFinishedRun, match=r"has no _manifest\.json"):
        open_run(str(run))
    (run / "_claim.json").write_text("{}")
    with pytest.raises(NotAFinishedRun, match="is a run that is not published: its job is still at work"):
        open_run(str(run))
    with stand_in() as server:
        done = deliver(run, server)
        assert (done.status, dict(server.requests), (run / "_delivery").exists()) == (2, {}, False)
        nowhere = deliver(tmp_path / "nowhere", server)
        assert (nowhere.status, "name the --output of a run" in nowhere.err) == (2, True)


def test_a_profile_file_that_changed_is_noticed_after_the_events(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with stand_in() as server:
        (run / "profiles/part-00000.ndjson.gz").write_bytes(gzip.compress(json.dumps(update(1)).encode() + b"\n"))
        done = deliver(run, server, "--with_profiles")
        assert (done.status, "is not what the manifest names" in done.err) == (1, True)
        assert done.report["profiles"] == {"in_run": 20, "acknowledged": 0, "refused": 0, "not_sent": 20}
        assert (done.report["status"], server.requests["/engage"]) == ("stopped", 0)
        only = deliver(run, server, "--only", "profiles")
        assert only.status == 1, "the events are there, so something was begun"


def test_a_redelivery_of_a_run_that_is_not_all_sent_says_so(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with stand_in() as server:
        done = deliver(run, server, "--redeliver", "refused")
        assert (done.status, done.report["status"]) == (3, "partial")
        assert "1,000 records are not sent yet: run the command without --redeliver" in done.err
        assert server.requests["/import"] == 0


def test_a_file_is_read_whole_once_its_sum_is_right(tmp_path: Path) -> None:
    opened = open_run(str(write_run(tmp_path / "run")))
    file = opened.files["events"][0]
    batches = list(cut(pieces(opened.read(file), file.path), file.path, 300, 10_000_000))
    assert [batch.rows for batch in batches] == [300, 200]
    path = Path(join(opened.folder, file.path))
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(NotAFinishedRun, match="is not what the manifest names"):
        next(opened.read(file))


HEAVY = "apache_beam pandas pyarrow datafusion polars google boto3 botocore azure requests"
SEND = (
    "import sys; from pipelines.deliver import main; status = main(sys.argv[1:]); "
    f"print(status, sorted(set({HEAVY.split()}) & set(sys.modules)))"
)


def test_a_run_on_a_disk_is_sent_without_loading_beam_arrow_or_a_clients_library(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", events=20)
    with stand_in() as server:
        words = [sys.executable, "-c", SEND, *command(run, server, "--yes", "--with_profiles")[3:]]
        done = subprocess.run(
            words,
            cwd=ROOT,
            env=environment(server),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr
