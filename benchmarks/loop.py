"""The shortest loop by hand: every row a dict, a line of JSON, gzip level 6; nobody is recognised, nothing is checked.

python -m benchmarks.loop EXPORT OUTPUT.ndjson.gz
"""

from __future__ import annotations

import gzip
import re
import sys
from pathlib import Path

import fastavro
import orjson


def main(export: str, output: str) -> None:
    with gzip.open(output, "wb", compresslevel=6) as lines:
        for path in sorted(Path(export).rglob("*.avro")):
            event = re.findall(r"event_type=([^/]+)", str(path))[0]
            with path.open("rb") as file:
                for row in fastavro.reader(file):
                    row["$insert_id"] = row.get("id")
                    row["distinct_id"] = row.get("external_user_id") or row.get("user_id") or ""
                    lines.write(orjson.dumps({"event": event, "properties": row}, option=orjson.OPT_APPEND_NEWLINE))


if __name__ == "__main__":
    main(*sys.argv[1:])
