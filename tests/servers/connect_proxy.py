"""A proxy that tunnels (CONNECT) whatever host is asked for to one port of this machine, with a password on demand."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ConnectProxy(ThreadingHTTPServer):
    """``asked`` are the hosts with their ports, in order; ``login`` is USER:PASSWORD, or empty."""

    daemon_threads = True

    def __init__(self, port: int, login: str) -> None:
        super().__init__(("127.0.0.1", 0), _Tunnel)
        self.target, self.login = port, login
        self.asked: list[str] = []
        self.address = f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of the tests."""


class _Tunnel(BaseHTTPRequestHandler):
    server: ConnectProxy

    def do_CONNECT(self) -> None:
        self.server.asked.append(self.path)
        said = self.headers.get("Proxy-Authorization") or ""
        if self.server.login and said != "Basic " + base64.b64encode(self.server.login.encode()).decode():
            # Proxies quote what they refuse, readable too.
            quoted = base64.b64decode(said.partition(" ")[2]).decode()
            self.send_response(407, f"Denied to {quoted} ({said})")
            self.end_headers()
            return
        self.send_response(200, "Connection established")
        self.end_headers()
        self.wfile.flush()
        with socket.create_connection(("127.0.0.1", self.server.target)) as other:
            back = threading.Thread(target=_copy, args=(other, self.connection), daemon=True)
            back.start()
            _copy(self.connection, other)
            back.join()
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Tests read what the command says, not this."""


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def connect_proxy(port: int, login: str = "") -> Iterator[ConnectProxy]:
    """The proxy on a free port, whose tunnels all end at ``port`` of this machine."""
    server = ConnectProxy(port, login)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
