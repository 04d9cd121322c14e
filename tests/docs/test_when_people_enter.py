"""docs/when-people-enter.md: every table is true."""

from datetime import datetime, time
from zoneinfo import ZoneInfo

import pytest

from journey.campaign import SilentHours, When
from journey.schedule import next_occurrence
from journey.silent_hours import silence
from tests.docs.pages import rows

PAGE = "when-people-enter.md"


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize("row", rows(PAGE, "cron", "timezone", "now", "next"), ids=str)
def test_schedules(row: dict[str, str]) -> None:
    when = When(cron=row["cron"], timezone=row["timezone"])
    now = instant(row["now"])
    found = next_occurrence(when, "Europe/Paris", live_since=now, last=None, zones=(), now=now)
    assert found is not None
    assert found.evaluate_at == instant(row["next"])


@pytest.mark.parametrize("row", rows(PAGE, "planned", "zone", "goes out"), ids=str)
def test_silent_hours(row: dict[str, str]) -> None:
    rule = SilentHours(start=time(21), end=time(8), days_off=frozenset({6}))
    assert silence(rule, instant(row["planned"]), ZoneInfo(row["zone"])).allowed_at == instant(row["goes out"])
