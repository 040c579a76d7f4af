"""30 % of all requests fail, in each way in which requests fail: what arrives is the run, no more and no less."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.commands.delivered_persons import (
    BatchKey,
    Place,
    WholeRun,
    assert_equal_bytes,
    assert_ledger,
    assert_persons,
    copied,
    ledger_lines,
    times_sent,
)  # fmt: skip
from tests.commands.deliveries import begin, deliver
from tests.servers.emulators import Emulator, upload
from tests.servers.mixpanel_project import MixpanelProject
from tests.servers.mixpanel_stand_in import SLOW_BUT_WHOLE, Faults, StandIn, make_certificate, stand_in
from transforms.stores.store import join

pytestmark = pytest.mark.slow

LIMITS = 4, 2_000_000
FLAGS = ("--with_profiles", "--batch_events", "4", "--concurrency", "50", "--timeout", "2")
SEED = 65  # with it few batches meet a fault twice: a third attempt waits for long
CASES = {
    "429": ("429",),
    "5xx before": ("500", "502", "503", "504"),
    "5xx within and after": ("500_within", "504_after"),
    "408": ("408",),
    "reset before": ("reset",),
    "reset within": ("reset_within",),
    "reset after": ("reset_after",),
    "cut": ("cut",),
    "slow beyond the time": ("slow",),
    "slow and in time": (SLOW_BUT_WHOLE,),
    "foreign HTML": ("foreign",),
    "foreign JSON": ("foreign_json",),
    "hanging": ("hang",),
    "short count": ("short",),
}


class UnderWay(NamedTuple):
    run: WholeRun
    server: StandIn
    process: subprocess.Popen[str]


@contextlib.contextmanager
def all_at_once(run: WholeRun, folder: Path) -> Iterator[dict[str, UnderWay]]:
    """A delivery under each fault, over TLS: they wait most of the time."""
    certificate = make_certificate(folder)
    with contextlib.ExitStack() as stack:
        found = {}
        for name, kinds in CASES.items():
            faults = Faults(share=0.3, kinds=kinds, seed=SEED, hang_seconds=2.5, retry_after="1")
            server = stack.enter_context(stand_in(None, faults, certificate))
            own = copied(run, folder / name)
            process = begin(own.folder, server, *FLAGS, SSL_CERT_FILE=str(certificate[0]))
            found[name] = UnderWay(own, server, process)
        yield found


def assert_whole(case: UnderWay, kinds: tuple[str, ...]) -> None:
    run, server, process = case
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    answers = server.answers
    for path in ("/import", "/engage"):
        met = sum(answers[f"{path} {kind}"] for kind in kinds)
        assert 0.1 < met / server.requests[path] < 0.8, "not under this fault"
    assert_persons(run, server.project)
    folder = run.folder / "_delivery" / "424242"
    assert_ledger(run, server, ledger_lines(str(folder)), LIMITS)
    assert_equal_bytes(run, server, LIMITS)
    report = json.loads((folder / "report.json").read_bytes())
    assert report["events"]["acknowledged"] == len(server.project.events)
    assert kinds == (SLOW_BUT_WHOLE,) or sum(report["retries"].values()) > 0


def test_under_each_fault_the_run_arrives_whole(made_run: WholeRun, tmp_path: Path) -> None:
    failed: dict[str, str] = {}
    with all_at_once(made_run, tmp_path) as cases:
        for name, case in cases.items():
            try:
                assert_whole(case, CASES[name])
            except AssertionError as error:
                failed[name] = str(error)
            finally:
                case.process.kill()
    assert not failed, "\n".join(f"{name}: {words}" for name, words in failed.items())


def test_on_object_stores_of_two_deliveries_after_a_kill_under_all_faults_one_ends_with_all(
    made_run: WholeRun, request: pytest.FixtureRequest
) -> None:
    with contextlib.ExitStack() as stack:
        under_way: list[tuple[Emulator, str, StandIn]] = []
        for emulator in every_emulator(request):
            url = emulator.url("run")
            with emulator.applied():
                upload(made_run.folder, url)
            server = stack.enter_context(
                stand_in(None, Faults(share=0.3, seed=SEED, hang_seconds=2.5, retry_after="1"))
            )
            under_way.append((emulator, url, server))
        killed = [begin_there(*there, kill_at=30) for there in under_way]
        assert [process.communicate(timeout=300)[1] for process in killed]
        assert {process.returncode for process in killed} == {-signal.SIGKILL}
        before = [acknowledged(emulator, url) for emulator, url, _ in under_way]
        sent = [times_sent(made_run, server, LIMITS) for *_, server in under_way]
        pairs = [(begin_there(*there), begin_there(*there)) for there in under_way]
        for pair, there, known, times in zip(pairs, under_way, before, sent, strict=True):
            emulator, url, server = there
            told = [process.communicate(timeout=300)[1] for process in pair]
            assert sorted(process.returncode for process in pair) in ([0, 2], [0, 0]), told
            now = times_sent(made_run, server, LIMITS)
            assert not [key for key in known if now[key] != times[key]], "what is acknowledged was sent again"
            assert_persons(made_run, server.project)
            with emulator.applied():
                assert_ledger(made_run, server, ledger_lines(join(url, "_delivery", "424242")), LIMITS)
            assert_equal_bytes(made_run, server, LIMITS)
            assert {"/import reset_within", "/import foreign_json", "/import 429"} <= set(server.answers)


def acknowledged(emulator: Emulator, url: str) -> set[BatchKey]:
    with emulator.applied():
        entries = ledger_lines(join(url, "_delivery", "424242"))
    return {(kind, file, ordinal) for kind, file, ordinal, *_ in entries}


def every_emulator(request: pytest.FixtureRequest) -> list[Emulator]:
    """Those that are there; other tests name the tools that are missing."""
    found = []
    for name in ("gcs", "s3", "azure"):
        with contextlib.suppress(pytest.skip.Exception):
            found.append(request.getfixturevalue(name))
    if not found:
        pytest.skip("no emulator of an object store is there")
    return found


def begin_there(emulator: Emulator, url: str, server: StandIn, kill_at: int = 0) -> subprocess.Popen[str]:
    """Deliver a run on a store; killed when so many requests were answered."""
    process: list[subprocess.Popen[str]] = []

    def watch(path: str, stage: str, number: int) -> None:
        if (path, stage, number) == ("/import", "answered", kill_at):
            process[0].kill()

    server.watch = watch
    process.append(begin(Path("unused"), server, f"--input={url}", *FLAGS, **emulator.environment))
    return process[0]


def is_poisoned(record: dict[str, Any]) -> bool:
    """Three of ten records, by what tells them from others."""
    name = record.get("$distinct_id") or record["event"] + record["properties"]["$insert_id"]
    return zlib.crc32(f"{name} {'$set' in record}".encode()) % 10 < 3


def poison(record: dict[str, Any]) -> str | None:
    return "poisoned" if is_poisoned(record) else None


def is_part(body: bytes, batch: bytes) -> bool:
    return f"\n{batch.decode()}".find(f"\n{body.decode()}") >= 0


@pytest.mark.parametrize("shape", ["index", "$insert_id", "insert_id", "strings"])
def test_poisoned_records_are_refused_and_all_others_arrive(shape: str, random_run: WholeRun) -> None:
    run, limits = random_run, (40, 2_000_000)
    poisoned: set[Place] = {
        (file, number) for file, lines in run.lines.items() for number, line in enumerate(lines)
        if is_poisoned(json.loads(line))
    }  # fmt: skip
    flags = ("--with_profiles", "--batch_events", "40", "--max_refused_share", "1")
    with stand_in(MixpanelProject(refuses=poison, shape=shape)) as server:
        done = deliver(run.folder, server, *flags)
        assert done.status == 3, done.err
        assert_persons(run, server.project, poisoned)
        assert_ledger(run, server, ledger_lines(str(done.folder)), limits)
        assert_equal_bytes(run, server, limits, is_part)
        if shape in ("index", "strings"):  # the others call two records by one name
            assert server.project.times_taken.total() == len(server.project.events), "nothing is taken twice"
    refused = {(one["file"], one["line"] - 1): one for one in done.refused()}
    assert set(refused) == poisoned
    assert {file.partition("/")[0] for file, _ in poisoned} == {"events", "profiles"}
    for (file, number), one in refused.items():
        assert "poisoned" in one["message"]
        assert one["record"] == json.loads(run.lines[file][number])
    for kind in ("events", "profiles"):
        counts, of_kind = done.report[kind], sum(file.startswith(kind) for file, _ in poisoned)
        assert counts["refused"] == of_kind
        assert counts["acknowledged"] == counts["in_run"] - of_kind
