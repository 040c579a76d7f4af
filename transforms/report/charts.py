"""Charts of the report as inline SVG.

Horizontal places are percentages and vertical ones pixels, so a chart takes the width it is given and its text keeps
its size. A chart carries its own title and description; every bar has its figures as a tooltip.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence

from transforms.report.markup import Html, count, escaped, number, shortened

PLOT_HEIGHT = 200
MOST_COLUMNS = 110
FEWEST_COLUMNS = 14
BAR_PITCH = 38
LONGEST_LABEL = 38

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_PERIODS = (("day", 1), ("week", 7), ("month", 31), ("quarter", 92), ("year", 366))


def legend(series: Sequence[tuple[str, str]]) -> Html:
    """Returns the key of a chart: (CSS class of the series, its name) each."""
    items = "".join(f'<li><span class="swatch {name}"></span>{escaped(label)}</li>' for name, label in series)
    return Html(f'<ul class="legend">{items}</ul>')


def _svg(key: str, title: str, description: str, height: int, content: str, style: str) -> Html:
    return Html(
        f'<svg class="{style}" width="100%" height="{height}" role="img" aria-labelledby="{key}-t {key}-d">'
        f'<title id="{key}-t">{escaped(title)}</title><desc id="{key}-d">{escaped(description, 600)}</desc>'
        f"{content}</svg>"
    )


def share_bar(amount: int, whole: int) -> Html:
    """Returns one bar, as long as an amount's share of the whole; what is not nothing can be seen."""
    part = ""
    if amount > 0 and whole > 0:
        part = f'<rect class="known" width="{min(max(100 * amount / whole, 0.4), 100):.2f}%" height="8" rx="2"/>'
    track = '<rect class="track" width="100%" height="8" rx="2"/>'
    return Html(f'<svg height="8" width="100%" aria-hidden="true">{track}{part}</svg>')


def bars(
    key: str, title: str, rows: Sequence[tuple[str, Sequence[tuple[str, str, int]], str]], largest: int = 0
) -> Html:
    """Returns horizontal bars, each with its label above.

    Args:
      key: Unique in the page; the ids of title and description are made from it.
      title: What the chart shows.
      rows: (label, parts, figure) each; a part is (CSS class of its series, name of its series, amount). All bars
        share one scale. ``figure`` stands at the right end.
      largest: The sum that fills the width; without it, the largest of ``rows``.
    """
    largest = max(largest, *(sum(amount for _, _, amount in parts) for _, parts, _ in rows), 1)
    content = []
    for index, (label, parts, figure) in enumerate(rows):
        top = index * BAR_PITCH
        told = ", ".join(f"{number(amount)} {name}".strip() for _, name, amount in parts)
        content.append(
            f"<g><title>{escaped(label)}: {escaped(told)}</title>"
            f'<rect class="hit" x="0" y="{top}" width="100%" height="{BAR_PITCH - 4}"/>'
            f'<svg class="clip" x="0" y="{top}" width="78%" height="19">'  # a wide name must not reach its figure
            f'<text class="label" x="0" y="13">{escaped(label, LONGEST_LABEL)}</text></svg>'
            f'<text class="value" x="100%" y="{top + 13}">{escaped(figure)}</text>'
            f'<rect class="track" x="0" y="{top + 20}" width="100%" height="8" rx="2"/>'
        )
        left = 0.0
        for name, _, amount in parts:
            wide = 100 * amount / largest
            if amount > 0:
                content.append(f'<rect class="{name} bar" x="{left:.3f}%" y="{top + 20}" width="{wide:.3f}%" ')
                content.append('height="8" rx="2"/>')
            left += wide
        content.append("</g>\n")
    told = "; ".join(f"{shortened(label, LONGEST_LABEL)}: {figure}" for label, _, figure in rows[:12])
    return _svg(key, title, told, len(rows) * BAR_PITCH - 6, "".join(content), "bars")


def _dates(by_day: Mapping[str, Mapping[str, object]]) -> dict[datetime.date, tuple[int, int]]:
    """Returns (known, anonymous) by date; keys that are not dates are left out."""
    found = {}
    for day, counts in by_day.items():
        try:
            date = datetime.date.fromisoformat(day)
        except ValueError:
            continue
        found[date] = (count(counts.get("known")), count(counts.get("anonymous")))
    return found


def _period_start(date: datetime.date, period: str) -> datetime.date:
    if period == "week":
        return datetime.date.fromordinal(date.toordinal() - date.weekday()) if date.toordinal() > 7 else date
    if period == "month":
        return date.replace(day=1)
    if period == "quarter":
        return date.replace(month=date.month - (date.month - 1) % 3, day=1)
    return date.replace(month=1, day=1) if period == "year" else date


def _next_start(start: datetime.date, period: str) -> datetime.date:
    days = dict(_PERIODS)[period]
    return _period_start(datetime.date.fromordinal(start.toordinal() + days), period)


