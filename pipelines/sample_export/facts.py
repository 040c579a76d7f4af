"""The facts of people and devices: names, addresses, places, models, and the ids of apps and workspace."""

from __future__ import annotations

from typing import Any

import numpy as np

APP_GROUP_ID = "5b7c1e0a-3d52-4e7b-9a51-60f4c0d9a311"
APPS = {
    "ios": "2f9a6c1e-77b0-4d5b-8a3e-0c1d2e3f4a51",
    "android": "8c4d0b7f-15e2-4f0a-b6c9-7d8e9fa0b162",
    "web": "d1e2f3a4-b5c6-4789-90ab-cdef01234573",
}


def words(text: str) -> tuple[str, ...]:
    """The words of a text: shorter to read than a list of strings."""
    return tuple(text.split())


FIRST = words("Ada Noor Luca Mei João Zoë Ivan Aisha Kenji Olga Émile Priya Sam Nia Björn Yuki Tariq Lena Hugo Ines")
LAST = words("Novak Silva Tanaka Müller Okafor Rossi Khan Larsen Dubois Ivanova García Chen Haddad O'Neil Kowalska")
PLACES = (
    ("Europe/Berlin", "DE", "de", "Köln"), ("America/New_York", "US", "en", "Boston"),
    ("Asia/Tokyo", "JP", "ja", "大阪"), ("America/Sao_Paulo", "BR", "pt", "São Paulo"),
    ("Europe/Paris", "FR", "fr", "Lyon"), ("Asia/Kolkata", "IN", "en", "Pune"),
)  # fmt: skip
MODELS = {
    "ios": (("iPhone15,2", "18.3", "1179x2556"), ("iPad13,4", "17.6", "1668x2388")),
    "android": (("Pixel 9", "Android 15 (35)", "1080x2424"), ("SM-S921B", "Android 14 (34)", "1080x2340")),
    "web": (("Mac", "10.15.7", "1440x900"), ("Windows", "10.0", "1920x1080")),
}


class PersonFacts:
    """Draws the facts of people and devices."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def person(self, number: int) -> dict[str, Any]:
        """``name``, ``external_user_id`` and the columns of rows of a known and of an anonymous profile."""
        first_at, last_at, place_at, shape, digits = self._rng.integers(0, 2**31, 5).tolist()
        first, last = FIRST[first_at % len(FIRST)], LAST[last_at % len(LAST)]
        timezone, country, language, city = PLACES[place_at % len(PLACES)]
        handle, phone = f"{first}.{last}{number}".casefold(), f"+1555{digits % 10**7:07d}"
        external = (f"u{100000 + number}", f"{handle}@example.com", f"Cust-{number:08X}", f"客户{number}")[
            (0, 0, 0, 0, 1, 1, 2, 2, 2, 3)[shape % 10]
        ]
        somewhere = {"app_group_id": APP_GROUP_ID, "timezone": timezone, "country": country, "language": language}
        known = {
            **somewhere,
            "gender": (None, "F", "M", "O")[shape % 4],
            "email_address": f"{handle}@example.com",
            "channel_identifier": f"{handle}@example.com",
            "phone_number": phone,
            "to_phone_number": phone,
            "user_phone_number": phone,
            "first_name": first,
            "last_name": last,
            "home_city": city,
            "dob": f"{1950 + digits % 55}-{1 + digits % 12:02d}-{1 + digits % 28:02d}T00:00:00.000Z",
            "native_line_id": f"U{digits:032x}",
            "bsuid": None,
        }
        name = f"{first} {last} {number}"
        return {"name": name, "external_user_id": external, "known": known, "anonymous": somewhere}

    def device(self, device_id: str | None = None) -> dict[str, Any]:
        raw = self._rng.bytes(32)
        platform = ("ios", "android", "android", "web")[raw[16] % 4]
        model, system, resolution = MODELS[platform][raw[17] % 2]
        own = device_id or uuid_text(raw[:16])
        return {
            "device_id": own,
            "push_token_device_id": own,
            "app_id": APPS[platform],
            "platform": platform,
            "device_model": model,
            "os_version": system,
            "resolution": resolution,
            "carrier": None if platform == "web" else ("Telekom", "Verizon", "Vivo")[raw[18] % 3],
            "browser": "Chrome" if platform == "web" else None,
            "sdk_version": "12.0.1",
            "push_token": None if platform == "web" else raw.hex(),
            "ad_id": uuid_text(raw[16:]) if platform == "android" else None,
            "ad_id_type": "google_ad_id" if platform == "android" else None,
            "ad_tracking_enabled": platform == "android",
        }


def uuid_text(raw: bytes) -> str:
    """The version 4 UUID made from 16 bytes."""
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"
