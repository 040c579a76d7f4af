"""What stands in the columns of a sample row that do not depend on who sent it, by column name."""

from __future__ import annotations

import json
import random
from typing import Any

from pipelines.sample_export.facts import uuid_text, words
from transforms.currents import catalog

# Columns that come from the presence or from the row itself, not from a script.
PRESENCE_COLUMNS = frozenset(
    words(
        "user_id external_user_id orphaned_by_id device_id push_token_device_id app_group_id app_id platform "
        "os_version device_model timezone gender country language email_address phone_number to_phone_number "
        "user_phone_number channel_identifier ad_id ad_id_type ad_tracking_enabled push_token sdk_version resolution "
        "carrier browser first_name last_name dob home_city native_line_id bsuid"
    )
)
ROW_COLUMNS = frozenset({"id", "time", "time_ms", "session_id"})
ATTRIBUTES = (
    "first_name",
    "last_name",
    "email_address",
    "gender",
    "dob",
    "timezone",
    "home_city",
    "country",
    "language",
)
CANVAS_COLUMNS = words(
    "canvas_id canvas_name canvas_variation_id canvas_variation_name canvas_step_id canvas_step_name "
    "canvas_step_message_variation_id canvas_api_id canvas_variation_api_id canvas_step_api_id"
)
CAMPAIGN_COLUMNS = ("campaign_id", "campaign_name", "message_variation_id", "message_variation_name")

WORDS: dict[str, tuple[str, ...]] = {
    "abort_type": ("liquid_abort_message", "quiet_hours", "rate_limit", "frequency_cap"),
    "abort_log": ("{% abort_message('no offers') %}", "Quiet hours", "Rate limit exceeded"),
    "action": ("OTHER", "STOP", "START", "HELP"),
    "activity_attributes_type": ("DeliveryAttributes", "MatchAttributes"),
    "agent_name": ("Copy writer", "Offer picker"),
    "bounce_reason": ("550 5.1.1 The email account that you tried to reach does not exist", "452 4.2.2 Mailbox full"),
    "button_action_type": ("URI", "CLOSE", "DEEP_LINK"),
    "button_string": ("Shop now", "Not now", "¡Vamos!"),
    "category": ("marketing", "utility"),
    "channel": ("email", "sms", "push"),
    "conversion_behavior": ('{"type":"Starts Session","window":259200}', '{"type":"Makes Purchase","window":86400}'),
    "currency": ("USD", "EUR", "GBP", "JPY"),
    "deferral_reason": ("421 4.7.0 Try again later",),
    "device_class": ("mobile", "desktop", "tablet"),
    "device_os": ("iOS", "Android", "Windows", "Mac OS X"),
    "element_type": ("button", "image"),
    "error": ("Undelivered", "Carrier rejected the message"),
    "esp": ("SPARKPOST", "SENDGRID", "AMAZON_SES"),
    "experiment_split_name": ("Path 1", "Path 2", "Control"),
    "feature_flag_id_name": ("new_checkout", "dark_mode"),
    "from_domain": ("news.example.com", "mail.example.com"),
    "interaction_type": ("suggested_reply", "url"),
    "ip_pool": ("marketing", "transactional"),
    "live_activity_event_outcome": ("delivered", "failed"),
    "live_activity_event_type": ("start", "update", "end"),
    "machine_open": ("true",),
    "mailbox_provider": ("gmail", "apple", "outlook"),
    "message_body": ("Thanks!", "STOP", "Quand arrive ma commande ?", "👍"),
    "message_extras": (
        '{"promo":"SPRING","tier":2,"test":false}',
        '{"template":"t-81","slots":["a","b"]}',
        "message_extras",
    ),
    "model_provider": ("openai", "anthropic"),
    "name": (
        *words(
            "added_to_cart viewed_product search wishlist_add signup_started Level$Completed review_written "
            "video_play checkout_started coupon_applied"
        ),
        "Opened settings",
        "Añadido al carrito",
        "商品を見た",
    ),
    "product_id": ("sku-1001", "sku-1002", "sku-2040", "gift card", "プレミアム"),
    "progression_type": ("path_split", "advance", "exit"),
    "provider_error_title": ("Message undeliverable", "Re-engagement message"),
    "push_token_state_change_type": ("add", "remove"),
    "recipient_domain": ("gmail.com", "icloud.com", "example.org"),
    "retry_type": ("rate_limited", "provider_error"),
    "source": ("facebook", "google", "organic"),
    "state_change_source": ("sdk", "rest_api", "preference_center"),
    "subscription_status": ("Subscribed", "Unsubscribed", "OptedIn"),
    "tool_arguments": ('{"sku":"sku-1001","limit":5}', "{}"),
    "update_source": ("REST", "SDK", "CSV"),
    "user_agent": (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
        "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/132.0.0.0 Mobile",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/133.0.0.0",
    ),
    "url": (
        "https://shop.example.com/spring?utm_source=braze&utm_medium=message&utm_campaign=spring",
        "https://shop.example.com/product/sku-1001?ref=newsletter",
        "https://shop.example.com/p?q=caf%C3%A9",
    ),
    "version": ("7.2.0",),
}
RANGES: dict[str, tuple[float, float]] = {
    "latitude": (-55, 68), "longitude": (-180, 180), "altitude": (0, 900), "ll_accuracy": (3, 80),
    "alt_accuracy": (3, 30), "random_bucket_number": (0, 9999), "prev_random_bucket_number": (0, 9999),
    "http_status_code": (400, 504), "conversion_behavior_index": (0, 3), "attempt_count": (1, 5),
    "push_token_created_at": (1740000000, 1770000000), "push_token_updated_at": (1740000000, 1770000000),
}  # fmt: skip
PRICES = (3.14, 9.99, 19.95, 0.99, 249.0, 1299.5, 0.1, 4.2)
NULL_SHARE = {"machine_open": 0.65, "archived": 0.95}
HEX_COLUMNS = frozenset({"send_id", "dispatch_id", "content_optimizer_step_id", "card_id"})


