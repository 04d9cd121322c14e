"""The chart of days: columns as high as their counts, lines at round numbers, nothing where nothing was."""

from datetime import date, timedelta
from itertools import pairwise

from gateway.daily import BOTTOM, HEIGHT, MOST, NAMES_APART, TOP, daily_view

DAY = date(2026, 12, 1)


def test_nothing_was_sent_is_no_chart() -> None:
    assert daily_view([]) is None
    assert daily_view([(DAY, 0, 0, 0)]) is None


def test_columns_are_as_high_as_their_counts_under_a_round_number() -> None:
    found = daily_view([(DAY, 900, 450, 0), (DAY + timedelta(days=1), 0, 90, 9)])
    assert found is not None
    assert [line.value for line in found.lines] == [0, 500, 1000]
    room = HEIGHT - TOP - BOTTOM
    first = found.days[0].bars
    assert [bar.height for bar in first] == [round(room * 0.9, 1), round(room * 0.45, 1), 0]
    assert all(round(bar.y + bar.height, 1) == TOP + room for day in found.days for bar in day.bars)
    assert [line.y for line in found.lines] == [TOP + room, TOP + room / 2, TOP]
    assert len({bar.x for day in found.days for bar in day.bars}) == 6


def test_a_long_campaign_shows_its_newest_days_and_names_some_of_them() -> None:
    found = daily_view([(DAY + timedelta(days=n), 1, 1, 1) for n in range(MOST + 30)])
    assert found is not None
    assert len(found.days) == MOST and found.days[-1].day == DAY + timedelta(days=MOST + 29)
    named = [day.middle for day in found.days if day.named]
    assert min(b - a for a, b in pairwise(named)) >= NAMES_APART
    assert max(bar.x + bar.width for day in found.days for bar in day.bars) < found.width
