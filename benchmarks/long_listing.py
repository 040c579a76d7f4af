"""A server that lists as many objects as is wished, in pages, as each cloud words them: emulators take minutes to fill.

with listed(100_000) as port: …
"""

from __future__ import annotations

import contextlib
import http.server
import json
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

PAGE = 1_000


@contextlib.contextmanager
def listed(count: int) -> Iterator[int]:
    """The port of a process that answers every listing with ``count`` objects, whatever the bucket."""
    process = subprocess.Popen(
        [sys.executable, __file__, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def name(number: int) -> str:
    return f"listed/event_type=users.messages.email.Open/date=2026-01-{1 + number // 4000:02}-00/{number:07}.avro"


def gcs(first: int, last: int, token: str) -> str:
    """A page as Cloud Storage's JSON."""
    items = [{"name": name(n), "size": "5000", "generation": str(10**15 + n)} for n in range(first, last)]
    return json.dumps({"items": items, **({"nextPageToken": token} if token else {})})


def s3(first: int, last: int, token: str) -> str:
    """A page as S3's XML."""
    items = "".join(
        f"<Contents><Key>{name(n)}</Key><Size>5000</Size><ETag>&quot;{n:032x}&quot;</ETag></Contents>"
        for n in range(first, last)
    )
    more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    truncated = f"<IsTruncated>{str(bool(token)).lower()}</IsTruncated>"
    return f'<?xml version="1.0"?><ListBucketResult>{items}{truncated}{more}</ListBucketResult>'


def azure(first: int, last: int, token: str) -> str:
    """A page as Azure's XML."""
    items = "".join(
        f"<Blob><Name>{name(n)}</Name><Properties><Content-Length>5000</Content-Length><Etag>0x{n:015X}</Etag>"
        "<BlobType>BlockBlob</BlobType></Properties></Blob>"
        for n in range(first, last)
    )
    return (
        f'<?xml version="1.0"?><EnumerationResults ContainerName="x"><Blobs>{items}</Blobs>'
        f"<NextMarker>{token}</NextMarker></EnumerationResults>"
    )


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    count = 0

    def do_GET(self) -> None:
        asked = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        if "/storage/v1/" in self.path:
            word, begin = gcs, asked.get("pageToken")
        elif "comp" in asked:
            word, begin = azure, asked.get("marker")
        else:
            word, begin = s3, asked.get("continuation-token")
        first = int(begin or 0)
        last = min(first + PAGE, self.count)
        body = word(first, last, str(last) if last < self.count else "").encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json" if word is gcs else "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


if __name__ == "__main__":
    Handler.count = int(sys.argv[1])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
