"""stop_if.audience_grows: an audience ten times as large as usual waits for a yes."""

import pytest

from journey.campaign_reading import load_campaign
from resources.stopping import resume_campaign
from tests.stage import OFFER, person


def crowd(stage, people, first=0):
    return stage.contacts([person(number) for number in range(first, first + people)], f"crowd{first}.csv")


def again(stage):
    """The next day: everyone has left, and the campaign runs once more."""
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE participant SET left_at = 1, state = 'ended', reason = 'end'")
    return stage.later(days=1).run()


def test_a_sudden_crowd_enters_only_when_somebody_says_yes(make_home):
    stage = make_home(contacts=90)
    stage.run()
    crowd(stage, 1_100, first=90)
    again(stage)
    (why,) = stage.home.stopped_campaigns().values()
    assert "an audience of 1,190 is more than 10 times as large as usual (90, the last one" in why
    assert stage.outcomes() == {"entered": 90}
    resume_campaign(stage.home.ledger, stage.home.project, "offer", stage.us)
    stage.turn()
    assert stage.home.stopped_campaigns() == {}
    assert stage.outcomes() == {"entered": 90 + 1_100, "re_entry": 90}


def test_the_first_occurrence_asks_nobody(make_home):
    stage = make_home(contacts=1_200)
    stage.run()
    assert stage.outcomes() == {"entered": 1_200}


def test_a_campaign_may_let_any_crowd_in(make_home):
    text = OFFER.replace("steps:", "settings: {stop_if: {audience_grows: none}}\nsteps:")
    stage = make_home(contacts=2, campaigns=[text])
    stage.run()
    crowd(stage, 1_200, first=2)
    again(stage)
    assert stage.outcomes() == {"entered": 1_202, "re_entry": 2}


@pytest.mark.parametrize(("written", "times"), [("10x", 10.0), ("2.5 x", 2.5), ("none", None)])
def test_how_it_is_written(written, times):
    campaign, problems = load_campaign(
        OFFER.replace("steps:", f"settings: {{stop_if: {{audience_grows: {written}}}}}\nsteps:"), "campaigns/offer.yaml"
    )
    assert campaign is not None, problems
    assert campaign.settings.stop_if.audience_grows == times


@pytest.mark.parametrize("written", ["1x", "0.5x", "10", "ten", "x"])
def test_what_it_is_not(written):
    text = OFFER.replace("steps:", f"settings: {{stop_if: {{audience_grows: {written}}}}}\nsteps:")
    campaign, problems = load_campaign(text, "campaigns/offer.yaml")
    assert campaign is None
    assert problems[0].field == "settings.stop_if.audience_grows" and "10x" in problems[0].mend
