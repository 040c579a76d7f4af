"""Millions of objects: listed, cut and planned in bounded memory; and units that are too many for the graph."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.commands.whole_run import ROOT

# Lists a made bucket as a store would, a name at a time: 100 event types, an hour a folder. Prints what it took.
_PROGRAM = """
import json, sys, tempfile, time
from transforms.currents import catalog, listing
from transforms.output import plan_files
from transforms.settings import Plan
from transforms.stores.local import LocalStore
from transforms.stores.store import Entry, store_for

NAMES, BYTES = int(sys.argv[1]), int(sys.argv[2])

class Bucket:
    remote = True

    def list(self, folder, beginning=""):
        assert (folder, beginning) == ("gs://made/currents", "event_type=")
        types = sorted(f"event_type={kind}/" for kind in catalog.event_types())
        hours = -(-NAMES // (len(types) * 4))
        count = 0
        for kind in types:
            for hour in range(hours):
                day = f"date=2025-{1 + hour // 672 % 12:02}-{1 + hour // 24 % 28:02}-{hour % 24:02}"
                at = f"{folder}/{kind}{hour // 8064:02}/{day}/version=11/us-01/"
                for part in range(4):
                    count += 1
                    if count > NAMES:
                        return
                    size = BYTES // 2 + (count * 7919) % BYTES
                    yield Entry(
                        f"{at}dataexport.us-01.S3.integration.5f3a9c0d7e6b4a21c8d90e12+11+us-01+{part:09}.avro",
                        size, f"{1760000000000000 + count * 7717}",
                    )

    def entry(self, path):
        return None

    def is_folder(self, path):
        return path == "gs://made/currents"

    def absolute(self, path):
        return path

listing.store_for = lambda path: Bucket() if path.startswith("gs://") else store_for(path)

def megabytes():  # the most so far, which resource.getrusage would count from before the exec
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1000

before = megabytes()
began = time.time()
export = listing.survey(["gs://made/currents/event_type=*"])
plan = Plan.for_input(export.units, export.files, export.bytes)
listed = time.time() - began
with tempfile.TemporaryDirectory() as output:
    work = plan_files.hand_out(export, output)
    numbers = [number for path in work.paths for number, _ in plan_files.read_units(path)]
assert sorted(numbers) == list(range(export.units))
print(json.dumps({
    "files": export.files, "bytes": export.bytes, "units": export.units, "plan_files": len(work.paths),
    "plan_bytes": export.packed_bytes, "seconds": time.time() - began, "listing_seconds": listed,
    "megabytes": megabytes(), "megabytes_before": before,
    "shards": [plan.id_shards, plan.key_shards, plan.person_shards],
}))
"""


def _plan_made(names: int, bytes_a_name: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(names), str(bytes_a_name)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("bytes_a_name", [5_000, 950_000])
def test_a_million_names_are_listed_cut_and_planned(bytes_a_name: int) -> None:
    found = _plan_made(1_000_000, bytes_a_name)
    print(found)
    assert found["files"] == 1_000_000
    assert found["seconds"] < 60
    assert found["megabytes"] < 500
