"""The way to Mixpanel: proxies and certificates of the standard variables, hosts of the regions, who is asked first."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.delivery.flags import parse
from tests.commands.deliveries import ACCOUNT, TOKEN, Delivered, deliver, environment, write_run
from tests.commands.whole_run import ROOT
from tests.servers.connect_proxy import connect_proxy
from tests.servers.mixpanel_stand_in import Faults, StandIn, make_certificate, stand_in
from transforms.delivery.client import APP_HOSTS, HOSTS, Connection
from transforms.errors import ConnectionFailed, ProxyError, UsageError

pytestmark = pytest.mark.slow

NAMES = ("api-eu.mixpanel.com", "eu.mixpanel.com")
LOGIN = "guard:c4nary"


@pytest.fixture
def mixpanel(tmp_path: Path) -> Iterator[tuple[StandIn, str]]:
    """The stand-in with a certificate for Mixpanel's own hosts of the region eu, and the path of the certificate."""
    certificate = make_certificate(tmp_path, *NAMES)
    with stand_in(certificate=certificate) as server:
        yield server, str(certificate[0])


def deliver_without_endpoint(run: Path, server: StandIn, *extra: str, **changes: str | None) -> Delivered:
    """Run the command as users do: to the hosts of the region."""
    words = [sys.executable, "-m", "pipelines.deliver", f"--input={run}", "--project_id=424242", "--region=eu", "--yes"]
    clean = {f"{name}_PROXY": None for name in ("HTTP", "ALL", "NO")}
    clean |= {f"{name}_proxy": None for name in ("http", "https", "all", "no")}
    done = subprocess.run(
        [*words, *extra], cwd=ROOT, env=environment(server, **{**clean, **changes}), capture_output=True, text=True,
        check=False, timeout=200, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return Delivered(done.returncode, done.stdout, done.stderr, run / "_delivery" / "424242")


def test_a_delivery_goes_through_the_proxy_to_the_hosts_of_its_region(
    mixpanel: tuple[StandIn, str], tmp_path: Path
) -> None:
    server, certificate = mixpanel
    run = write_run(tmp_path / "run")
    with connect_proxy(server.server_address[1], LOGIN) as proxy:
        address = f"http://guard:c4nary@{proxy.address}"
        done = deliver_without_endpoint(
            run, server, "--with_profiles", "--json", HTTPS_PROXY=address, SSL_CERT_FILE=certificate
        )
        assert (done.status, done.err) == (0, "")
        assert proxy.asked[0] == "eu.mixpanel.com:443", "who am I"
        assert set(proxy.asked[1:]) == {"api-eu.mixpanel.com:443"}
    assert (len(server.project.events), len(server.project.profiles)) == (1000, 20)
    assert_hidden("c4nary", run, done)


def assert_hidden(secret: str, run: Path, done: Delivered) -> None:
    texts = [done.out.encode(), done.err.encode(), *(file.read_bytes() for file in run.rglob("*") if file.is_file())]
    texts += [gzip.decompress(text) for text in texts if text.startswith(b"\x1f\x8b")]
    assert not [text for text in texts if secret.encode() in text]


def test_a_proxy_that_refuses_the_password_begins_nothing_and_is_not_quoted(
    mixpanel: tuple[StandIn, str], tmp_path: Path
) -> None:
    server, certificate = mixpanel
    run = write_run(tmp_path / "run")
    with connect_proxy(server.server_address[1], "guard:another") as proxy:
        changes = {"HTTPS_PROXY": f"http://guard:c4nary@{proxy.address}", "SSL_CERT_FILE": certificate}
        done = deliver_without_endpoint(run, server, "--json", **changes)
        assert (done.status, f"the proxy {proxy.address} answers 407" in done.err) == (2, True), done.err
        assert_hidden("c4nary", run, done)
        token_only = deliver_without_endpoint(run, server, "--token_only", "--json", **changes, **{ACCOUNT: None})
        assert (token_only.status, "correct HTTPS_PROXY" in token_only.err) == (1, True), token_only.err
        assert token_only.report["requests"] == {"proxy": 1}
        assert_hidden("c4nary", run, token_only)
        assert_hidden("Z3VhcmQ6YzRuYXJ5", run, token_only)
    assert not server.project.events


@pytest.mark.parametrize(
    "address",
    ["http://guard:c4/nary@proxy:3128", "https://guard:c4nary@proxy:3128", "socks5://guard:c4nary@proxy", "http://"],
)
def test_an_address_that_is_not_a_proxys_is_refused_without_being_shown(
    address: str, mixpanel: tuple[StandIn, str], tmp_path: Path
) -> None:
    server, certificate = mixpanel
    run = write_run(tmp_path / "run")
    done = deliver_without_endpoint(run, server, HTTPS_PROXY=address, SSL_CERT_FILE=certificate)
    assert (done.status, "HTTPS_PROXY is not the address of a proxy" in done.err) == (2, True), done.err
    assert "c4" not in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("no_proxy", "is_bypassed"),
    [("", False), ("mixpanel.test", True), ("mixpanel.test:8443", True), (".test", True), ("elsewhere.test", False),
     ("*", True)],
)  # fmt: skip
def test_hosts_of_no_proxy_are_reached_without_it(
    no_proxy: str, is_bypassed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("all_proxy", "no_proxy", "ALL_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert (Connection("https://mixpanel.test:8443", 1.0)._proxy is None) == is_bypassed


def test_this_machine_is_reached_without_a_proxy(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with stand_in() as server:
        done = deliver(run, server, HTTPS_PROXY="http://127.0.0.1:9", HTTP_PROXY="http://127.0.0.1:9", NO_PROXY="")
    assert (done.status, done.err) == (0, "")


def test_a_proxy_that_is_busy_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(status: int) -> Any:
        connection = Connection("https://mixpanel.test", 1.0)

        def refuse() -> Any:
            raise OSError(f"Tunnel connection failed: {status} sorry guard:c4nary")

        connection._connect = refuse  # type: ignore[method-assign]
        return connection

    monkeypatch.setenv("HTTPS_PROXY", "http://guard:c4nary@proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", "")
    for status in (408, 429, 502, 503):
        with pytest.raises(ConnectionFailed, match=f"the proxy proxy.test:3128 answers {status}$"):
            busy(status).ask("GET", "/", None, {})
    for status in (403, 405, 407):
        with pytest.raises(ProxyError, match=f"answers {status} to a connection to mixpanel.test:443"):
            busy(status).ask("GET", "/", None, {})


def test_another_region_is_another_host() -> None:
    assert len(set(HOSTS.values())) == len(set(APP_HOSTS.values())) == 3
    assert all(address.startswith("https://") for address in (*HOSTS.values(), *APP_HOSTS.values()))


@pytest.mark.parametrize("status", [403, 404, 503])
def test_where_nobody_says_which_projects_are_known_there_is_a_warning(status: int, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with stand_in() as server:
        server.me = status, {"error": "no"}
        done = deliver(run, server)
    assert done.status == 0
    assert f"look at: Mixpanel did not say which projects the service account knows ({status})" in done.err


def test_a_who_am_i_that_is_not_mixpanels_is_a_warning(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    answers: list[dict[str, Any]] = [{"results": {}}, {"results": {"projects": None}}, {"results": []}]
    for said in answers:
        with stand_in() as server:
            server.me = (200, said)
            done = deliver(run, server)
            assert (done.status, "did not say which projects" in done.err) == (0, True), (said, done.err)


def test_with_the_token_alone_nobody_is_asked_who_one_is(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with stand_in() as server:
        assert deliver(run, server, "--token_only", **{ACCOUNT: None}).status == 0
        assert (server.answers["/api/app/me 200"], len(server.project.events)) == (0, 1000)


def test_an_answer_that_does_not_come_in_time_is_asked_for_again(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", files=1)
    with stand_in(None, Faults(share=0.4, kinds=("hang",), seed=3, hang_seconds=600)) as server:
        done = deliver(run, server, "--timeout", "0.5", "--batch_events", "100", "--concurrency", "10")
        assert (done.status, len(server.project.events)) == (0, 1000)
    assert done.report["retries"]["no answer"] > 0
    assert done.report["requests"]["no answer"] == done.report["retries"]["no answer"]


def test_the_region_has_no_default(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    for left_out in ("--region", "--project_id", "--input"):
        words = ["--input", str(run), "--project_id", "424242", "--region", "eu", "--dry_run"]
        at = words.index(left_out)
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.deliver", *words[:at], *words[at + 2 :]], cwd=ROOT, check=False,
            env=environment(None), capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (done.returncode, left_out in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("endpoint", "is_taken"),
    [
        ("http://127.0.0.1:1", True), ("https://[::1]:1", True), ("http://localhost:1", True),
        ("http://127.0.0.1.example.com", False), ("https://api.mixpanel.com", False), ("http://10.0.0.1:80", False),
        ("http://0.0.0.0:80", False), ("ftp://127.0.0.1", False), ("127.0.0.1:80", False),
        ("http://127.0.0.1@example.com", False), ("http://localhost.example.com", False),
    ],
)  # fmt: skip
def test_an_endpoint_is_on_this_machine_or_refused(endpoint: str, is_taken: bool, tmp_path: Path) -> None:
    words = ["--input", str(tmp_path), "--project_id", "1", "--region", "us", "--endpoint", endpoint]
    if is_taken:
        assert parse(words).endpoint == endpoint
        return
    with pytest.raises(UsageError, match="is not on this machine"):
        parse(words)


def test_a_token_file_is_named_and_never_shown(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with stand_in() as server:
        (tmp_path / "token").write_text(server.project.token + "\n")
        (tmp_path / "account").write_text(server.project.account + "\n")
        files = {f"{ACCOUNT}_FILE": str(tmp_path / "account"), f"{TOKEN}_FILE": str(tmp_path / "token")}
        done = deliver(run, server, "--with_profiles", "--json", **{ACCOUNT: None, TOKEN: None}, **files)
        assert (done.status, len(server.project.profiles)) == (0, 20)
    assert json.loads(done.out.splitlines()[-1])["status"] == "delivered"
    assert_hidden(server.project.token, run, done)
    assert_hidden(server.project.account.partition(":")[2], run, done)
