"""What an answer of Mixpanel's means for the records of a request: nothing is acknowledged that was not.

Failed records come as objects with an index, as objects with an insert id, or as mere texts. Where they and the counts
do not add up, nobody knows which records are in, and the request is sent again in halves.
"""

from __future__ import annotations

import email.utils
import enum
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson


class Verdict(enum.Enum):
    """What to do with the records of a request."""

    TAKEN = "taken"  # acknowledged, but for the refused ones
    SPLIT = "split"  # in halves, down to the guilty records
    AGAIN = "again"  # after a while
    STOP = "stop"  # no other request will fare better


class Answer(NamedTuple):
    """``refused`` are (index in the request, Mixpanel's words); ``words`` is what was said of the whole request."""

    verdict: Verdict
    refused: tuple[tuple[int, str], ...] = ()
    words: str = ""
    retry_after: float | None = None


_LONGEST_WORDS = 500
_LONGEST_WAIT = 3600.0


def of_import(status: int, headers: Mapping[str, str], body: bytes, lines: bytes, rows: int) -> Answer:
    """What /import answered to these lines, so many. Header names are in lower case."""
    return _of(status, headers, body, lines, rows, _import_taken)


def of_engage(status: int, headers: Mapping[str, str], body: bytes, lines: bytes, rows: int) -> Answer:
    """What /engage answered: 200 says nothing there, the body decides."""
    return _of(status, headers, body, lines, rows, _engage_taken)


def _of(status: int, headers: Mapping[str, str], body: bytes, lines: bytes, rows: int, taken: Any) -> Answer:
    if status in (200, 400):
        try:
            said = orjson.loads(body)
        except ValueError:
            return Answer(Verdict.AGAIN, words=f"{status} with an answer that is not JSON: {_text(body)}")
        return taken(status, said, lines, rows)
    if status == 413:
        words = f"{status} {words_of(body)}".strip()
        return Answer(Verdict.SPLIT, words=words) if rows > 1 else Answer(Verdict.TAKEN, ((0, words),))
    return of_status(status, headers, body)


