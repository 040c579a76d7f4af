"""A stand-in of Mixpanel over real HTTP, or TLS: /import, /engage, the deletion API, who am I; with faults on demand.

Usage: ``with stand_in(project, faults) as server: deliver(... "--endpoint", server.url)``. ``server.requests`` counts
the requests by path, ``server.answers`` the answers by path and status or fault.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime
import gzip
import ipaddress
import json
import random
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.servers.mixpanel_project import Answer, MixpanelProject
from tests.servers.tools import require_module

BEFORE = ("429", "500", "502", "503", "504", "408", "reset", "foreign", "foreign_json")  # nothing was taken
WITHIN = (
    "reset_within",
    "500_within",
    "short",
)  # half of the records were taken, and the answer, if one comes, counts those
AFTER = ("reset_after", "504_after", "cut", "hang", "slow")  # all was taken, and the answer does not say so
SLOW_BUT_WHOLE = "unhurried"  # a good answer, a byte at a time, and through in time
_FOREIGN_JSON: tuple[Any, ...] = (
    {"status": "ok"},
    [],
    "OK",
    None,
    {"error": "sign in to the guest network"},
    1.5,
    {"code": 200},
)
_PLAIN = {"408": "Request Timeout", "429": "Too Many Requests"}


@dataclasses.dataclass
class Faults:
    """A share of the requests, and which faults they meet in turn; a limit of events a second; keys withdrawn."""

    share: float = 0.0
    kinds: tuple[str, ...] = BEFORE + WITHIN + AFTER
    seed: int = 1
    events_per_second: float | None = None  # by a bucket of one second; more is answered with 429
    retry_after: str | None = None
    hang_seconds: float = 3.0  # of an answer that does not come, or comes by halves in twice the time
    delay: float = 0.0  # seconds before each answer
    withdrawn_after: int | None = None  # requests to a path until the credentials are refused
    states_too: bool = False  # whether a question for a deletion's state meets faults too
    forbidden: bool = False  # 403 to every request

    def __post_init__(self) -> None:
        self._randoms: dict[str, random.Random] = {}
        self._met: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._room, self._then = self.events_per_second or 0.0, time.monotonic()

    def meet(self, path: str) -> str | None:
        """The fault that the next request to this path meets, or None."""
        with self._lock:
            drawn = self._randoms.setdefault(path, random.Random(f"{self.seed} {path}"))
            if drawn.random() >= self.share:
                return None
            self._met[path] += 1
            return self.kinds[self._met[path] % len(self.kinds)]

    def admit(self, events: int) -> bool:
        """Whether so many events fit under the limit now."""
        if self.events_per_second is None:
            return True
        with self._lock:
            now = time.monotonic()
            most = max(self.events_per_second, 2000.0)
            self._room = min(most, self._room + (now - self._then) * self.events_per_second)
            self._then = now
            if events > self._room:
                return False
            self._room -= events
            return True


# Called with path, "arrived" (nothing is taken), "taken" (no answer is sent) or "answered", and the number of the
# request to that path: from the thread that serves it, which goes on when it returns.
Watch = Callable[[str, str, int], None]


def _nobody(path: str, stage: str, number: int) -> None:
    pass


class StandIn(ThreadingHTTPServer):
    """The server; one thread a connection, kept alive."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, project: MixpanelProject, faults: Faults, certificate: tuple[Path, Path] | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.project, self.faults = project, faults
        self.requests: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()  # "/import 200", "/import cut", …
        self.moments: list[tuple[float, int, int]] = []  # monotonic time, status, events of each request to /import
        self.bodies: Counter[bytes] = Counter()  # each gzipped /import body, opened, and how often it came
        self.update_bodies: Counter[bytes] = Counter()  # likewise of /engage
        self.watch: Watch = _nobody
        self.deletion_moments: list[float] = []  # monotonic times of the requests to the deletion API
        self.count_lock = threading.Lock()
        self.paths: Counter[tuple[str, str]] = Counter()  # (path with its query, content type) of the POSTs
        self.connections = 0
        self.me: Answer | None = None  # what /api/app/me answers in place of the truth
        self._tls = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*certificate)
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.server_address[1]}"

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self.count_lock:
            self.connections += 1
        if self._tls is not None:  # in the connection's own thread, so that a slow handshake holds up nobody
            request = self._tls.wrap_socket(request, server_side=True)
        try:
            super().finish_request(request, client_address)
        finally:
            request.close()  # the wrapped socket is another object than the one that the server closes

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away, or do not trust the certificate, are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: StandIn
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        project = self.server.project
        self._reach(path, "arrived", 1)
        if path == "/api/app/me" and self.server.me is not None:
            self._send(*self.server.me)
        elif path == "/api/app/me":
            projects = {project.project_id: {"name": "stand-in", "id": int(project.project_id)}}
            known = self._user() == project.account
            self._send(*((200, {"status": "ok", "results": {"projects": projects}}) if known else _unauthorised()))
        elif path.startswith("/api/app/data-deletions/v3.0/"):
            self._note_deletion()
            may = self._may_delete(parse_qs(urlsplit(self.path).query).get("token", [""])[-1])
            fault = self.server.faults.meet(path) if self.server.faults.states_too else None
            if fault is not None and fault.isdigit():
                self._fault(path, fault, b"")
            else:
                self._send(*(project.deletion(path.rstrip("/").rsplit("/", 1)[-1]) if may else _unauthorised()))
        else:
            self._send(404, {"error": "no such page"})

    def do_DELETE(self) -> None:
        self._note_deletion()
        url = urlsplit(self.path)
        may = self._may_delete(parse_qs(url.query).get("token", [""])[-1])
        task = url.path.rstrip("/").rsplit("/", 1)[-1]
        status, answer = self.server.project.cancel(task) if may else _unauthorised()
        if status == 204:
            self._count(url.path, "204")
            self.send_response(status)
            self.end_headers()
        else:
            self._send(status, answer)

    def do_POST(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        size = int(self.headers["Content-Length"])
        body = self.rfile.read(size)
        if len(body) < size:  # the client died meanwhile
            self.close_connection = True
            return
        with self.server.count_lock:
            self.server.requests[url.path] += 1
            count = self.server.requests[url.path]
            self.server.paths[self.path, self.headers.get("Content-Type") or ""] += 1
            if url.path == "/engage":
                self.server.update_bodies[body] += 1
            elif self.headers.get("Content-Encoding") == "gzip":
                self.server.bodies[gzip.decompress(body)] += 1
        self._reach(url.path, "arrived", count)
        fault = self.server.faults.meet(url.path)
        if fault in BEFORE:
            self._fault(url.path, fault, body)
            return
        if fault in WITHIN:
            _, answer = self._take_half(url.path, body)
            self._fault(url.path, fault, json.dumps(answer).encode())
            return
        status, answer = self._answer(url.path.rstrip("/"), query, body, count)
        self._reach(url.path, "taken", count)
        if fault is None or status not in (200, 201):
            self._send(status, answer)
        else:
            self._fault(url.path, fault, json.dumps(answer).encode())
        self.wfile.flush()
        self._reach(url.path, "answered", count)

    def _reach(self, path: str, stage: str, number: int) -> None:
        self.server.watch(path.rstrip("/"), stage, number)

    def _take_half(self, path: str, body: bytes) -> Answer:
        project = self.server.project
        if path == "/engage":
            updates = json.loads(body)
            return project.take_updates(json.dumps(updates[: (len(updates) + 1) // 2]).encode())
        lines = gzip.decompress(body).splitlines(keepends=True)
        return project.take_events(b"".join(lines[: (len(lines) + 1) // 2]))

    def _answer(self, path: str, query: dict[str, str], body: bytes, count: int) -> Answer:
        server, project, faults = self.server, self.server.project, self.server.faults
        time.sleep(faults.delay)
        if faults.forbidden:
            return 403, {"code": 403, "error": "forbidden", "status": "Forbidden"}
        if path == "/import":
            withdrawn = faults.withdrawn_after is not None and count > faults.withdrawn_after
            if withdrawn or not self._may_import(query):
                return _unauthorised()
            if query.get("strict") != "1":
                return 400, {"code": 400, "error": "strict=1 is missing", "failed_records": ["strict"]}
            if self.headers.get("Content-Type") != "application/x-ndjson":
                return 400, {"code": 400, "error": "not application/x-ndjson", "failed_records": ["content type"]}
            plain = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            events = plain.count(b"\n") + (not plain.endswith(b"\n"))
            admitted = faults.admit(events)
            status, answer = project.take_events(plain) if admitted else _failure("429")
            with server.count_lock:
                server.moments.append((time.monotonic(), status, events))
            return status, answer
        if path == "/engage":
            if self.headers.get("Content-Encoding"):
                return 200, {"status": 0, "error": "compressed data is not supported"}
            return project.take_updates(body)
        if path == "/api/app/data-deletions/v3.0":
            self._note_deletion()
            withdrawn = faults.withdrawn_after is not None and count > faults.withdrawn_after
            if withdrawn or not self._may_delete(query.get("token", "")):
                return _unauthorised()
            return project.delete(json.loads(body)["distinct_ids"])
        return 404, {"error": "no such page"}

    def _user(self) -> str | None:
        kind, _, value = (self.headers.get("Authorization") or "").partition(" ")
        return base64.b64decode(value).decode() if kind == "Basic" else None

    def _may_delete(self, token: str) -> bool:
        project = self.server.project
        return self.headers.get("Authorization") == f"Bearer {project.gdpr_token}" and token == project.token

    def _note_deletion(self) -> None:
        with self.server.count_lock:
            self.server.deletion_moments.append(time.monotonic())

    def _may_import(self, query: dict[str, str]) -> bool:
        project, user = self.server.project, self._user()
        if user == project.account:
            return query.get("project_id") == project.project_id
        return user == f"{project.token}:" and "project_id" not in query

    def _fault(self, path: str, fault: str, content: bytes) -> None:
        if fault[:3].isdigit():
            if not fault.isdigit():
                self._count(path, fault)
            self._send(*_failure(fault[:3]))
            return
        self._count(path, fault)
        if fault == "short":
            self._write(200, content, "application/json")
            return
        if fault == "foreign":
            self._write(200, b"<html><body>Sign in to the guest network</body></html>", "text/html")
            return
        if fault == "foreign_json":
            other = _FOREIGN_JSON[self.server.answers[f"{path} {fault}"] % len(_FOREIGN_JSON)]
            self._write(200, json.dumps(other).encode(), "application/json")
            return
        if fault in ("slow", SLOW_BUT_WHOLE):
            self._dribble(content, 2 * self.server.faults.hang_seconds if fault == "slow" else 0.3)
            return
        if fault == "hang":
            time.sleep(self.server.faults.hang_seconds)
        if fault == "cut":
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
        self.close_connection = True
        if fault.startswith("reset"):  # an RST and not a FIN
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def _dribble(self, content: bytes, seconds: float) -> None:
        """A good answer with its head, in pieces over so many seconds."""
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        whole = head.encode() + content
        for at in range(0, len(whole), 4):
            time.sleep(seconds * 4 / len(whole))
            self.wfile.write(whole[at : at + 4])
            self.wfile.flush()

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        self._count(urlsplit(self.path).path, str(status))
        self._write(status, json.dumps(answer).encode(), "application/json")

    def _write(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if status == 429 and self.server.faults.retry_after is not None:
            self.send_header("Retry-After", self.server.faults.retry_after)
        self.end_headers()
        self.wfile.write(content)

    def _count(self, path: str, what: str) -> None:
        with self.server.count_lock:
            self.server.answers[f"{path.rstrip('/')} {what}"] += 1

    def log_message(self, format: str, *args: Any) -> None:
        """Tests read what the command says, not this."""


def _failure(status: str) -> Answer:
    words = _PLAIN.get(status, "Server Error")
    return int(status), {"code": int(status), "error": words.lower(), "status": words}


def _unauthorised() -> Answer:
    return 401, {"code": 401, "error": "Invalid credentials", "status": "Unauthorized"}


def make_certificate(folder: Path, *names: str) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and these hosts, and its key, as (certificate, key) files."""
    require_module("cryptography")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stand-in")])
    address = x509.SubjectAlternativeName(
        [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), *map(x509.DNSName, names)]
    )
    day = datetime.timedelta(days=1)
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - day).not_valid_after(now + day)
    builder = builder.add_extension(address, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
    certificate, secret = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(pem))
    secret.write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
    return certificate, secret


@contextlib.contextmanager
def stand_in(
    project: MixpanelProject | None = None,
    faults: Faults | None = None,
    certificate: tuple[Path, Path] | None = None,
) -> Iterator[StandIn]:
    """The server on a free port of this machine, over TLS where a certificate is given."""
    server = StandIn(project or MixpanelProject(), faults or Faults(), certificate)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
