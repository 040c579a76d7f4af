"""What stands in the report's markup: text made inert, figures with units.

Everything from an export passes through `shortened`: event names, ids and paths are chosen by whoever wrote the rows.
"""

from __future__ import annotations

import datetime
import html
import math
import re
import unicodedata
from collections.abc import Mapping

LONGEST_TEXT = 120

_BREAKS = re.compile(r"[^\s./_=-]{1,32}[\s./_=-]*|[\s./_=-]+")
_JOINERS = "\u200c\u200d"  # Persian words and composed emoji need them


class Html(str):
    """Text that is markup already and is not escaped again."""

    def __html__(self) -> str:
        """What Jinja2 asks of markup."""
        return str(self)


def _visible(character: str) -> str:
    """Returns the character, or a sign for one that would hide, reorder or break the text around it."""
    category = unicodedata.category(character)
    code = ord(character)
    noncharacter = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    if character in _JOINERS or not (category in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") or noncharacter):
        return character
    return f"⟨U+{code:04X}⟩"


def shortened(value: object, limit: int = LONGEST_TEXT) -> str:
    """Returns ``value`` as plain visible text of about ``limit`` characters; both ends stay, as paths need them.

    Where there is room, the length of a shortened text follows it. Control and bidirectional characters and lone
    surrogates become visible signs, so the result encodes as UTF-8.
    """
    whole = value if isinstance(value, str) else str(value)
    if not whole or whole.isspace():
        return "(blank)" if whole else "(empty)"
    kept = [whole]
    if len(whole) > limit:
        tail = limit // 3
        kept = [whole[: limit - tail], whole[-tail:]]
    shown = " … ".join(part if part.isprintable() else "".join(map(_visible, part)) for part in kept)
    return shown if len(kept) == 1 or limit < LONGEST_TEXT else f"{shown} ({len(whole):,} characters)"


def escaped(value: object, limit: int = LONGEST_TEXT) -> Html:
    """Returns ``value`` as text for an element or a quoted attribute."""
    return Html(value) if hasattr(value, "__html__") else Html(html.escape(shortened(value, limit), quote=True))


def own_words(text: str) -> Html:
    """Returns a sentence of the program's own, whole, as text for an element; what is between backticks as code."""
    return Html(re.sub("`(.+?)`", r"<code>\1</code>", html.escape(text, quote=False)))


def _breakable(value: object, limit: int) -> str:
    """Returns escaped text with places to break: after separators, and in runs that are longer than a cell."""
    pieces = (html.escape(piece, quote=True) for piece in _BREAKS.findall(shortened(value, limit)))
    return "".join(piece if piece[-1].isspace() else f"{piece}<wbr>" for piece in pieces).removesuffix("<wbr>")


def isolated(value: object, limit: int = LONGEST_TEXT) -> Html:
    """Returns ``value`` as an element whose writing direction does not reach the text around it; a dash for None."""
    if hasattr(value, "__html__"):
        return Html(value)
    return Html("–") if value is None else Html(f"<bdi>{_breakable(value, limit)}</bdi>")


def code(value: object, limit: int = LONGEST_TEXT) -> Html:
    """Returns ``value`` in a fixed-width font, as names, ids and paths are shown; a dash for None."""
    return Html("–") if value is None else Html(f"<bdi><code>{_breakable(value, limit)}</code></bdi>")


def count(value: object) -> int:
    """Returns ``value`` as a whole number; what is none counts as 0."""
    if isinstance(value, (int, float)) and math.isfinite(value):
        return int(value)
    return 0


def number(value: object) -> str:
    """Returns a figure with thousands separators: ``1,234``, ``0.9987``; a dash where there is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return "–" if value is None or isinstance(value, float) else shortened(value)
    if isinstance(value, int):
        return f"{value:,}"
    digits = 1 if abs(value) >= 10 else 6
    return f"{value:,.{digits}f}".rstrip("0").rstrip(".")


def share(part: object, whole: object) -> str:
    """Returns a percentage: ``12.3 %``, never rounded to 0 or 100 where it is neither."""
    if not count(whole):
        return "–"
    percent = 100 * count(part) / count(whole)
    if 0 < percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return f"{percent:.1f} %".replace(".0 %", " %")


def duration(seconds: object) -> str:
    """Returns seconds as ``0.42 s``, ``22.8 s``, ``3 min 12 s`` or ``2 h 05 min``."""
    if not isinstance(seconds, (int, float)) or not math.isfinite(seconds):
        return "–"
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def size(octets: object) -> str:
    """Returns bytes as ``812 bytes`` or in kB, MB, GB, TB of powers of 1,000."""
    amount = float(count(octets))
    if amount < 1000:
        return f"{count(octets)} bytes"
    for unit in ("kB", "MB", "GB"):
        amount /= 1000
        if amount < 999.5:
            return f"{amount:.3g} {unit}"
    return f"{amount / 1000:,.1f} TB"


def moment(seconds: object) -> str:
    """Returns UNIX seconds as ``2025-11-22 02:53:20 UTC``; as they are where they are not dates."""
    try:
        at = datetime.datetime.fromtimestamp(float(str(seconds)), datetime.timezone.utc)
    except (ValueError, OverflowError, OSError):
        return shortened(seconds)
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")


def ranked(counts: Mapping[str, object]) -> list[tuple[str, int]]:
    """Returns the entries of a count, largest first, equal ones by name."""
    return sorted(((name, count(n)) for name, n in counts.items()), key=_by_count)


def _by_count(entry: tuple[str, int]) -> tuple[int, str]:
    return -entry[1], entry[0]


def stay_in_words(stay: object) -> str:
    """
    >>> stay_in_words(1.0), stay_in_words(0.5), stay_in_words("any")
    ('stay of 1 day', 'stay of 0.5 days', 'any stay')
    """
    return f"stay of {stay:g} day{'' if stay == 1 else 's'}" if isinstance(stay, (int, float)) else f"{stay} stay"
