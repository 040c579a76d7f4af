"""What the rules of a run let go, on plain dicts (a part of the oracle): a row as it may leave, and an id."""

from __future__ import annotations

import fnmatch
import hmac
import json
import math
from typing import Any, NamedTuple

from tests.oracle.identity import LinkKey, Node, typed
from tests.oracle.values import cut, parse_object, unreserved
from transforms.currents import catalog

PREFIXES = {catalog.CUSTOM_EVENT: "[Custom event property] ", catalog.PURCHASE: "[Purchase property] "}
ID_KINDS = {"user_id": "user_id", "orphaned_by_id": "user_id", "external_user_id": "external_user_id"}
STANDARD = {
    "first_name": "$first_name", "last_name": "$last_name", "email_address": "$email", "phone_number": "$phone",
    "home_city": "$city", "timezone": "$timezone",
}  # fmt: skip
UNMARKED = {
    "message_body", "media_urls", "quick_reply_text", "from_phone_number", "inbound_phone_number",
    "to_phone_number", "user_phone_number", "phone_number", "sending_ip", "user_agent", "bsuid", "native_line_id",
    "from_rcs_sender", "to_rcs_sender", "push_token", "push_to_start_token", "update_token",
    "push_token_device_id", "web_push_token_public_key", "web_push_token_user_auth",
    "web_push_token_vapid_public_key", "raw_response", "retry_log", "endpoint_url", "tool_arguments",
    "answer_long_string", "answer_single_string", "answer_multiple_strings",
}  # fmt: skip
PII_ANYWHERE = {f.name for kind in catalog.event_types().values() for f in kind.fields if "pii" in f.flags}


class Rules(NamedTuple):
    drop: tuple[str, ...] = ()
    hash: tuple[str, ...] = ()
    key: bytes = b""
    withholds_unknown: bool = False

    def hashed(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self.hashed(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self.hashed(item) for item in value]
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            return None
        if isinstance(value, bool):
            value = str(value).lower()
        elif isinstance(value, float) and value == int(value):
            value = int(value)
        return hmac.new(self.key, str(value).encode(), "sha256").hexdigest()[:32]

    def id(self, kind: str, value: str) -> str:
        """An id as it may leave; ``kind`` is the field's name."""
        by_name = kind == "device_id" and self._any(tuple(rule for rule in self.hash if ":" not in rule), [kind])
        return str(self.hashed(value)) if by_name or ID_KINDS.get(kind, kind) in self.hash else value

    def record(self, event_type: str, record: dict[str, Any]) -> dict[str, Any]:
        """A row as it may leave; documents of custom properties and attributes opened where a key of them is ruled."""
        known = catalog.event_types().get(event_type)
        left = {}
        for name, value in record.items():
            if name in ID_KINDS:
                left[name] = self.id(name, value) if value is not None else None
                continue
            names = [name]
            if name not in ("id", "time"):
                marked = known.fields if known is not None else ()
                personal = any(f.name == name and "pii" in f.flags for f in marked)
                if known is None or name not in known.properties:
                    personal = name in PII_ANYWHERE
                sent = (known.properties.get(name) if known else None) or unreserved(name)
                names += [f"{event_type}:{name}"] + ([sent] if event_type != catalog.PROFILE_UPDATE else [])
                if event_type == catalog.PROFILE_UPDATE:
                    names += ["profile:" + name, "profile:" + STANDARD.get(name, name)]
                names += ["pii"] if personal else []
                names += ["pii+"] if name in PII_ANYWHERE or name in UNMARKED else []
                if self.withholds_unknown and known is not None and name not in known.properties:
                    continue
            if name in ("id", "time") or not self._any(self.drop, names):
                is_document = (name == "properties" and event_type in PREFIXES) or (
                    name == "custom_attributes" and event_type == catalog.PROFILE_UPDATE
                )
                if is_document:
                    left[name] = self._document(event_type, value, whole=self._any(self.hash, names))
                elif self._any(self.hash, names) and name not in ("id", "time"):
                    left[name] = self.hashed(value)
                else:
                    left[name] = value
        return left

    def _document(self, event_type: str, text: Any, *, whole: bool) -> Any:
        prefix = PREFIXES.get(event_type, "profile:")
        drop, hashed = self.drop, self.hash
        if prefix == "profile:":  # no other rule names an attribute
            drop, hashed = (tuple(rule for rule in rules if rule.startswith(prefix)) for rules in (drop, hashed))
        rules = [*drop, *hashed]
        if not whole and not any(rule.startswith(prefix) or ("*" in rule and ":" not in rule) for rule in rules):
            return text
        values = parse_object(text)
        left = {}
        for key, value in (values or {}).items():
            names = [prefix + key, cut(prefix + key)]
            names += [prefix + unreserved(key)] if prefix == "profile:" else []
            if not self._any(drop, names):
                left[key] = self.hashed(value) if whole or self._any(hashed, names) else value
        return json.dumps(left) if isinstance(text, str) else left

    @staticmethod
    def _any(rules: tuple[str, ...], names: list[str]) -> bool:
        return any(fnmatch.fnmatchcase(name, rule.replace("[", "[[]")) for rule in rules for name in names)


def veil_identities(
    ids: dict[Node, Any], links: dict[LinkKey, Any], known: dict[Node, str | None], rules: Rules
) -> None:
    """Rename, in place, the nodes of ``identities/``, with the persons and clusters that are named after them."""
    renamed = {node: (node[0], rules.id(*node)) for node in ids}
    clusters: dict[str, list[Node]] = {}
    for node, (_, cluster) in ids.items():
        clusters.setdefault(cluster, []).append(node)
    for members in clusters.values():
        user = next((known[node] for node in members if known[node]), None)
        name = rules.id("external_user_id", user) if user else min(typed(renamed[node]) for node in members).decode()
        for node in members:
            anonymous = "$device:" + renamed[node][1] if node[0] == "user_id" else None
            del ids[node]
            ids[renamed[node]] = (name if user else anonymous, name)
    for (rank, *nodes), evidence in list(links.items()):
        del links[rank, nodes[0], nodes[1]]
        small, large = sorted((renamed[node] for node in nodes), key=typed)
        device = rules.id("device_id", evidence[4]) if evidence[4] is not None else None
        links[rank, small, large] = (*evidence[:4], device)
