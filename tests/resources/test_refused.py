"""What Meta refuses of a campaign's messages, and of which nobody can say: what is told, how long, and at what cost."""

from datetime import timedelta

import pytest

from journey.codes import SEE_DETAILS, Action, explain
from journey.outcome import Outcome
from resources import refused as room
from resources.failures import failures
from tests.stage import OFFER, accepted, refused, unknown

TOLD = ("messages_refused", "messages_again", "messages_unknown", "campaign_failing")


def told(stage):
    """{(kind, campaign, code): (count, detail)}"""
    found = failures(stage.home, stage.home.project, stage.now)
    return {(str(one.kind), one.about, one.code): (one.count, one.detail) for one in found if one.kind in TOLD}


def planned(make_home, people=6, **files):
    stage = make_home(contacts=people, **files)
    stage.run()
    return stage


def by_turns(*outcomes):
    return lambda claimed: outcomes[claimed.id % len(outcomes)](claimed)


def test_refusals_are_counted_by_campaign_and_code_for_a_day(make_home):
    stage = planned(make_home, 6, campaigns=[OFFER, OFFER.replace("name: offer", "name: second")])
    stage.send(by_turns(refused(131047), refused(131026), accepted))
    stage.run("second")
    stage.send(refused(131049))
    found = told(stage)
    assert {key: count for key, (count, _) in found.items()} == {
        ("messages_refused", "offer", 131026): 2,
        ("messages_refused", "offer", 131047): 2,
        ("messages_refused", "second", 131049): 4,  # two phones were undeliverable
    }
    stage.later(hours=24, minutes=1)
    assert told(stage) == {}


def test_what_failed_on_its_way_counts_as_what_was_refused_at_once(make_home):
    stage = planned(make_home, 1)
    [claimed] = stage.send()
    stage.status(claimed.id, "failed", code=131026).turn()
    assert told(stage) == {("messages_refused", "offer", 131026): (1, "")}


@pytest.mark.parametrize("code", [131056, 131000, 130429])
def test_what_is_tried_again_is_counted_while_it_waits(make_home, code):
    stage = planned(make_home, 3)
    stage.send(refused(code))
    assert told(stage) == {("messages_again", "offer", code): (3, "")}
    stage.wall += 20
    stage.send()
    assert told(stage) == {}


def test_a_stopped_sender_is_not_called_a_message_tried_again(make_home):
    stage = planned(make_home, 3)
    stage.send(refused(190))
    assert told(stage) == {}


def test_metas_own_words_are_told_where_the_code_says_too_little(make_home):
    stage = planned(make_home, 2)
    assert SEE_DETAILS in explain(100).sentence and SEE_DETAILS not in explain(131047).sentence
    stage.send(
        by_turns(
            lambda _: Outcome(Action.final, code=100, title="Invalid parameter", details="to is no phone"),
            lambda _: Outcome(Action.final, code=131047, title="Outside the 24 hours", details="wrote yesterday"),
        )
    )
    assert told(stage) == {
        ("messages_refused", "offer", 100): (1, "The last: to is no phone"),
        ("messages_refused", "offer", 131047): (1, ""),
    }
    assert stage.value("SELECT error_title FROM message WHERE error_code = 100") == "Invalid parameter: to is no phone"


def test_a_campaign_of_which_most_fails_is_grave(make_home):
    stage = planned(make_home, 30)
    stage.send(by_turns(accepted, refused(131047), refused(100)))
    [found] = [one for one in failures(stage.home, None, stage.now) if one.kind == "campaign_failing"]
    assert (found.about, found.values) == ("offer", {"number": 20, "of": 30}) and found.known.grave


def test_half_is_not_most(make_home):
    stage = planned(make_home, 30)
    stage.send(by_turns(accepted, refused(131047)))
    assert {key[0] for key in told(stage)} == {"messages_refused"}


def test_a_handful_says_nothing_about_most(make_home):
    stage = planned(make_home, 19)
    stage.send(refused(131047))
    assert {key[0] for key in told(stage)} == {"messages_refused"}


def test_unknown_messages_are_told_as_long_as_their_campaign_waits(make_home):
    short = OFFER.replace("steps:", "settings: {when_unknown: {after: 2h}}\nsteps:")
    stage = planned(make_home, 2, campaigns=[short])
    stage.send(unknown)
    assert told(stage) == {("messages_unknown", "offer", None): (2, "No answer (2).")}
    stage.later(hours=2, minutes=1)
    assert told(stage) == {}
    assert stage.states() == {"unknown": 2}


def test_no_more_is_looked_at_than_tells_something(make_home, monkeypatch):
    """However many failed: some of them, the newest, say as much."""
    monkeypatch.setattr(room, "MOST", 4)
    stage = planned(make_home, 10)
    stage.send(refused(131047))
    [found] = [one for one in failures(stage.home, stage.home.project, stage.now) if one.kind == "messages_refused"]
    assert (found.count, found.values["number"]) == (4, "4+")
    for query, number in ((room._FAILED, 3), (room._NEWEST, 3), (room._AGAIN, 4), (room._UNKNOWN, 1)):
        plan = [row[3] for row in stage.rows(f"EXPLAIN QUERY PLAN {query}", *[0] * number)]
        assert any("SEARCH message USING INDEX" in row for row in plan), plan
        assert not [row for row in plan if row == "SCAN message"], plan
        assert "USE TEMP B-TREE FOR ORDER BY" not in plan[:2], "the limit comes before a sort"


def test_a_campaign_without_a_file_is_told_with_a_day_of_waiting(make_home):
    stage = planned(make_home, 1)
    stage.send(unknown)
    (stage.path / "campaigns/offer.yaml").unlink()
    stage.reload()
    assert ("messages_unknown", "offer", None) in told(stage)
    stage.later(hours=24, seconds=1)
    assert told(stage) == {}
    assert timedelta(days=1) == room.DAY
