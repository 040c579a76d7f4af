"""What a submission to Dataflow needs, with nothing of it real: credentials, buckets on an emulator, the flags."""

from __future__ import annotations

import json
from pathlib import Path

from tests.servers.emulators import Emulator
from transforms.stores.store import store_for

PROJECT, REGION = "a-project", "europe-west3"
TOKEN = "canary-of-the-access-token"


def environment(gcs: Emulator, folder: Path) -> dict[str, str]:
    """Of a submission; the token is good until 2099, so that nobody asks for another."""
    credentials = folder / "credentials.json"
    nobody = {"client_id": "nobody", "client_secret": "nothing", "refresh_token": "nothing", "token": TOKEN}
    credentials.write_text(json.dumps({"type": "authorized_user", **nobody, "expiry": "2099-01-01T00:00:00Z"}))
    return {
        **gcs.environment,
        "GOOGLE_APPLICATION_CREDENTIALS": str(credentials),
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "NO_GCE_CHECK": "true",
    }


def flags(bucket: str, setup_file: Path, *more: str) -> list[str]:
    """Of a submission that brings this program's package along."""
    return [
        "--runner=DataflowRunner", f"--project={PROJECT}", f"--region={REGION}", "--job_name=currents",
        f"--temp_location={bucket}/temp", f"--staging_location={bucket}/staging",
        f"--setup_file={setup_file}", "--experiments=disable_logging_submission_environment", *more,
    ]  # fmt: skip


def objects(gcs: Emulator, bucket: str) -> dict[str, bytes]:
    """All objects of a bucket by their addresses."""
    with gcs.applied():
        store = store_for(bucket)
        return {entry.path: store.read(entry) for entry in store.list(bucket)}
