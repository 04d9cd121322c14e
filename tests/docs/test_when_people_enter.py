"""docs/when-people-enter.md: every table is true."""

from datetime import datetime

import pytest

from journey.campaign import When
from journey.entry import next_occurrence
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
