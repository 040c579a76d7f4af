"""A Mixpanel project as its ingestion endpoints see it, by the strictest reading of the public documentation.

Takes batches in, keeps what was taken, deduplicates, and answers as the API does: (HTTP status, JSON body).
``mixpanel_stand_in`` serves it over HTTP.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.oracle import mixpanel_rules
from tests.oracle.mixpanel_original import OriginalIdMerge, check_identity_event
from tests.oracle.mixpanel_simulator import VERBS, EventKey, SimplifiedIdMerge, event_key

MAX_RECORDS = 2000
MAX_DELETIONS = 1999
Answer = tuple[int, dict[str, Any]]
Record = dict[str, Any]


@dataclasses.dataclass
class MixpanelProject:
    """One project. ``refuses`` gives the words with which a record is refused, or None; ``shape`` how they are told:
    ``index``, ``$insert_id``, ``insert_id`` (the others of the batch are taken) or ``strings`` (none is); updates are
    told by ``$distinct_id`` and ``distinct_id`` there. ``simplified`` is the ID merge system; without it, Original."""

    project_id: str = "424242"
    token: str = "f00dfeedf00dfeedf00dfeedf00dfeed"
    account: str = "importer.1a2b3c.mp-service-account:s3cr3t-of-the-account"
    gdpr_token: str = "gdpr-oauth-token"
    now: int = 4_000_000_000
    max_bytes: int = 10_000_000
    simplified: bool = True
    refuses: Callable[[Record], str | None] = lambda record: None
    shape: str = "index"
    times_taken: Counter[EventKey] = dataclasses.field(default_factory=Counter)
    events: dict[EventKey, Record] = dataclasses.field(default_factory=dict)
    profiles: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    updates: int = 0  # profile updates taken, repeated ones included
    taken_updates: Counter[str] = dataclasses.field(default_factory=Counter)  # as JSON without $token
    deletions: dict[str, list[str]] = dataclasses.field(default_factory=dict)  # task → distinct ids
    deletion_state: str = "SUCCESS"  # of every task
    deletion_shape: str = "schema"  # or "page": Mixpanel's schema and its page show two shapes of the answer
    deletion_words: str = "distinct_ids holds what is not an id"
    deletion_refuses: Callable[[str], bool] = lambda distinct_id: False
    cancelled: list[str] = dataclasses.field(default_factory=list)  # tasks, until they have STARTED
    deletion_project: str | None = None  # what the answers name as the token's project, where it is another
    _lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def take_events(self, body: bytes) -> Answer:
        """POST /import with strict=1: newline-delimited JSON, uncompressed."""
        if len(body) > self.max_bytes:
            return self._too_large()
        lines = body.split(b"\n")
        if lines and not lines[-1]:
            lines.pop()
        if not lines or len(lines) > MAX_RECORDS:
            return self._refused_whole(f"a request holds 1 to {MAX_RECORDS} events, not {len(lines)}")
        records = [json.loads(line) for line in lines]
        verbs = sorted({record["event"] for record in records} & VERBS)
        if self.simplified and verbs:
            return self._refused_whole(f"{verbs[0]} is not supported by projects on Simplified ID Merge")
        refused = [
            (index, words) for index, record in enumerate(records) if (words := self._words(lines[index], record))
        ]
        if refused and self.shape == "strings":
            return self._refused_whole(refused[0][1])
        bad = {index for index, _ in refused}
        with self._lock:
            for index, record in enumerate(records):
                if index not in bad:
                    self.times_taken[event_key(record)] += 1
                    self.events[event_key(record)] = record
        taken = len(records) - len(refused)
        if not refused:
            return 200, {"code": 200, "num_records_imported": taken, "status": "OK"}
        failed = [self._failed(index, records[index], words) for index, words in refused]
        error = "some data points in the request failed validation"
        body_ = {"code": 400, "error": error, "failed_records": failed, "num_records_imported": taken}
        return 400, {**body_, "status": "Bad Request"}

    def take_updates(self, body: bytes) -> Answer:
        """POST /engage with strict=1&verbose=1: a JSON array; the status is 200 whatever became of it."""
        if len(body) > 1_000_000:
            return self._too_large()
        updates = json.loads(body)
        if not isinstance(updates, list) or not 0 < len(updates) <= MAX_RECORDS:
            return 200, {"status": 0, "error": f"a request holds 1 to {MAX_RECORDS} updates"}
        refused = [(index, words) for index, words in enumerate(map(self._update_words, updates)) if words is not None]
        if refused and self.shape == "strings":
            return 200, {"status": 0, "error": refused[0][1]}
        bad = {index for index, _ in refused}
        with self._lock:
            for index, update in enumerate(updates):
                if index not in bad:
                    self._apply(update)
        if not refused:
            return 200, {"status": 1, "error": None, "num_good_events": len(updates)}
        failed = [self._failed_update(index, updates[index], words) for index, words in refused]
        counted = {"num_good_events": len(updates) - len(refused)} if self.shape != "insert_id" else {}
        return 200, {"status": 0, "error": "some updates failed", "failed_records": failed, **counted}

    def delete(self, distinct_ids: list[str]) -> Answer:
        """POST to the deletion API: a task for at most 1,999 ids."""
        if not 0 < len(distinct_ids) <= MAX_DELETIONS:
            return 400, {"status": "error", "error": f"1 to {MAX_DELETIONS} distinct_ids"}
        if any(map(self.deletion_refuses, distinct_ids)):
            return 400, {"status": "error", "error": self.deletion_words}
        with self._lock:
            task = str(1000 + len(self.deletions))
            self.deletions[task] = distinct_ids
        if self.deletion_shape == "page":
            return 200, {"status": "ok", "results": [{**self._job(task), "status": "PENDING"}]}
        return 201, {"status": "ok", "results": {"task_id": task}}

    def deletion(self, task: str) -> Answer:
        """GET of a task: its state and ids."""
        if task not in self.deletions:
            return 200, {"status": "ok", "results": {"status": "NOT_FOUND", "distinct_ids": []}}
        return 200, {"status": "ok", "results": {**self._job(task), "distinct_ids": self.deletions[task]}}

    def cancel(self, task: str) -> Answer:
        """DELETE of a task."""
        if task not in self.deletions or self.deletion_state not in ("PENDING", "STAGING"):
            return 405, {"status": "error", "error": "the task has started"}
        self.cancelled.append(task)
        return 204, {}

    def _job(self, task: str) -> dict[str, Any]:
        project = int(self.deletion_project or self.project_id)
        return {"tracking_id": task, "status": self.deletion_state, "project_id": project, "compliance_type": "GDPR"}

    def persons(self) -> dict[EventKey, str]:
        """The person of every event, by the project's ID merge."""
        merge = SimplifiedIdMerge if self.simplified else OriginalIdMerge
        return merge(self.events.values()).persons()

    def profiles_of_persons(self) -> dict[str, dict[str, Any]]:
        """The properties of every person. Profiles of devices that were linked are lost; those of a cluster are one."""
        found: dict[str, dict[str, Any]] = {}
        simplified, original = SimplifiedIdMerge(), OriginalIdMerge()
        for event in self.events.values():
            (simplified if self.simplified else original).feed(event)
        for distinct_id, properties in self.profiles.items():
            person = distinct_id if self.simplified else original.person_of(distinct_id)
            if not self.simplified or simplified.is_person(distinct_id):
                found.setdefault(person, {}).update(properties)
        return found

    def _words(self, line: bytes, record: Record) -> str | None:
        if words := self.refuses(record):
            return words
        try:
            if record["event"] in VERBS:
                check_identity_event(record, self.now)
            else:
                mixpanel_rules.check_event(line, self.now)
        except AssertionError as error:
            return str(error)
        return None

    def _update_words(self, update: Record) -> str | None:
        if update.get("$token") != self.token:
            return "token, missing or empty" if not update.get("$token") else None  # a foreign token is not told of
        if words := self.refuses(update):
            return words
        line = json.dumps({key: value for key, value in update.items() if key != "$token"}, ensure_ascii=False).encode()
        try:
            mixpanel_rules.check_profile(line)
        except AssertionError as error:
            return str(error)
        return None

    def _apply(self, update: Record) -> None:
        self.updates += 1
        if update["$token"] != self.token:
            return
        told = {key: value for key, value in update.items() if key != "$token"}
        self.taken_updates[json.dumps(told, sort_keys=True)] += 1
        profile = self.profiles.setdefault(update["$distinct_id"], {})
        profile.update(update.get("$set", {}))
        for name, value in update.get("$set_once", {}).items():
            profile.setdefault(name, value)
        for name in update.get("$unset", ()):
            profile.pop(name, None)

    def _failed(self, index: int, record: Record, words: str) -> dict[str, Any]:
        insert_id = record["properties"].get("$insert_id")
        name = "$insert_id" if self.shape != "insert_id" else "insert_id"
        failed = {name: insert_id, "field": "properties", "message": words}
        return {"index": index, **failed} if self.shape == "index" else failed

    def _failed_update(self, index: int, update: Record, words: str) -> dict[str, Any]:
        if self.shape == "index":
            return {"index": index, "message": words}
        name = "$distinct_id" if self.shape == "$insert_id" else "distinct_id"
        return {name: update.get("$distinct_id"), "message": words}

    @staticmethod
    def _refused_whole(words: str) -> Answer:
        body = {"code": 400, "error": words, "failed_records": [words], "num_records_imported": 0}
        return 400, {**body, "status": "Bad Request"}

    def _too_large(self) -> Answer:
        error = f"request exceeds max limit of {self.max_bytes} bytes"
        return 413, {"code": 413, "error": error, "status": "Request Entity Too Large"}
