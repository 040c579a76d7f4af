"""Connections to Mixpanel, one a thread and kept alive: ``http.client``, which costs the least of CPU.

Certificates are always checked, by those that ``SSL_CERT_FILE`` names or the system's; ``HTTPS_PROXY`` and ``NO_PROXY``
are followed, but never to this machine.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import ipaddress
import re
import socket
import ssl
import time
import urllib.request
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from transforms.errors import CertificateNotTrusted, ConnectionFailed, ProxyError

HOSTS = {"us": "https://api.mixpanel.com", "eu": "https://api-eu.mixpanel.com", "in": "https://api-in.mixpanel.com"}
APP_HOSTS = {"us": "https://mixpanel.com", "eu": "https://eu.mixpanel.com", "in": "https://in.mixpanel.com"}
_LONGEST_BODY = 16 << 20
_TUNNEL = re.compile(r"Tunnel connection failed: (\d+)")


class Reply(NamedTuple):
    """A whole answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def is_loopback(url: str) -> bool:
    """Whether an address is one of this very machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Connection:
    """One connection to a host, made when it is needed and again after it broke. Not to be shared by threads."""

    def __init__(self, url: str, timeout: float) -> None:
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._secure else 80)
        self._prefix = parts.path.rstrip("/")
        self._timeout = timeout
        self._proxy = None if is_loopback(url) else _proxy(parts.scheme, self._host, self._port)
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Reply:
        """One request and its whole answer.

        Raises:
            CertificateNotTrusted, ProxyError: the request was not sent, and no other will be.
            ConnectionFailed: nothing is known of what became of the request.
        """
        try:
            if self._connection is None:
                self._connection = self._connect()
            until = time.monotonic() + self._timeout
            if self._connection.sock is not None:
                self._connection.sock.settimeout(self._timeout)
            self._connection.request(method, self._prefix + path, body, headers)
            with self._connection.getresponse() as response:
                content = self._read(response, until)
                found = {name.lower(): value for name, value in response.getheaders()}
                if response.will_close:
                    self.close()
                return Reply(response.status, found, content)
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise CertificateNotTrusted(f"{self._host}: {error.verify_message}") from error
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            # The last where another thread closed the connection.
            self.close()
            words = f"{type(error).__name__} {error}".strip()[:300]
            if self._proxy is None:
                raise ConnectionFailed(words) from error
            # Proxies quote what they refuse: neither their words nor the exception that has them go further.
            refused = _TUNNEL.search(str(error))
            if refused is None:
                raise ConnectionFailed(self._proxy.veil(words)) from None
            status = int(refused[1])
            if 400 <= status < 500 and status not in (408, 429):
                raise ProxyError(
                    f"the proxy {self._proxy.host}:{self._proxy.port} answers {status} to a connection to "
                    f"{self._host}:{self._port}: correct HTTPS_PROXY (http://USER:PASSWORD@HOST:PORT), or name the "
                    "host in NO_PROXY"
                ) from None
            raise ConnectionFailed(f"the proxy {self._proxy.host}:{self._proxy.port} answers {status}") from None

    def close(self) -> None:
        """Let go of the connection; whoever waits for it in another thread is woken."""
        connection, self._connection = self._connection, None
        if connection is not None:
            if connection.sock is not None:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _read(self, response: http.client.HTTPResponse, until: float) -> bytes:
        parts: list[bytes] = []
        size = 0
        while part := response.read1(1 << 16):
            parts.append(part)
            size += len(part)
            if time.monotonic() > until:
                raise TimeoutError(f"the answer was not complete after {self._timeout:g} s")
            if size > _LONGEST_BODY:
                raise http.client.HTTPException("the answer is too long to be Mixpanel's")
        if response.length:
            raise http.client.IncompleteRead(b"", response.length)
        return b"".join(parts)

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._host, self._port
        if self._proxy is not None:
            host, port = self._proxy.host, self._proxy.port
        made: http.client.HTTPConnection
        if self._secure:
            made = http.client.HTTPSConnection(host, port, timeout=self._timeout, context=ssl.create_default_context())
        else:
            made = http.client.HTTPConnection(host, port, timeout=self._timeout)
        if self._proxy is not None:
            made.set_tunnel(self._host, self._port, self._proxy.headers())
        made.connect()
        made.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made


class _Proxy:
    """A proxy that tunnels; its user and password are shown by nothing here."""

    def __init__(self, host: str, port: int, user: str, password: str) -> None:
        self.host, self.port = host, port
        self._pair = f"{user}:{password}" if user else ""
        self._secrets = [self._pair, base64.b64encode(self._pair.encode()).decode(), password, quote(password, "")]

    def headers(self) -> dict[str, str]:
        """What the proxy is told besides the address."""
        if not self._pair:
            return {}
        return {"Proxy-Authorization": "Basic " + base64.b64encode(self._pair.encode()).decode()}

    def veil(self, text: str) -> str:
        """A text in which neither user nor password stands."""
        for secret in self._secrets:
            text = text.replace(secret, "…") if secret else text
        return text


def _proxy(scheme: str, host: str, port: int) -> _Proxy | None:
    """The proxy for a host, by HTTPS_PROXY or ALL_PROXY, unless NO_PROXY names the host, with its port or without.

    Raises:
        ProxyError: it is not the address of one that can be used.
    """
    if urllib.request.proxy_bypass(f"{host}:{port}"):
        return None
    found = urllib.request.getproxies()
    address = found.get(scheme) or found.get("all")
    if not address:
        return None
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        is_usable = parts.scheme == "http" and bool(parts.hostname)
        if is_usable:
            return _Proxy(
                parts.hostname or "", parts.port or 80, unquote(parts.username or ""), unquote(parts.password or "")
            )
    except ValueError:  # which quotes a part of the address
        pass
    raise ProxyError(
        "HTTPS_PROXY is not the address of a proxy that can be used: write http://HOST:PORT, or "
        "http://USER:PASSWORD@HOST:PORT with other characters than letters and digits as %XX"
    ) from None