def of_status(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """What a status means that does not mention single records: the whole request again after a while, or stop."""
    words = f"{status} {words_of(body)}".strip()
    if status in (408, 429) or status >= 500:
        return Answer(Verdict.AGAIN, words=words, retry_after=_seconds(headers))
    return Answer(Verdict.STOP, words=words)


def _import_taken(status: int, said: Any, lines: bytes, rows: int) -> Answer:
    if not isinstance(said, dict):
        return Answer(
            Verdict.AGAIN, words=f"{status} with an answer that is not an object: {_text(orjson.dumps(said))}"
        )
    imported = said.get("num_records_imported")
    if status == 200:
        if _is_count(imported) and imported == rows and not said.get("failed_records"):
            return Answer(Verdict.TAKEN)
        return Answer(Verdict.AGAIN, words=f"200 with num_records_imported {imported!r} of {rows}")
    return _by_records(said, imported, lines, rows, "$insert_id", "insert_id")


def _engage_taken(status: int, said: Any, lines: bytes, rows: int) -> Answer:
    if status == 200 and said is not True and said == 1:
        return Answer(Verdict.TAKEN)
    if not isinstance(said, dict):
        if said is not False and said == 0:
            return _whole(rows, "0, without a word")
        return Answer(
            Verdict.AGAIN, words=f"{status} with an answer that is neither 0 nor 1: {_text(orjson.dumps(said))}"
        )
    good = next((said[name] for name in ("num_good_events", "num_records_imported") if name in said), None)
    failed, verdict = said.get("failed_records"), said.get("status")
    is_one = verdict is not True and verdict in (1, "1")
    if status == 200 and not failed and not said.get("error") and (is_one or _is_ok(verdict)):
        # Many a proxy says that it is "ok", so that word alone says nothing of these records.
        if (good is None and is_one) or (_is_count(good) and good == rows):
            return Answer(Verdict.TAKEN)
        return Answer(Verdict.AGAIN, words=f"200 with a count of {good!r} of {rows}")
    if status == 200 and not failed and (verdict is None or isinstance(verdict, bool)):
        return Answer(Verdict.AGAIN, words=f"200 with an answer that has no status: {_text(orjson.dumps(said))}")
    return _by_records(said, good, lines, rows, "$distinct_id", "distinct_id")


def _is_ok(verdict: Any) -> bool:
    return isinstance(verdict, str) and verdict.lower() == "ok"


def _by_records(said: dict[str, Any], imported: Any, lines: bytes, rows: int, *keys: str) -> Answer:
    """The refused records of an answer that names them; splits where it does not add up."""
    failed = said.get("failed_records")
    if rows == 1:
        record = failed[0] if isinstance(failed, list) and failed else None
        return Answer(Verdict.TAKEN, ((0, _message(record) or _whole_words(said)),))
    words = _whole_words(said)
    if not isinstance(failed, list) or not failed or not all(isinstance(record, dict) for record in failed):
        return Answer(Verdict.SPLIT, words=words)
    refused: dict[int, str] = {}
    names: dict[str, list[int]] | None = None
    for record in failed:
        named = next((record[key] for key in keys if isinstance(record.get(key), str)), None)
        index = record.get("index")
        if named:
            names = names if names is not None else _names(lines, keys)
            found = names.get(named, [])
            if _is_count(index):
                if found and index not in found:
                    return Answer(Verdict.SPLIT, words=words)  # index and id speak of two records
            elif len(found) == 1:
                index = found[0]
        if not _is_count(index) or not 0 <= index < rows:
            return Answer(Verdict.SPLIT, words=words)
        refused[index] = _message(record) or words
    if not _is_count(imported) or imported + len(refused) != rows or len(refused) != len(failed):
        return Answer(Verdict.SPLIT, words=words)
    return Answer(Verdict.TAKEN, tuple(sorted(refused.items())), words)


def _whole(rows: int, words: str) -> Answer:
    if rows == 1:
        return Answer(Verdict.TAKEN, ((0, words),))
    return Answer(Verdict.SPLIT, words=words)


def _names(lines: bytes, keys: tuple[str, ...]) -> dict[str, list[int]]:
    """Indexes by the id that an answer calls a record by; only asked for where records were refused."""
    found: dict[str, list[int]] = {}
    for index, line in enumerate(lines.splitlines()):
        record = orjson.loads(line)
        name = record.get("properties", record).get(keys[0])
        if isinstance(name, str):
            found.setdefault(name, []).append(index)
    return found


def _message(record: Any) -> str:
    if isinstance(record, str):
        return record[:_LONGEST_WORDS]
    if not isinstance(record, dict):
        return ""
    field, message = record.get("field"), record.get("message")
    return ": ".join(str(part) for part in (field, message) if part)[:_LONGEST_WORDS]


def _whole_words(said: dict[str, Any]) -> str:
    return str(said.get("error") or said.get("status") or "refused without a word")[:_LONGEST_WORDS]


def words_of(body: bytes) -> str:
    """What an answer says of itself, in one line."""
    try:
        said = orjson.loads(body)
    except ValueError:
        return _text(body)
    return _whole_words(said) if isinstance(said, dict) else _text(body)


def _text(body: bytes) -> str:
    return " ".join(body[:_LONGEST_WORDS].decode("utf-8", "replace").split())[:200] or "(nothing)"


def _is_count(value: Any) -> bool:
    return type(value) is int


def _seconds(headers: Mapping[str, str]) -> float | None:
    """Seconds of a header Retry-After, which may be a date; None where there is none, or it is over."""
    text = headers.get("retry-after", "")
    try:
        value = float(text)
    except ValueError:
        then = _moment(text)
        if then is None:
            return None
        # By the other side's clock, where it tells it: ours may be wrong.
        now = _moment(headers.get("date", ""))
        value = then - (time.time() if now is None else now)
    return min(value, _LONGEST_WAIT) if value > 0 else None


def _moment(text: str) -> float | None:
    """UNIX seconds of a date as HTTP writes them."""
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