def periods(by_day: Mapping[str, Mapping[str, object]]) -> tuple[str, list[tuple[datetime.date, int, int]]]:
    """Returns (``day``, ``week``, … ``year``) and for each, gaps included, its first date, known and anonymous events.

    The period is the shortest that gives at most `MOST_COLUMNS` columns.
    """
    found = _dates(by_day)
    if not found:
        return "day", []
    span = (max(found) - min(found)).days + 1
    period = next((name for name, days in _PERIODS if span <= days * MOST_COLUMNS), "year")
    sums: dict[datetime.date, tuple[int, int]] = {}
    for date, (known, anonymous) in found.items():
        start = _period_start(date, period)
        before = sums.get(start, (0, 0))
        sums[start] = (before[0] + known, before[1] + anonymous)
    columns = []
    start, last = min(sums), max(sums)
    while start < last:
        columns.append((start, *sums.get(start, (0, 0))))
        start = _next_start(start, period)
    columns.append((last, *sums[last]))
    return period, columns


def _scale(largest: int) -> list[int]:
    """Returns three to six round values from 0 to at least ``largest``."""
    rough = max(largest, 1) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = max(next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough), 1)
    step = math.ceil(step)
    return [step * index for index in range(math.ceil(max(largest, 1) / step) + 1)]


def compact(value: int) -> str:
    """Returns an axis value in at most five signs: ``950``, ``2.5k``, ``30M``."""
    for unit, amount in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if value >= amount:
            return f"{value / amount:.4g}{unit}"
    return str(value)


def _date_label(date: datetime.date, period: str) -> str:
    if period == "year":
        return str(date.year)
    if period in ("day", "week"):
        return f"{date.day} {_MONTHS[date.month - 1]}"
    return f"{_MONTHS[date.month - 1]} {date.year}"


def columns_by_time(key: str, period: str, columns: Sequence[tuple[datetime.date, int, int]]) -> Html:
    """Returns stacked columns, known below and anonymous above, over a continuous time axis."""
    scale = _scale(max(known + anonymous for _, known, anonymous in columns))
    content = []
    for value in scale:
        y = 8 + PLOT_HEIGHT * (1 - value / scale[-1])
        content.append(f'<line class="{"axis" if value == 0 else "grid"}" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
        content.append(f'<text class="tick end" x="-8" y="{y + 4:.1f}">{compact(value)}</text>\n')
    slot = 100 / max(len(columns), FEWEST_COLUMNS)
    base = 8 + PLOT_HEIGHT
    for index, (date, known, anonymous) in enumerate(columns):
        left, wide = slot * (index + 0.1), slot * 0.8
        heights = [max(PLOT_HEIGHT * part / scale[-1], 1.0 if part else 0) for part in (known, anonymous)]
        when = str(date) if period == "day" else f"{period} from {date}"
        content.append(f'<g class="column"><title>{when}: {number(known)} known, {number(anonymous)} anonymous</title>')
        content.append(f'<rect class="hit" x="{slot * index:.3f}%" y="8" width="{slot:.3f}%" height="{PLOT_HEIGHT}"/>')
        y = float(base)
        for name, high in zip(("known", "anonymous"), heights, strict=True):
            y -= high
            if high:
                content.append(f'<rect class="{name}" x="{left:.3f}%" y="{y:.1f}" width="{wide:.3f}%" ')
                content.append(f'height="{high:.1f}"/>')
        content.append("</g>\n")
    content.append(_date_ticks(period, columns, slot, base + 20))
    total = sum(known + anonymous for _, known, anonymous in columns)
    peak = max(columns, key=_total)
    told = (
        f"{number(total)} events from {columns[0][0]} to {columns[-1][0]}; most in the {period} from {peak[0]}: "
        f"{number(_total(peak))}."
    )
    chart = _svg(key, f"Events by {period}, known and anonymous users", told, base + 28, "".join(content), "columns")
    return Html(f'<div class="plot">{chart}</div>')


def _total(column: tuple[datetime.date, int, int]) -> int:
    return column[1] + column[2]


def _date_ticks(period: str, columns: Sequence[tuple[datetime.date, int, int]], slot: float, y: int) -> str:
    """Returns up to seven dates below the axis; every second one steps back on a narrow screen."""
    last = len(columns) - 1
    places = sorted({round(last * step / 6) for step in range(7)})
    if last < 6:  # too few columns to spread seven dates over
        places = [0, last] if last else [0]
    labels = []
    for order, index in enumerate(places):
        extra = " extra" if order % 2 and len(places) > 2 else ""
        x = slot * (index + 0.5)
        labels.append(
            f'<text class="tick mid{extra}" x="{x:.2f}%" y="{y}">{_date_label(columns[index][0], period)}</text>'
        )
    return "".join(labels)