def _nested(depth: int) -> Any:
    return {"level": depth, "next": _nested(depth - 1)} if depth else {"end": True}


# Texts in ``properties`` that a job must survive: no objects, numbers that JSON has not, all of Mixpanel's limits.
ODD_PROPERTIES = (
    "[1, 2, 3]", '"just text"', "17", "null", "", "   ", "not json", '{"cut": tru', "NaN",
    '{"score": NaN, "ratio": Infinity, "ok": 1}',
    json.dumps({"deep": _nested(6)}),
    json.dumps({"long": "x" * 9000, "list": ["y" * 40] * 250}),
    json.dumps({"many": {f"k{n}": n for n in range(300)}}),
    json.dumps({f"key {n:03d}": n for n in range(300)}),
    json.dumps({"$city": "Lyon", "time": 5, "mp_lib": "web", "distinct_id": "x", "$ümlaut": "ß"}, ensure_ascii=False),
    json.dumps({"名前": "値", "emoji": "🛒", "nul": "a\u0000b", "long " * 60: 1}, ensure_ascii=False),
    '{"twice": 1, "twice": 2, "big": 123456789012345678901234567890, "empty": null}',
)  # fmt: skip


class Values:
    """Draws templates: all columns of a row of some type but those of the presence and the row itself."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._properties = [self._property_text() for _ in range(500)]
        self._campaigns = [self._campaign(number) for number in range(40)]
        self._canvases = [self._canvas(number) for number in range(25)]

    def context(self, kind: str) -> dict[str, Any]:
        """What the rows of one script share: a campaign or a Canvas, never both; ``plain``: neither.

        Names lag behind edits, so a new campaign's are null for a while.
        """
        if kind == "message":
            kind = "campaign" if self._rng.random() < 0.6 else "canvas"
        context: dict[str, Any] = dict.fromkeys((*CANVAS_COLUMNS, *CAMPAIGN_COLUMNS))
        if kind != "plain":
            choices = self._campaigns if kind == "campaign" else self._canvases
            context |= self._rng.choices(choices, [1 / (rank + 1) for rank in range(len(choices))])[0]
            context |= {"dispatch_id": self._hex(), "send_id": self._hex() if kind == "campaign" else None}
            if self._rng.random() < 0.06:
                context |= {column: None for column in context if column.endswith("_name")}
        return context

    def context_for(self, event_type: str) -> dict[str, Any]:
        """The context that a row of this type has when it stands alone."""
        columns = catalog.event_types()[event_type].properties
        if event_type.startswith(("users.canvas", "agentconsole.")):
            return self.context("canvas")
        if event_type.startswith("users.campaigns."):
            return self.context("campaign")
        return self.context("message" if "campaign_id" in columns else "plain")

    def template(self, event_type: str, context: dict[str, Any]) -> dict[str, Any]:
        fields = catalog.event_types()[event_type].fields
        if any(not f.type.endswith("?") and context.get(f.name, "") is None for f in fields):
            context = {**context, **self.context_for(event_type)}
        template = {
            f.name: context[f.name] if f.name in context else self._value(f)
            for f in fields
            if f.name in context or f.name not in PRESENCE_COLUMNS | ROW_COLUMNS
        }
        if event_type == catalog.PROFILE_UPDATE:
            # A null attribute is one that this update does not touch.
            template |= {name: None for name in ATTRIBUTES if self._rng.random() < 0.6}
            template.setdefault("custom_attributes", None)
        elif event_type == catalog.CUSTOM_EVENT and self._rng.random() < 0.003 and "properties" not in context:
            template["properties"] = self._rng.choice(ODD_PROPERTIES)
        return template

    def _value(self, field: catalog.Field) -> Any:
        rng, name, kind = self._rng, field.name, field.type.rstrip("?")
        if field.type.endswith("?") and rng.random() < NULL_SHARE.get(name, 0.9 if name.startswith("web_") else 0.2):
            return None
        if name in ("properties", "custom_attributes"):
            return rng.choice(self._properties)
        if name == "price":
            return rng.choice(PRICES)
        if name in WORDS:
            return rng.choice(WORDS[name])
        if kind == "boolean":
            return rng.random() < 0.3
        if kind in ("int", "long"):
            return int(rng.uniform(*RANGES.get(name, (10, 4000))))
        if kind in ("float", "double"):
            return round(rng.uniform(*RANGES.get(name, (1, 900))), 4)
        if kind.startswith("array"):
            return rng.choice([["https://media.example.com/1.jpg", None] if "?" in kind else ["ip", "user_agent"], []])
        if "phone" in name or name.endswith("_sender"):
            return f"+1555{rng.randrange(10**7):07d}"
        if name in HEX_COLUMNS:
            return self._hex()
        if name.endswith(("_id", "_token")):
            return self._uuid()
        return f"{name.replace('_', ' ')} {rng.randrange(100)}"

    def _property_text(self) -> str:
        rng = self._rng
        choices: dict[str, Any] = {
            "category": rng.choice(["shoes", "garden", "books", "Elektronik", "食品"]),
            "price": rng.choice(PRICES),
            "quantity": rng.randint(1, 5),
            "in_stock": rng.random() < 0.8,
            "coupon": rng.choice([None, "SPRING10", "VIP"]),
            "tags": rng.sample(["new", "sale", "eco", "last piece", "gift"], 2),
            "added_at": f"2026-02-{rng.randint(1, 28):02d}T08:30:00.000Z",
            "referrer": rng.choice(["newsletter", "search", "push", "direct"]),
            "cart": {"items": [{"sku": f"sku-{rng.randint(1000, 9999)}", "n": rng.randint(1, 3)}], "total": 42.5},
            "screen": f"Screen {rng.randint(1, 40)}",
            "rank": rng.randint(1, 1000),
            "$source": "app",
        }
        keys = rng.sample(sorted(choices), rng.choices(range(10), [2, 1, 3, 5, 6, 5, 4, 3, 2, 1])[0])
        return json.dumps({key: choices[key] for key in keys}, ensure_ascii=False)

    def _campaign(self, number: int) -> dict[str, Any]:
        name = f"{self._rng.choice(['Spring sale', 'Win back', 'Welcome', 'Größen-Alarm', 'Weekly digest'])} {number}"
        variation = self._rng.choice(["Variant 1", "Variant 2", "Control"])
        return dict(zip(CAMPAIGN_COLUMNS, (self._uuid(), name, self._uuid(), variation), strict=True))

    def _canvas(self, number: int) -> dict[str, Any]:
        return {
            "canvas_id": self._uuid(), "canvas_name": f"Onboarding {number}", "canvas_variation_id": self._uuid(),
            "canvas_variation_name": "Variant A", "canvas_step_id": self._uuid(), "canvas_step_name": f"Day {number}",
            "canvas_step_message_variation_id": self._uuid(),
        }  # fmt: skip

    def _hex(self) -> str:
        return f"{self._rng.getrandbits(96):024x}"

    def _uuid(self) -> str:
        return uuid_text(self._rng.getrandbits(128).to_bytes(16, "big"))
