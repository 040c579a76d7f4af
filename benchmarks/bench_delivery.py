"""What a delivery costs: 300,000 events of 1 KB over TLS, to a server of another process that only counts lines.

    python -m benchmarks.bench_delivery            # on one core; the asyncio loop beside it where aiohttp is installed

The loop is ``delivery_loop``.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib.util
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil

from tests.deliveries import event, publish
from tests.mixpanel_stand_in import make_certificate

ROOT = Path(__file__).resolve().parents[1]
FILES, TEXT = 10, "A text that is much the same in every event, as names of campaigns are: spring sale"


class Counter(BaseHTTPRequestHandler):
    """Answers /import with the lines that came."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_POST(self) -> None:
        lines = zlib.decompress(self.rfile.read(int(self.headers["Content-Length"])), wbits=31).count(b"\n")
        self._say({"code": 200, "num_records_imported": lines, "status": "OK"})

    def do_GET(self) -> None:
        self._say({"results": {"projects": {"1": {}}}})

    def _say(self, answer: dict[str, object]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def serve(certificate: str, key: str) -> None:
    """The server; prints its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Counter)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print(server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


def make_run(folder: Path, events: int) -> Path:
    """A run like those of the job: about half of an event's bytes are ids, which hardly compress."""
    share = events // FILES
    return publish(
        folder,
        {
            f"events/part-{part:05d}.ndjson.gz": [
                event(number, **_properties(number)) for number in range(part * share, (part + 1) * share)
            ]
            for part in range(FILES)
        },
    )


def _properties(number: int) -> dict[str, str]:
    digest = hashlib.sha512(str(number).encode()).hexdigest()
    ids = {f"some_id_{at}": digest[at * 32 : at * 32 + 36] for at in range(4)}
    return {**ids, "campaign_id": digest[:24], **{f"property_{at}": f"{TEXT} {at}" for at in range(5)}}


def measure(argv: list[str], environment: dict[str, str], core: int) -> tuple[float, float, int]:
    """CPU seconds, wall seconds, and peak resident bytes of a command on one core."""
    timed = ["taskset", "-c", str(core), "/usr/bin/env", "python3", "-c", _TIMED, *argv]
    done = subprocess.run(timed, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    found = re.search(r"usage ([\d.]+) ([\d.]+) (\d+)", done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"{argv[:4]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return float(found[1]), float(found[2]), int(found[3]) * 1024


_TIMED = (
    "import resource, subprocess, sys, time; t = time.time(); c = subprocess.call(sys.argv[1:]); "
    "u = resource.getrusage(resource.RUSAGE_CHILDREN); "
    "print('usage', u.ru_utime + u.ru_stime, time.time() - t, u.ru_maxrss, file=sys.stderr); sys.exit(c)"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--repeat", type=int, default=3)
    flags = parser.parse_args()
    work = Path(tempfile.mkdtemp())
    certificate, key = make_certificate(work)
    run = make_run(work / "run", flags.events)
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.bench_delivery", "serve", str(certificate), str(key)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    url = f"https://127.0.0.1:{server.stdout.readline().strip()}"
    environment = {**os.environ, "SSL_CERT_FILE": str(certificate), "MIXPANEL_SERVICE_ACCOUNT": "a:b"}
    contenders = {
        "deliver": [
            sys.executable, "-m", "pipelines.deliver", "--input", str(run), "--project_id", "1", "--region", "eu",
            "--endpoint", url, "--yes", "--max_events_per_second", "1000000",
        ],
        "loop": [sys.executable, "-m", "benchmarks.delivery_loop", str(run), url],
    }  # fmt: skip
    if importlib.util.find_spec("aiohttp") is None:
        del contenders["loop"]
    size = sum(len(gzip.decompress(path.read_bytes())) for path in (run / "events").iterdir())
    print(f"{flags.events:,} events, {size / 1e6:.0f} MB, load before {psutil.getloadavg()[0]:.1f}")
    try:
        for _ in range(flags.repeat):
            for name, argv in contenders.items():
                shutil.rmtree(run / "_delivery", ignore_errors=True)
                cpu, wall, peak = measure(argv, environment, 0)
                print(
                    f"| {name} | {wall:.1f} s | {flags.events / wall:,.0f}/s | {cpu:.2f} CPU s | {peak / 1e6:.0f} MB |"
                )
    finally:
        server.kill()
        shutil.rmtree(work)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(*sys.argv[2:])
    else:
        main()
