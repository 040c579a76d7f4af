"""The command that delivers, against the stand-in of Mixpanel: what it sends, what it says, how it goes on."""

from __future__ import annotations

import gzip
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.commands.deliveries import ACCOUNT, TOKEN, begin, deliver, event, kill, publish, wait_for, write_run
from tests.commands.whole_run import run_cli
from tests.exports.small_exports import avro, path, write
from tests.servers.mixpanel_project import MixpanelProject
from tests.servers.mixpanel_stand_in import Faults, make_certificate, stand_in

pytestmark = pytest.mark.slow

POISON = "i-77"


def refuses_poison(record: dict[str, Any]) -> str | None:
    return "poisoned" if record.get("properties", {}).get("$insert_id") == POISON else None


def test_a_run_arrives_whole_and_once(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", events=5000, files=3)
    with stand_in() as server:
        done = deliver(run, server, "--with_profiles", "--json")
        assert (done.status, done.err) == (0, "")
        assert len(server.project.events) == sum(server.project.times_taken.values()) == 5000
        assert len(server.project.profiles) == server.project.updates == 20
        report = json.loads(done.out.splitlines()[-1])
    assert report["status"] == "delivered"
    assert report["events"] == {"in_run": 5000, "acknowledged": 5000, "refused": 0, "not_sent": 0}
    assert report["profiles"] == {"in_run": 20, "acknowledged": 20, "refused": 0, "not_sent": 0}
    assert len(done.out.splitlines()) == 7
    assert {key: value for key, value in report.items() if key not in ("ledger", "exit_status")} == done.report
    assert (done.folder / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_the_same_command_again_sends_nothing(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with stand_in() as server:
        deliver(run, server)
        sent = server.requests["/import"]
        again = deliver(run, server)
        assert (again.status, server.requests["/import"]) == (0, sent)
    assert again.report["events"]["acknowledged"] == 1000


def test_without_the_flag_no_profile_is_sent_and_only_sends_them_afterwards(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with stand_in() as server:
        first = deliver(run, server)
        assert first.report["profiles"] == {"in_run": 20, "acknowledged": 0, "refused": 0, "not_sent": 20}
        assert (server.requests["/engage"], first.status) == (0, 0)
        assert deliver(run, server, "--only", "profiles").status == 0
        assert len(server.project.profiles) == 20


@pytest.mark.parametrize("shape", ["index", "$insert_id", "insert_id", "strings"])
def test_a_poisoned_record_is_refused_and_all_others_are_acknowledged(shape: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", profiles=0)
    with stand_in(MixpanelProject(refuses=refuses_poison, shape=shape)) as server:
        done = deliver(run, server)
        assert done.status == 3
        assert len(server.project.events) == 999
    assert done.report["events"] == {"in_run": 1000, "acknowledged": 999, "refused": 1, "not_sent": 0}
    assert (done.report["status"], done.report["messages"]) == ("partial", {"properties: poisoned": 1} if
            shape != "strings" else {"poisoned": 1})  # fmt: skip
    (refused,) = done.refused()
    assert set(refused) == {"kind", "file", "line", "message", "record"}
    lines = gzip.decompress((run / refused["file"]).read_bytes()).splitlines()
    assert json.loads(lines[refused["line"] - 1]) == refused["record"] == event(77)
    assert "--redeliver refused" in done.err
    assert sum(done.report["splits"].values()) == (0 if shape != "strings" else 9)


def test_refused_records_are_delivered_again_once_the_cause_is_fixed(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    project = MixpanelProject(refuses=refuses_poison)
    with stand_in(project) as server:
        assert deliver(run, server).status == 3
        assert deliver(run, server, "--redeliver", "refused").status == 3
        assert deliver(run, server, "--refused_ok", "0.01").status == 0
        project.refuses = lambda record: None
        done = deliver(run, server, "--redeliver", "refused")
        assert (done.status, len(project.events)) == (0, 1000)
    assert done.report["events"] == {"in_run": 1000, "acknowledged": 1000, "refused": 0, "not_sent": 0}
    assert done.refused() == []


def test_refused_records_can_be_corrected_in_a_file(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with stand_in(MixpanelProject(refuses=refuses_poison)) as server:
        (refused,) = deliver(run, server).refused()
        refused["record"]["properties"]["$insert_id"] = "corrected-77"
        (tmp_path / "corrected.ndjson").write_text(json.dumps(refused) + "\n")
        done = deliver(run, server, "--redeliver", "refused", "--records", str(tmp_path / "corrected.ndjson"))
        assert (done.status, len(server.project.events)) == (0, 1000)
        twice = deliver(run, server, "--redeliver", "refused", "--records", str(tmp_path / "corrected.ndjson"))
    assert (twice.status, "is not among the refused records" in twice.err) == (2, True)


def test_too_many_refused_records_stop_the_delivery(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", events=20_000, files=1)
    words = "number is odd"
    odd = MixpanelProject(
        refuses=lambda record: words if int(record["properties"]["$insert_id"][2:]) % 20 == 1 else None
    )
    with stand_in(odd) as server:
        done = deliver(run, server, "--concurrency", "1")
    assert done.status == 1
    assert "more than --max_refused_share" in done.err
    assert words in done.err
    assert done.report["status"] == "stopped"
    assert done.report["events"]["not_sent"] >= 10_000


def test_identity_events_on_a_simplified_project_stop_at_the_first_batch_with_what_it_means(tmp_path: Path) -> None:
    bad = [{**event(n), "event": "$identify"} for n in range(40)]
    run = publish(tmp_path / "run", {"events/part-00000.ndjson.gz": bad})
    with stand_in() as server:
        done = deliver(run, server, "--batch_events", "10")
    assert done.status == 1
    assert "--id_merge simplified" in done.err
    assert done.report["events"]["not_sent"] == 30


def test_too_large_requests_are_split(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with stand_in(MixpanelProject(max_bytes=20_000)) as server:
        done = deliver(run, server)
        assert (done.status, len(server.project.events)) == (0, 1000)
    assert done.report["splits"]["413"] > 0


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_delivery_says_so_and_goes_on(by: signal.Signals, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", events=4000)
    with stand_in(None, Faults(delay=0.1)) as server:
        process = begin(run, server, "--batch_events", "50", "--concurrency", "2")
        wait_for(server, 5)
        _, err = kill(process, by)
        assert process.returncode == 130
        assert "the same command resumes" in err
        report = json.loads((run / "_delivery/424242/report.json").read_bytes())
        assert report["status"] == "interrupted"
        assert 0 < report["events"]["acknowledged"] < 4000
        assert report["events"]["acknowledged"] + report["events"]["not_sent"] == 4000
        server.faults.delay = 0
        assert deliver(run, server, "--batch_events", "50").status == 0
        assert len(server.project.events) == 4000


def test_a_second_delivery_beside_a_living_one_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", events=2000)
    with stand_in(None, Faults(delay=0.3)) as server:
        process = begin(run, server, "--batch_events", "50", "--concurrency", "1")
        wait_for(server, 1)
        second = deliver(run, server, "--batch_events", "50")
        assert second.status == 2
        assert "another delivery of this run is at work" in second.err
        kill(process)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--batch_events", "50"), "--batch_events 2000: give it again"),
        (("--region", "us"), "begun with region eu"),
    ],
)
def test_what_would_not_fit_the_ledger_is_refused(flags: tuple[str, ...], words: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with stand_in() as server:
        assert deliver(run, server).status == 0
        other = deliver(run, server, *flags)
        assert (other.status, words in other.err) == (2, True), other.err


def test_a_run_that_was_made_anew_in_the_folder_is_another_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with stand_in() as server:
        deliver(run, server)
        write_run(run, events=1001)
        other = deliver(run, server)
    assert (other.status, "is the ledger of another run" in other.err) == (2, True)


def test_another_token_for_the_same_project_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with stand_in() as server:
        assert deliver(run, server, "--token_only", **{ACCOUNT: None}).status == 0
        other = deliver(run, server, "--token_only", **{ACCOUNT: None, TOKEN: "0123456789abcdef"})
    assert (other.status, "another MIXPANEL_TOKEN" in other.err) == (2, True)


def test_wrong_credentials_begin_nothing_and_withdrawn_ones_stop(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with stand_in(None, Faults(withdrawn_after=3)) as server:
        wrong = deliver(run, server, **{ACCOUNT: "somebody:else"})
        assert (wrong.status, server.requests["/import"]) == (2, 0)
        server.faults.delay = 0.2
        wrong = deliver(run, server, "--token_only", "--batch_events", "50", **{TOKEN: "0123456789"})
        assert (wrong.status, server.requests["/import"]) == (2, 1)
    run = write_run(tmp_path / "other")
    with stand_in(None, Faults(withdrawn_after=3)) as server:
        withdrawn = deliver(run, server, "--batch_events", "100", "--concurrency", "1")
        assert (withdrawn.status, "Invalid credentials" in withdrawn.err) == (1, True)
        assert withdrawn.report["events"]["acknowledged"] == 300
        server.faults.withdrawn_after = None
        assert deliver(run, server, "--batch_events", "100").status == 0
        assert len(server.project.events) == 1000


def test_a_project_that_the_service_account_does_not_know_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with stand_in() as server:
        other = deliver(run, server, "--project_id", "777")
        assert (other.status, "does not know the project 777" in other.err) == (2, True)
        assert server.requests["/import"] == 0


def test_a_certificate_is_checked_and_may_be_given(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    certificate = make_certificate(tmp_path)
    with stand_in(certificate=certificate) as server:
        unknown = deliver(run, server)
        assert (unknown.status, "certificate is not trusted" in unknown.err) == (1, True)
        assert not server.project.events
        assert deliver(run, server, SSL_CERT_FILE=str(certificate[0])).status == 0
        assert len(server.project.events) == 1000


def test_what_never_gets_through_is_given_up_after_a_while(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with stand_in(None, Faults(share=1.0, kinds=("503",))) as server:
        done = deliver(run, server, "--give_up_after", "2")
    assert (done.status, "nothing got through for 2 s" in done.err) == (1, True)


def test_no_secret_of_a_delivery_stands_in_its_output_or_ledger(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    canary = "canary5e7c4a9b"
    project = MixpanelProject(token=canary, account=f"user:{canary}2", refuses=lambda record: f"bad token {canary}"
                              if record.get("properties", {}).get("$insert_id") == POISON else None)  # fmt: skip
    with stand_in(project) as server:
        done = deliver(run, server, "--with_profiles", "--json")
        assert done.status == 3
        process = begin(run, server, "--json")
        listed = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        process.communicate(timeout=60)
    texts = [done.out.encode(), done.err.encode(), listed]
    texts += [file.read_bytes() for file in run.rglob("*") if file.is_file()]
    texts += [gzip.decompress(text) for text in texts if text.startswith(b"\x1f\x8b")]
    assert len(texts) > 10
    assert not [text for text in texts if canary.encode() in text]


def test_a_file_that_changed_is_noticed_before_its_first_line_is_sent(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "events/part-00000.ndjson.gz").write_bytes(gzip.compress(b"{}\n" * 500))
    with stand_in() as server:
        done = deliver(run, server)
        assert (done.status, server.requests["/import"]) == (2, 0)
    assert "is not what the manifest names" in done.err
    run = write_run(tmp_path / "other")
    (run / "events/part-00001.ndjson.gz").unlink()
    with stand_in() as server:
        done = deliver(run, server)
        assert (done.status, len(server.project.events)) == (1, 500)
    assert "is gone" in done.err


def test_a_dry_run_says_what_would_be_sent_and_needs_no_credentials(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", events=1000)
    done = deliver(run, None, "--dry_run", "--json", "--with_profiles", "--batch_events", "300")
    told = json.loads(done.out.splitlines()[-1])
    assert (done.status, done.err) == (0, "")
    assert (told["events"]["to_send"], told["events"]["requests"]) == (1000, 4)
    assert (told["profiles"]["to_send"], told["attributes"]) == (20, {"$city": 20})
    assert told["months"] == {
        "2026-03": {"events": 1000, "persons": 50, "events_not_free": 1000, "persons_not_free": 50}
    }
    assert not (run / "_delivery").exists()


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ((), "pass --yes"),
        (("--yes", "--endpoint", "http://example.com"), "is not on this machine"),
        (("--yes", "--batch_events", "2001"), "from 1 to 2000"),
        (("--yes", "--batch_byte", "5"), "did you mean --batch_bytes"),
        (("--yes", "--token", "x"), "secrets go into"),
        (("--yes", "--project_id", "abc"), "is not a number"),
    ],
)
def test_what_cannot_be_obeyed_is_refused_before_anything_is_begun(
    extra: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run")
    done = deliver(run, None, *extra, **{ACCOUNT: "a:b"})
    assert (done.status, words in done.err) == (2, True), done.err
    assert not (run / "_delivery").exists()


def test_a_run_without_a_tag_needs_a_word(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", tag=None)
    with stand_in() as server:
        done = deliver(run, server)
        assert (done.status, "--untagged" in done.err) == (2, True)
        assert deliver(run, server, "--untagged").status == 0


def test_a_ledger_may_lie_elsewhere(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with stand_in() as server:
        assert deliver(run, server, "--ledger", str(tmp_path / "ledgers")).status == 0
    assert not (run / "_delivery").exists()
    (report,) = (tmp_path / "ledgers" / "424242").glob("*/report.json")
    assert json.loads(report.read_bytes())["run_digest"] == report.parent.name


def test_the_job_leaves_a_delivery_alone_and_does_not_replace_what_was_delivered(tmp_path: Path) -> None:
    rows = [{"id": f"e{n}", "user_id": "p1", "external_user_id": "ada", "time": 1_772_323_200} for n in range(5)]
    write(tmp_path / "in", {path("a"): avro(rows)})
    job = ("--now=1772400000", "--workers=1", "--tag=t1")
    assert run_cli(tmp_path / "in", tmp_path / "run", *job).returncode == 0
    with stand_in() as server:
        assert deliver(tmp_path / "run", server).status == 0
        assert len(server.project.events) == 5
    before = {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()}
    again = run_cli(tmp_path / "in", tmp_path / "run", *job, "--overwrite")
    assert (again.returncode, "what of this run is in Mixpanel" in again.stderr) == (2, True), again.stderr
    assert {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()} == before
