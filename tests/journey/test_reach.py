"""What lies ahead of somebody who stands at a step."""

from datetime import timedelta

from journey.campaign import AudienceEntry, Campaign
from journey.reach import reach, soonest
from journey.steps import Arm, DelayStep, ExperimentStep, MessageStep, OnRead, OnReply, Step, TemplateMessage


def message(**ways: object) -> MessageStep:
    return MessageStep(message=TemplateMessage(template="hello", language="fr"), **ways)  # type: ignore[arg-type]


def campaign(steps: dict[str, Step]) -> Campaign:
    entries = (AudienceEntry(segment="everyone"),)
    return Campaign(name="c", sender="main", entries=entries, steps=steps, version="v", file="campaigns/c.yaml")


def test_every_step_behind_a_way_out_is_ahead_and_the_own_one_is_not() -> None:
    arms = {"a": Arm(weight=1, next="two"), "b": Arm(weight=1, next="end")}
    found = campaign({"one": message(next="draw"), "draw": ExperimentStep(arms=arms), "two": message()})
    assert reach(found, "one").ahead == ("draw", "two")
    assert reach(found, "draw").ahead == ("two",)
    assert reach(found, "two").ahead == ()


def test_what_only_a_skip_or_a_failure_leads_to_is_told_apart() -> None:
    steps: dict[str, Step] = {
        "one": message(next="two", on_failure="sorry"),
        "two": message(on_skip={"else": "other"}),
        "sorry": message(next="last"),
        "other": message(),
        "last": message(),
    }
    found = reach(campaign(steps), "one")
    assert (found.ahead, found.fallen) == (("two",), ("sorry", "other", "last"))


def test_a_loop_leads_back_to_the_own_step() -> None:
    steps: dict[str, Step] = {
        "one": message(on_read=OnRead(within=timedelta(days=1), read="end", not_read="pause")),
        "pause": DelayStep(length=timedelta(days=1), next="one"),
    }
    assert reach(campaign(steps), "one").ahead == ("one", "pause")


def test_nothing_is_ahead_of_a_step_that_the_file_no_longer_has() -> None:
    assert reach(campaign({"one": message()}), "gone").ahead == ()


def test_how_soon_a_step_may_be_reached_counts_delays_and_deadlines_and_no_wait_that_somebody_may_end() -> None:
    day, hour = timedelta(days=1), timedelta(hours=1)
    steps: dict[str, Step] = {
        "one": message(on_read=OnRead(within=2 * day, read="thanks", not_read="again")),
        "thanks": message(next="pause"),
        "again": message(next="pause"),
        "pause": DelayStep(length=hour, next="ask"),
        "ask": message(on_reply=OnReply(within=day, answers={"Oui": "yes"}, silence="one", full_wait=True)),
        "yes": message(),
    }
    found = soonest(campaign(steps), "one")
    ahead = {"thanks": 0 * hour, "again": 2 * day, "pause": 0 * hour, "ask": hour, "yes": day + hour, "one": day + hour}
    assert found == ahead
    assert soonest(campaign(steps), "yes") == {}
    assert set(soonest(campaign(steps), "gone").values()) == {timedelta(0)}
