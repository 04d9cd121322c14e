"""docs/when-people-enter.md: every table is true."""

from datetime import datetime, time
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from journey.campaign import SilentHours, When
from journey.campaign_reading import load_campaign
from journey.clock import from_us, to_us
from journey.cohort_delay import moments
from journey.schedule import next_occurrence
from journey.silent_hours import silence
from journey.steps import DelayStep, Step
from journey.words import EntryOutcome
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


@pytest.mark.parametrize("row", rows(PAGE, "until", "arrival", "zone", "moment"), ids=str)
def test_until(row: dict[str, str]) -> None:
    delay = step_of(f'delay: {{until: "{row["until"]}"}}')
    assert isinstance(delay, DelayStep)
    arrival = to_us(instant(row["arrival"]))
    people = pl.DataFrame({"arrived_at": [arrival], "timezone": [row["zone"]]})
    assert from_us(moments(delay, people, "Europe/Paris")["moment"].item()) == instant(row["moment"])


def test_outcomes_are_those_that_events_can_have() -> None:
    named = {row["outcome"] for row in rows(PAGE, "outcome", "the event")}
    of_others = {EntryOutcome.too_late, EntryOutcome.stopped}  # of schedules, and of requests
    assert named == set(EntryOutcome) - of_others


def step_of(text: str) -> Step:
    """The first step of a campaign that has only this one."""
    whole = f"name: c\nsender: main\nentries: [{{audience: {{segment: s}}}}]\nsteps:\n  first:\n    {text}\n"
    campaign, problems = load_campaign(whole, "campaigns/c.yaml")
    assert campaign is not None and not problems
    return campaign.steps["first"]
