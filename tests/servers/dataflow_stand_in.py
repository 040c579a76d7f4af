"""A stand-in of the Dataflow service, as far as a submission talks to it: jobs made, asked for, stopped, and messages.

Nothing runs. A job goes through the states it was told to, one at each question, and keeps what was asked of it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.cloud.dataflow_v1beta3 import JobState

JOB = "2026-03-01_00_00_00-1234567890"
_JOBS = re.compile(r"/v1b3/projects/([^/]+)/locations/([^/]+)/jobs(?:/([^/?]+))?(/messages)?(?:\?.*)?\Z")
_ENDED = frozenset({"JOB_STATE_DONE", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED"})


@dataclasses.dataclass
class StandIn:
    """What the service does and what it was asked: the states to come, the error to tell, the job it was given."""

    states: list[str]
    error: str | None = None
    on_end: Callable[[], None] | None = None  # what the job would do before it ends
    port: int = 0
    job: dict[str, Any] | None = None
    requested: list[str] = dataclasses.field(default_factory=list)  # states that the submitter asked for
    questions: int = 0
    _lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    @property
    def endpoint(self) -> str:
        return f"http://localhost:{self.port}"

    def create(self, job: dict[str, Any], project: str, region: str) -> dict[str, Any]:
        self.job = {**job, "id": JOB, "projectId": project, "location": region}
        return self._answer("JOB_STATE_PENDING")

    def get(self) -> dict[str, Any]:
        with self._lock:
            self.questions += 1
            state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
            if state in _ENDED and self.on_end is not None:
                act, self.on_end = self.on_end, None
                act()
            return self._answer(state)

    def update(self, state: str) -> dict[str, Any]:
        with self._lock:
            self.requested.append(state)
            self.states[:] = ["JOB_STATE_CANCELLING", "JOB_STATE_CANCELLED"]
            return self._answer("JOB_STATE_CANCELLING")

    def messages(self) -> dict[str, Any]:
        told = [("JOB_MESSAGE_BASIC", "Worker configuration: n2-highmem-4 in europe-west3-b.")]
        if self.error is not None:
            told.append(("JOB_MESSAGE_ERROR", self.error))
        return {
            "jobMessages": [
                {"id": str(number), "time": "2026-03-01T00:00:00Z", "messageText": text, "messageImportance": kind}
                for number, (kind, text) in enumerate(told)
            ]
        }

    def _answer(self, state: str) -> dict[str, Any]:
        made = self.job or {}
        keys = ("id", "projectId", "location", "name")
        return {**{key: made[key] for key in keys if key in made}, "currentState": state, "type": "JOB_TYPE_BATCH"}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, service: StandIn) -> None:
        super().__init__(("localhost", 0), _Handler)
        self.service = service


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        found = _JOBS.match(self.path)
        self._answer(self.server.service.create(self._body(), found[1], found[2]) if found and not found[3] else None)

    def do_PUT(self) -> None:
        found = _JOBS.match(self.path)
        asked = JobState(self._body().get("requestedState", 0)).name
        self._answer(self.server.service.update(asked) if found and found[3] == JOB else None)

    def do_GET(self) -> None:
        found = _JOBS.match(self.path)
        if found is None or found[3] != JOB:
            self._answer(None)
        else:
            self._answer(self.server.service.messages() if found[4] else self.server.service.get())

    def _body(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        return body

    def _answer(self, answer: dict[str, Any] | None) -> None:
        content = json.dumps({"error": {"code": 404}} if answer is None else answer).encode()
        self.send_response(404 if answer is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests read what the command says, not this."""


@contextlib.contextmanager
def stand_in(
    states: Sequence[str], error: str | None = None, on_end: Callable[[], None] | None = None
) -> Iterator[StandIn]:
    """The service on a free port; its one job is in these states, one after the other, and stays in the last."""
    service = StandIn([f"JOB_STATE_{state}" for state in states], error, on_end)
    server = _Server(service)
    service.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
