"""What stands for Mixpanel while deliveries are measured: TLS, counts the events that come, takes no notice of them.

    python -m benchmarks.delivery_server CERTIFICATE KEY [LIMIT]     # prints its port, ends with its standard input

LIMIT is events a second; what comes above it is answered with 429 and not counted.
"""

from __future__ import annotations

import json
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from isal import isal_zlib


class Server(ThreadingHTTPServer):
    """Counts; ``room`` is what is left of the limit, which a second fills."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, limit: float) -> None:
        super().__init__(("127.0.0.1", 0), Counter)
        self.limit = limit
        self.room, self.then = limit, time.monotonic()
        self.counts = {"events": 0, "requests": 0, "refused": 0}
        self.lock = threading.Lock()

    def take(self, events: int) -> bool:
        """Whether so many are within the limit; counts them where they are."""
        with self.lock:
            now = time.monotonic()
            self.room, self.then = min(self.limit, self.room + (now - self.then) * self.limit), now
            self.counts["requests"] += 1
            if events > self.room:
                self.counts["refused"] += 1
                return False
            self.room -= events
            self.counts["events"] += events
            return True


class Counter(BaseHTTPRequestHandler):
    """Answers /import with the number of events, and GET /counts with all of them since it was asked last."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = isal_zlib.decompress(body, wbits=31)
        events = body.count(b'"$insert_id"') if body.startswith(b"[") else body.count(b"\n")
        if self.server.take(events):
            self._say(200, {"code": 200, "num_records_imported": events, "status": "OK"})
        else:
            self._say(429, {"code": 429, "error": "Project exceeded rate limits", "status": "Request Limited"})

    def do_GET(self) -> None:
        answer: object = {"results": {"projects": {"1": {}}}}
        if self.path == "/counts":
            with self.server.lock:
                answer, self.server.counts = self.server.counts, dict.fromkeys(self.server.counts, 0)
        self._say(200, answer)

    def _say(self, status: int, answer: object) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def main(certificate: str, key: str, limit: str = "inf") -> None:
    """Serve until the standard input ends."""
    server = Server(float(limit))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(certificate), Path(key))
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print(server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
