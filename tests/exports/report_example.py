"""An example report as a run writes it, and the same with hostile text in every place that an export can reach."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator
from itertools import cycle
from typing import Any

from transforms.currents.catalog import PROFILE_UPDATE
from transforms.report import what_it_costs, what_leaves

_WITHHELD = ("left_to_native", "excluded", "anonymous_profile", "deleted_user")
NOW = 1763780000  # 2025-11-22T02:53:20Z
OUTCOMES = (
    "events", "repeats", "rejects", "identity_only", "not_exported", "profile_updates", "deletions", "withheld",
)  # fmt: skip

# type: (events, of which anonymous, repeats, rejects, withheld)
_EVENT_TYPES = {
    "users.behaviors.app.SessionStart": (412_480, 96_211, 812, 3, 9_120),
    "users.behaviors.app.SessionEnd": (398_022, 93_870, 790, 0, 8_961),
    "users.behaviors.CustomEvent": (361_907, 71_034, 1_204, 41, 7_733),
    "users.messages.pushnotification.Send": (288_410, 20_118, 96, 0, 4_100),
    "users.messages.email.Delivery": (241_377, 2_904, 71, 0, 3_322),
    "users.messages.email.Send": (240_990, 2_911, 70, 0, 3_318),
    "users.messages.email.Open": (118_022, 1_310, 455, 0, 1_704),
    "users.messages.inappmessage.Impression": (96_411, 24_800, 133, 0, 1_299),
    "users.messages.contentcard.Impression": (81_630, 18_022, 90, 0, 1_011),
    "users.messages.pushnotification.Open": (40_288, 2_977, 35, 0, 612),
    "users.campaigns.EnrollInControl": (33_914, 4_012, 0, 0, 477),
    "users.canvas.Entry": (31_050, 3_620, 4, 0, 433),
    "users.behaviors.Purchase": (28_764, 1_140, 61, 18, 402),
    "users.messages.email.Click": (22_817, 201, 40, 0, 315),
    "users.messages.inappmessage.Click": (14_266, 3_511, 21, 0, 190),
    "users.messages.contentcard.Click": (9_318, 1_960, 12, 0, 133),
    "users.messages.webhook.Send": (8_800, 702, 0, 0, 121),
    "users.messages.pushnotification.Bounce": (6_911, 1_807, 0, 0, 98),
    "users.messages.sms.Send": (5_630, 44, 0, 0, 71),
    "users.messages.sms.Delivery": (5_402, 41, 0, 0, 70),
    "users.canvas.Conversion": (3_811, 190, 0, 0, 40),
    "users.behaviors.Uninstall": (2_904, 1_022, 0, 0, 33),
    "users.messages.email.Unsubscribe": (611, 12, 0, 0, 9),
    "users.messages.readreceipt.ReadReceipt": (418, 60, 0, 0, 0),
}
_OTHER_TYPES = {
    "users.UserOrphan": ("identity_only", 6_218),
    "users.profile.Update": ("profile_updates", 118_004),
    "users.UserDeleteRequest": ("deletions", 312),
    "agentconsole.AgentExecuted": ("not_exported", 1_906),
    "users.RandomBucketNumberUpdate": ("not_exported", 4_400),
}


def _split(total: int, weights: list[float]) -> list[int]:
    """Returns whole numbers in the proportion of ``weights`` that add up to ``total``."""
    parts = [int(total * weight / sum(weights)) for weight in weights]
    parts[-1] += total - sum(parts)
    return parts


def _rows_by_type() -> dict[str, dict[str, int]]:
    by_type = {}
    for kind, (events, _, repeats, rejects, withheld) in _EVENT_TYPES.items():
        counts = dict.fromkeys(OUTCOMES, 0) | {
            "events": events, "repeats": repeats, "rejects": rejects, "withheld": withheld,
        }  # fmt: skip
        by_type[kind] = {"read": sum(counts.values()), **counts}
    for kind, (outcome, amount) in _OTHER_TYPES.items():
        by_type[kind] = {"read": amount, **dict.fromkeys(OUTCOMES, 0), outcome: amount}
    by_type["users.profile.Update"]["withheld"] = 2_710
    by_type["users.profile.Update"]["read"] += 2_710
    return by_type


def _persons(events: int, anonymous: int, share: float) -> dict[str, int]:
    known = round((events - anonymous) * share)
    return {
        "known": known // 9, "anonymous": round(anonymous * share) // 4,
        "events_known": known, "events_anonymous": round(anonymous * share),
    }  # fmt: skip


def example() -> dict[str, Any]:
    """Returns the report of a published run over 60 days; its figures agree with each other."""
    by_type = _rows_by_type()
    rows = {name: sum(counts[name] for counts in by_type.values()) for name in ("read", *OUTCOMES)}
    anonymous = sum(counts[1] for counts in _EVENT_TYPES.values())
    days = [datetime.date(2025, 9, 23) + datetime.timedelta(days=n) for n in range(60)]
    weights = [1 + 0.006 * n + 0.3 * math.sin(n * 2 * math.pi / 7) + (1.4 if n in (41, 42) else 0) for n in range(60)]
    known_days = _split(rows["events"] - anonymous, weights)
    anonymous_days = _split(anonymous, [1.6 - 0.012 * n + 0.2 * math.sin(n * 2 * math.pi / 7) for n in range(60)])
    files = "dataexport.prod-01.S3.integration.64f1"
    return {
        "status": "published",
        "title": "Currents to Mixpanel: 60 days to 21 November 2025",
        "command": "currents-to-mixpanel --input exports/currents --output out/2025-11-22 --native_since 2025-11-20 "
        "--exclude_events '*Session End*' --tag backfill-2025-11",
        "versions": {"currents-to-mixpanel": "1.0.0", "apache-beam": "2.77.0", "python": "3.11.7"},
        "flags": {
            "input": ["exports/currents"], "output": "out/2025-11-22", "id_merge": "simplified", "device_links": "sole",
            "anonymous": "all", "native_since": "2025-11-20T00:00:00Z", "exclude_events": ["*Session End*"],
            "properties": "native", "deleted_users": "drop", "tag": "backfill-2025-11", "users_share": 1.0,
        },
        "now": NOW,
        "rows": rows,
        "rows_by_type": by_type,
        "withheld": dict(zip(_WITHHELD, _split(rows["withheld"], [70, 22, 6, 2]), strict=True)),
        "withheld_by_type": {
            kind: {"left_to_native": counts["withheld"]} for kind, counts in by_type.items() if counts["withheld"]
        },
        "rejects": {"time_invalid": 44, "missing_id": 12, "event_too_large": 6},
        "reject_examples": [
            {"reason": "time_invalid", "detail": "time [4102444800] is later than the clock of the run + 1 h",
             "file": f"{files}/event_type=users.behaviors.CustomEvent/date=2025-10-02-14/431/part-0007.avro",
             "row": 118, "event_type": "users.behaviors.CustomEvent", "id": "3f0d4a52-58a1-4b2e-9a41-0f1d6f1f7c11"},
            {"reason": "missing_id", "detail": "id is null", "row": 0, "id": None,
             "file": f"{files}/event_type=users.behaviors.Purchase/date=2025-10-19-03/431/part-0001.avro",
             "event_type": "users.behaviors.Purchase"},
        ],
        "damaged": {
            "files": 3, "blocks": 2, "whole_files": 1, "rows_lost": 1_204, "examples": [
                {"file": f"{files}/event_type=users.canvas.Entry/date=2025-10-07-22/431/part-0003.avro", "block": 4,
                 "reason": "block_undecodable", "detail": "deflate: invalid distance too far back", "rows_lost": 1000},
                {"file": "archive/2025-10.avro", "block": None, "reason": "gzip_of_avro", "rows_lost": None,
                 "detail": "the file is a gzip of an Avro file: decompress it"},
            ],
        },
        "files": {"read": 17_280, "bytes": 1_482_330_112},
        "listing": {
            "read_until": 1_763_769_600,
            "not_read": {
                "hidden": {"files": 31, "bytes": 3_720, "example": f"{files}/._part-0001.avro"},
                "other_name": {"files": 2, "bytes": 81_204, "example": "archive/2025-09.avro.gz"},
                "unfinished_hour": {"files": 12, "bytes": 901_000, "example": f"{files}/date=2025-11-22-00/1.avro"},
            },
            "hidden_avro": 30,
            "unreadable_dates": {"files": 1, "example": "date=today/1.avro"},
        },
        "units": 41,
        "coverage": {
            "first_hour": "2025-09-20T00:00Z", "last_hour": "2025-11-21T23:00Z", "files_without_hour": 3,
            "gaps_found": 2,
            "gaps": [
                {"event_type": None, "from": "2025-10-01T04:00Z", "until": "2025-10-08T11:00Z", "hours": 175},
                {"event_type": "users.messages.email.Open", "from": "2025-11-01T04:00Z", "until": "2025-11-03T04:00Z",
                 "hours": 48},
            ],
            "by_type": {"users.messages.email.Open": {
                "first_hour": "2025-09-20T00:00Z", "last_hour": "2025-11-21T23:00Z", "hours_with_files": 1_300,
            }},
        },
        "type_conflicts": {
            "files": 2,
            "examples": [
                {"file": f"{files}/event_type=users.canvas.Entry/date=2025-10-09-09/431/a.avro",
                 "path_type": "users.canvas.Entry", "schema_type": "users.messages.email.Open",
                 "taken_as": "users.messages.email.Open"},
            ],
        },
        "unknown_types": {
            "users.messages.readreceipt.ReadReceipt": {"sent_as": "Readreceipt Read Receipt", "rows": 418},
        },
        "unknown_columns": {"users.canvas.Entry": {"entry_source": 31_050, "canvas_entry_batch": 8_100}},
        "limits": {
            "nested_as_text": {"[Braze Custom Event] Cart updated": {"[Custom event property] items": 812}},
            "keys_cut": {}, "events_cut": {}, "key_collisions": {}, "properties_not_json": {},
            "properties_left_out": {"[Braze Custom Event] Debug dump": {"[Custom event property] z_order": 6}},
            "not_finite": {"[Braze Custom Event] Price seen": {"[Custom event property] ratio": 90}},
        },
        "identity": {
            "profiles": 184_220, "known_users": 101_733, "devices": 211_090, "clusters": 160_914,
            "clusters_by_size": {"1": 21_480, "2": 58_912, "3-5": 69_007, "6-10": 10_804, "11-100": 711, ">100": 0},
            "links": {"accepted": 306_129, "redundant": 41_077, "refused": 2, "contested": 6_310, "quarantined": 4_120},
            "profiles_known_through": {"own": 104_810, "profile": 5_902, "device": 14_317},
            "anonymous_profiles": 59_191,
            "contested_devices": 2_604,
            "contested_examples": [
                {"device_id": "kiosk-berlin-04", "known_users": ["cust-100233", "cust-104810", "cust-118004"]},
                {"device_id": "d1f7a2e0-52c9-43a1-8a55-6b1f0c5f2e9a", "known_users": ["cust-220011", "cust-220012"]},
            ],
            "quarantined_devices": 3,
            "quarantined_examples": [{"device_id": "test-device", "profiles": 1_377}],
            "refused_examples": [
                {"a_type": "user_id", "a": "5f9c01d2e4b0a1c3d5e7f901",
                 "b_type": "user_id", "b": "5f9c01d2e4b0a1c3d5e7f9aa",
                 "known_users": ["cust-100233", "cust-271828"], "time": 1_760_003_122,
                 "event_id": "9a41b3c2-77aa-4c1e-8a10-2a0b8c1f0c3d",
                 "file": f"{files}/event_type=users.UserOrphan/date=2025-10-09-09/431/part-0000.avro"},
            ],
            "renamed_profiles": 1,
            "renamed_examples": [{"user_id": "5f9c01d2e4b0a1c3d5e7f901", "external_user_ids": ["cust-1", "cust-2"]}],
            "crowd_external_ids": 1,
            "crowd_examples": [{"external_user_id": "no-reply@example.org", "profiles": 4_071}],
            "crowd_ids": "keep",
            "external_ids_left_out": {"anonymous_prefix": {"$device:0a1b": 7}, "nobody": {"guest": 1_204, "NaN": 3}},
            "device_links": "sole", "device_stay": None, "id_merge": "simplified",
            "device_policies": {
                "orphans_since": 1_758_600_000, "judged_profiles": 9_120, "rows_on_busy_devices": 0.042,
                "table": [
                    _policy("none", None, (0, 0, 41_020, 3), (0, 0, 2_410, 0)),
                    _policy("sole", None, (21_402, 236_451, 1_204, 12), (2_301, 22, 87, 4_001)),
                    _policy("first", None, (23_012, 251_200, 61, 31), (2_310, 41, 59, 4_410)),
                    _policy("next", 1.0, (9_801, 98_442, 30_110, 4), (1_204, 2, 1_204, 1_902)),
                    _policy("next", 7.0, (16_004, 171_090, 24_003, 5), (1_907, 9, 494, 3_110)),
                    _policy("next", 30.0, (18_450, 199_301, 20_440, 6), (2_104, 14, 292, 3_604)),
                ],
            },
            "score": {"precision": 0.99987, "recall": 0.9312, "pairs": 88_120},
        },
        "persons": {
            "by_month": {
                month: _persons(rows["events"], anonymous, part)
                for month, part in (("2025-09", 0.11), ("2025-10", 0.52), ("2025-11", 0.37))
            },
            "by_type": {kind: _persons(counts[0], counts[1], 1) for kind, counts in _EVENT_TYPES.items()},
        },
        "events_by_day": {
            day.isoformat(): {"known": known, "anonymous": unknown}
            for day, known, unknown in zip(days, known_days, anonymous_days, strict=True)
        },
        "gain": {
            "native_rows": 1_893_204, "anonymous_rows": 588_930, "rows_joined_to_known": 236_451,
            "profiles_made_known": 20_219, "persons_with_earlier_history": 17_044, "median_days_earlier": 3.4,
            "known_rows_of_other_types": 71_004, "persons_native_never_sends": 301,
        },
        "cost": what_it_costs.figures(_COST, {kind: {"events": sum(counts)} for kind, counts in _EVENT_TYPES.items()}),
        "deletions_known_since": None,
        "what_leaves": what_leaves.figures(_LEAVES, {"drop": ["pii"], "hash": ["user_id"]}),
        "timing": {
            "seconds": {"discover": 0.42, "narrow pass": 6.1, "resolve": 2.4, "wide pass": 11.9, "publish": 0.81},
            "wall_seconds": 22.8, "rows_per_second": 116_400, "peak_memory_bytes": 612_000_000,
            "largest_shuffle_element_bytes": 2_310_004, "shuffled": {"links": {"elements": 41, "bytes": 9_310_004}},
        },
        "outputs": [
            {"path": "events/part-00000.ndjson.gz", "rows": 1_230_004, "bytes": 98_220_131},
            {"path": "events/part-00001.ndjson.gz", "rows": 1_224_149, "bytes": 97_011_400},
            {"path": "identities/ids-00000.parquet", "rows": 497_043, "bytes": 18_400_220},
        ],
        "warnings": [
            "3 files are damaged and 1,204 rows lost: see Damaged files.",
            "1 event type is newer than the catalogue: users.messages.readreceipt.ReadReceipt.",
        ],
    }  # fmt: skip


def _policy(
    policy: str, stay: float | None, gains: tuple[int, int, int, int], verdicts: tuple[int, int, int, int]
) -> dict[str, Any]:
    names = ("profiles", "rows", "devices_left_out", "largest_cluster", "confirmed", "contradicted", "missed",
             "unconfirmed")  # fmt: skip
    figures = dict(zip(names, (*gains, *verdicts), strict=True))
    return {"device_links": policy, "device_stay": stay, "chosen": policy == "sole", **figures}


HOSTILE = (
    "<script>window.pwned=1;alert(1)</script>",
    "\"><img src=http://evil.example/x.png onerror='window.pwned=1'>",
    "' onmouseover='window.pwned=1' x='",
    "</style></title></svg></table><script src=//evil.example/x.js></script>",
    "<svg onload=window.pwned=1><a href=javascript:alert(1)>here</a></svg>",
    "<meta http-equiv=refresh content='0;url=http://evil.example/'>",
    "<link rel=stylesheet href=http://evil.example/x.css>-->]]>",
    "N" * 10_000,
    "invoice\u202egpj.exe\u2066\u200e",
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 123",
    "null\x00 bell\x07 escape\x1b[31m newline\n tab\t",
    "lone \ud800 surrogate \udfff and \uffff",
    "&lt;b&gt; &amp; {{7*7}} ${x} %s",
    "",
    "  ",
)


_COST = {
    "events": {"2025-10": {"users.messages.email.Open": {"Email Open": {"known": 7, "anonymous": 2}}}},
    "persons": {
        "2025-10": {"as_it_is": {"persons": {"known": 3, "anonymous": 1}, "billed": {"known": 2, "anonymous": 1}}}
    },
}
_LEAVES = {
    "rows": {"users.messages.email.Open": 9, PROFILE_UPDATE: 4},
    "sent": {
        "users.messages.email.Open": {"user_id": {"$device_id": 9}},
        PROFILE_UPDATE: {"custom_attributes": {"plan": 3}},
    },
    "drop": {"users.messages.email.Open": {"email_address": {"email_address": 8}}},
    "rules": {"pii": 8, "user_id": 9},
    "looks": {"email": {"plan": 2}},
}


def hostile() -> dict[str, Any]:
    """Returns the example with its free text replaced, and hostile names added where a key is free text."""
    report = _poisoned(example(), cycle(HOSTILE))
    report["now"] = NOW
    spare = dict.fromkeys(OUTCOMES, 0)
    report["rows_by_type"] |= {name: {"read": 0, **spare} for name in HOSTILE}
    for name in HOSTILE:  # with events, so that the charts show them too
        report["rows_by_type"][name] = {"read": 900_000, **spare, "events": 900_000}
        report["rows"]["read"] += 900_000
        report["rows"]["events"] += 900_000
    report["withheld_by_type"] |= {name: {"excluded": 3} for name in HOSTILE}
    report["unknown_types"] |= {name: {"sent_as": name, "rows": 1} for name in HOSTILE}
    report["unknown_columns"] |= {name: dict.fromkeys(HOSTILE, 1) for name in HOSTILE}
    report["limits"]["nested_as_text"] |= {name: dict.fromkeys(HOSTILE, 5) for name in HOSTILE}
    report["limits"]["events_cut"] |= {name: {name: 5} for name in HOSTILE}
    for section in ("clusters_by_size", "score", "profiles_known_through"):
        report["identity"][section] |= dict.fromkeys(HOSTILE, 2)
    report["persons"]["by_month"] |= {name: _persons(90, 9, 1) for name in HOSTILE}
    report["persons"]["by_type"] |= {name: _persons(90, 9, 1) for name in HOSTILE}
    report["events_by_day"] |= {name: {"known": 1, "anonymous": 1} for name in HOSTILE}
    (month,) = report["cost"]["by_month"].values()
    month["events_by_name"] |= dict.fromkeys(HOSTILE, 5)
    report["cost"]["by_month"] |= {name: dict(month) for name in HOSTILE}
    report["what_leaves"]["rules"] |= dict.fromkeys(HOSTILE, 5)
    report["what_leaves"]["looks_personal"] |= {name: dict.fromkeys(HOSTILE, 5) for name in HOSTILE}
    report["flags"] |= {name: name for name in HOSTILE}
    report["versions"] |= {name: name for name in HOSTILE}
    report["timing"]["seconds"] |= dict.fromkeys(HOSTILE, 1.5)
    report["warnings"] = list(HOSTILE)
    return report


def _poisoned(value: Any, texts: Iterator[str]) -> Any:
    if isinstance(value, dict):
        return {name: _poisoned(inner, texts) for name, inner in value.items()}
    if isinstance(value, list):
        return [_poisoned(inner, texts) for inner in value]
    return next(texts) if isinstance(value, str) else value
