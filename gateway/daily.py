"""A campaign day by day as columns: how many messages were accepted and read, and how many people answered.

What belongs here: the places of the columns. Pure: the counts come in. What a day is, `campaign_daily` says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

KINDS = ("accepted", "read", "replied")
MOST = 92  # days that are shown: the newest
LEFT, TOP, BOTTOM, HEIGHT = 56, 12, 24, 200
COLUMN, GAP, LEAST = 10, 14, 640
NAMES_APART = 44  # pixels between two dates at least


@dataclass(frozen=True, slots=True)
class Bar:
    """One column."""

    kind: str
    value: int
    x: int
    y: float
    width: int
    height: float


@dataclass(frozen=True, slots=True)
class Day:
    """The columns of a day; `named`: there is room for its date."""

    day: date
    bars: tuple[Bar, ...]
    middle: int
    named: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """A line across the columns."""

    value: int
    y: float


@dataclass(frozen=True, slots=True)
class Daily:
    """The whole chart, in pixels."""

    days: tuple[Day, ...]
    lines: tuple[Rule, ...]
    width: int
    kinds: tuple[str, ...] = KINDS
    left: int = LEFT
    height: int = HEIGHT


def daily_view(rows: Sequence[tuple[date, int, int, int]]) -> Daily | None:
    """The chart of days (date, accepted, read, answered), in their order; None where there is nothing to see."""
    rows = [row for row in rows if any(row[1:])][-MOST:]
    if not rows:
        return None
    wide = COLUMN * len(KINDS) + GAP
    top = _round(max(max(row[1:]) for row in rows))
    room = HEIGHT - TOP - BOTTOM
    every = -(-NAMES_APART // wide)
    days = []
    for place, (day, *values) in enumerate(rows):
        start = LEFT + GAP // 2 + place * wide
        bars = tuple(
            Bar(kind, value, start + number * COLUMN, round(TOP + room * (1 - value / top), 1), COLUMN - 1,
                round(room * value / top, 1))
            for number, (kind, value) in enumerate(zip(KINDS, values, strict=True))
        )  # fmt: skip
        days.append(Day(day, bars, start + wide // 2 - GAP // 2, place % every == 0))
    lines = tuple(Rule(top * part // 2, TOP + room * (2 - part) / 2) for part in range(3) if top * part % 2 == 0)
    return Daily(tuple(days), lines, max(LEAST, LEFT + wide * len(rows) + GAP))


def _round(value: int) -> int:
    """The next of 2, 5 and 10 times a power of ten, so that the lines stand at round numbers."""
    power = 1
    while True:
        for step in (2, 5, 10):
            if value <= step * power:
                return step * power
        power *= 10
