"""Entering: who comes in, how often, when, and why the others do not."""

from datetime import timedelta

import pytest

from journey.draws import draw
from pipelines.audiences import add_occurrence
from resources.home import Home
from resources.segments import evaluate
from tests.stage import OFFER, in_parts, person

RULE = OFFER.replace("steps:", "settings: {re_entry: %s}\nsteps:")
CRON = OFFER.replace("segment: everyone}", "segment: everyone, when: {%s}}").replace(
    "steps:", "settings: {re_entry: %s}\nsteps:"
)
AT = OFFER.replace("segment: everyone}", "segment: everyone, when: {%s}}")
BEFORE = "2026-11-30T00:00:00+00:00"  # a Monday


def entered(stage):
    return [row[0] for row in stage.rows("SELECT contact_id FROM participant ORDER BY id")]


def occurrences(stage):
    return [row[0] for row in stage.rows("SELECT name FROM occurrence ORDER BY id")]


def leave(stage):
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE participant SET left_at = ?, state = 'ended', reason = 'end'", (stage.us,))


def test_an_occurrence_lets_everyone_in_once_however_often_a_pass_runs(make_home):
    stage = make_home()
    stage.run()
    for _ in range(3):
        stage.turn()
    assert entered(stage) == ["c0", "c1", "c2"]
    assert stage.outcomes() == {"entered": 3}


def test_who_is_inside_is_refused_and_that_is_written_down(make_home):
    stage = make_home(campaigns=[RULE % "always"])
    stage.run()
    stage.contacts([person(7)])
    stage.run()
    assert entered(stage) == ["c0", "c1", "c2", "c7"]
    assert stage.outcomes() == {"entered": 4, "already_in": 3}


def test_a_passage_whose_wait_is_over_does_not_refuse_the_next_one(make_home):
    # Seen with hourly ticks: the wait had ended days ago, and the pass that ends it refused the next occurrence.
    waits = OFFER.rstrip() + "\n    on_read: {within: 2d, read: end, not_read: end}\n"
    stage = make_home(contacts=1, campaigns=[waits.replace("steps:", "settings: {re_entry: always}\nsteps:")])
    stage.run()
    stage.send()
    stage.turn()
    stage.later(days=3)
    add_occurrence(stage.home, stage.home.project.campaigns["offer"], stage.now)
    stage.turn()
    assert stage.outcomes() == {"entered": 2}
    assert stage.rows("SELECT state FROM participant ORDER BY id") == [("ended",), ("waiting",)]


def test_the_ledger_itself_refuses_a_second_open_passage(make_home):
    stage = make_home(contacts=1)
    stage.run()
    with pytest.raises(Exception, match="UNIQUE"), stage.home.ledger.write() as tx:
        tx.exec_driver_sql(
            "INSERT INTO participant SELECT id + 1, campaign, version, contact_id, key, key_name, entry, occurrence,"
            " priority, attributes, entered_at + 1, since, not_after, step, visit, arrived_at, wake_at, state,"
            " left_at, reason"
            " FROM participant"
        )


@pytest.mark.parametrize("text", [OFFER, RULE % "once"])
def test_once_is_once_and_the_default_without_a_schedule(make_home, text):
    stage = make_home(campaigns=[text])
    stage.run()
    leave(stage)
    stage.later(days=400).run()
    assert stage.outcomes() == {"entered": 3, "re_entry": 3}


def test_always_lets_people_in_again_once_they_have_left(make_home):
    stage = make_home(campaigns=[RULE % "always"])
    stage.run()
    leave(stage)
    stage.later(minutes=1).run()
    assert stage.outcomes() == {"entered": 6}


def test_times_per_is_a_rolling_window_from_entering(make_home):
    stage = make_home(campaigns=[RULE % "{times: 2, per: 7d}"], contacts=1)
    for days, outcome in ((0, 1), (3, 2), (3, 2), (1, 3), (2, 3), (1, 4)):
        stage.later(days=days).run()
        leave(stage)
        assert stage.outcomes()["entered"] == outcome, days
    assert stage.outcomes() == {"entered": 4, "re_entry": 2}


def test_each_of_two_entries_counts_for_the_rule(make_home):
    two = OFFER.replace("steps:", "  - audience: {segment: some}\nsteps:")
    segments = {"everyone.yaml": "all:\n  - {user: {country: FR}}\n", "some.sql": "select 'c1' as contact_id"}
    stage = make_home(campaigns=[two], segments=segments)
    stage.run()
    assert entered(stage) == ["c0", "c1", "c2"]
    assert stage.outcomes() == {"entered": 3, "already_in": 1}


def test_cron_makes_one_occurrence_a_firing(make_home):
    stage = make_home(BEFORE, campaigns=[CRON % ('cron: "0 10 * * *"', "always")], contacts=1)
    stage.turn()
    assert occurrences(stage) == []
    for hour in (9, 9, 10, 33, 33):  # 10:00 in Paris is 9:00 UTC
        stage.at(BEFORE).later(hours=hour).turn()
        leave(stage)
    assert occurrences(stage) == ["2026-11-30T09:00:00Z", "2026-12-01T09:00:00Z"]
    assert stage.outcomes() == {"entered": 2}


def test_after_downtime_only_the_latest_missed_occurrence_runs_and_late_bounds_it(make_home):
    stage = make_home(BEFORE, campaigns=[CRON % ('cron: "0 10 * * *", late: 2h', "always")], contacts=1)
    stage.turn()
    stage.at("2026-12-05T10:59:00+00:00").turn()
    assert occurrences(stage) == ["2026-12-05T09:00:00Z"]
    assert stage.outcomes() == {"entered": 1}
    leave(stage)
    stage.at("2026-12-08T11:00:01+00:00").turn()
    assert stage.outcomes() == {"entered": 1, "too_late": 1}


def test_at_runs_once_at_its_time(make_home):
    stage = make_home(BEFORE, campaigns=[AT % 'at: "2026-12-01 10:00"'])
    stage.at("2026-12-01T08:59:59+00:00").turn()
    assert entered(stage) == []
    for _ in range(2):
        stage.at("2026-12-01T09:00:00+00:00").turn()
    assert len(entered(stage)) == 3
    stage.later(days=1).turn()
    assert stage.outcomes() == {"entered": 3}


def test_not_after_bounds_entering(make_home):
    text = AT % 'at: "2026-12-01 10:00", not_after: "2026-12-01 10:30", late: 5h'
    stage = make_home(BEFORE, campaigns=[text])
    stage.turn()
    stage.at("2026-12-01T09:30:01+00:00").turn()
    assert stage.outcomes() == {"too_late": 3}
    assert entered(stage) == []


def test_each_contact_enters_at_its_own_local_time(make_home):
    people = [
        person(0, timezone="Asia/Tokyo"), person(1, timezone="Europe/Paris"), person(2, timezone="America/New_York"),
        person(3, timezone=""),
    ]  # fmt: skip
    text = AT % 'at: "2026-12-02 10:00", timezone: contact, fallback: Europe/Lisbon'
    stage = make_home(BEFORE, campaigns=[text], contacts=people)
    stage.turn()
    came = {}
    for moment in (
        "2026-12-02T00:59:00",
        "2026-12-02T01:00:00",
        "2026-12-02T09:00:00",
        "2026-12-02T10:00:00",
        "2026-12-02T15:00:00",
    ):
        stage.at(f"{moment}+00:00").turn()
        came |= {contact: moment[11:16] for contact in entered(stage) if contact not in came}
    assert came == {"c0": "01:00", "c1": "09:00", "c3": "10:00", "c2": "15:00"}
    assert len(occurrences(stage)) == 1


def test_the_segment_is_evaluated_once_and_its_rows_are_kept(make_home):
    people = [person(0, timezone="Asia/Tokyo"), person(1, timezone="Europe/Paris")]
    stage = make_home(BEFORE, campaigns=[AT % 'at: "2026-12-02 10:00", timezone: contact'], contacts=people)
    stage.turn()
    stage.at("2026-12-02T01:00:00+00:00").turn()
    stage.contacts([person(5, timezone="Europe/Paris")])
    stage.at("2026-12-02T09:00:00+00:00").turn()
    assert entered(stage) == ["c0", "c1"]


def test_a_segment_is_not_asked_again_for_those_whose_time_comes_later(make_home, monkeypatch):
    people = [person(0, timezone="Asia/Tokyo"), person(1, timezone="Europe/Paris")]
    stage = make_home(BEFORE, campaigns=[AT % 'at: "2026-12-02 10:00", timezone: contact'], contacts=people)
    asked, real = [], Home.audience
    monkeypatch.setattr(Home, "audience", lambda self, name, now: asked.append(name) or real(self, name, now))
    for moment in ("2026-12-02T01:00:00+00:00", "2026-12-02T02:00:00+00:00", "2026-12-02T09:00:00+00:00"):
        stage.at(moment).turn()
    assert (len(asked), entered(stage)) == (1, ["c0", "c1"])


@pytest.mark.parametrize(("if_past", "outcome"), [
    ("skip", {"entered": 1, "too_late": 1}), ("now", {"entered": 2}), ("next_day", {"entered": 1}),
])  # fmt: skip
def test_if_past_says_what_becomes_of_those_whose_time_was_over(make_home, if_past, outcome):
    people = [person(0, timezone="Asia/Tokyo"), person(1, timezone="America/New_York")]
    text = AT % f'at: "2026-12-02 10:00", timezone: contact, if_past: {if_past}'
    stage = make_home("2026-12-02T05:00:00+00:00", contacts=people, campaigns=[])
    stage.turn()
    stage.campaign(text).turn()
    stage.at("2026-12-02T15:00:00+00:00").turn()
    assert stage.outcomes() == outcome
    if if_past == "next_day":
        stage.at("2026-12-03T01:00:00+00:00").turn()
        assert stage.outcomes() == {"entered": 2}


@pytest.mark.parametrize("if_past", ["skip", "now", "next_day"])
def test_late_counts_from_each_contacts_own_time_whatever_if_past_says(make_home, if_past):
    zones = ("Asia/Tokyo", "Europe/Paris", "America/New_York", "America/Los_Angeles")  # 10:00 is 1, 9, 15, 18 UTC
    people = [person(number, timezone=zone) for number, zone in enumerate(zones)]
    text = AT % f'at: "2026-12-02 10:00", timezone: contact, if_past: {if_past}'
    stage = make_home(BEFORE, campaigns=[text], contacts=people)
    stage.turn()
    stage.at("2026-12-02T16:30:00+00:00").turn()  # no pass ran since
    assert (entered(stage), stage.outcomes()) == (["c2"], {"entered": 1, "too_late": 2})
    stage.at("2026-12-02T18:00:00+00:00").turn()
    assert entered(stage) == ["c2", "c3"]


def test_a_contact_without_a_zone_enters_by_the_fallback_and_else_by_the_settings(make_home):
    people = [person(0, timezone=""), person(1, timezone="Mars/Olympus")]
    for fallback, hour in (("fallback: Asia/Tokyo", 1), ("", 9)):
        text = AT % f'at: "2026-12-02 10:00", timezone: contact, {fallback}'.rstrip(", ")
        stage = make_home(BEFORE, folder=f"home{hour}", campaigns=[text], contacts=people)
        stage.turn()
        stage.at("2026-12-02T00:59:00+00:00").turn()
        assert entered(stage) == []
        stage.at(f"2026-12-02T0{hour}:00:00+00:00").turn()
        assert len(entered(stage)) == 2


def test_nobody_enters_a_stopped_campaign(make_home):
    stage = make_home(BEFORE, campaigns=[AT % 'at: "2026-12-01 10:00"'])
    stage.turn()
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE campaign SET stopped_at = 1")
    stage.at("2026-12-01T09:30:00+00:00").turn()
    assert (entered(stage), occurrences(stage)) == ([], [])
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE campaign SET stopped_at = NULL")
    stage.at("2026-12-01T10:00:00+00:00").turn()
    assert stage.outcomes() == {"entered": 3}


@pytest.mark.parametrize(
    "change", [("sender: main", "sender: main\ndraft: true"), ("template: hello", "template: nothing")]
)
def test_a_draft_and_a_campaign_with_a_hole_enter_nobody(make_home, change):
    text = AT % 'at: "2026-12-01 10:00"'
    stage = make_home(BEFORE, campaigns=[text.replace(*change)])
    stage.at("2026-12-01T09:30:00+00:00").turn()
    assert (entered(stage), stage.outcomes()) == ([], {})


def test_one_campaign_with_a_hole_keeps_no_other_from_running(make_home):
    broken = OFFER.replace("name: offer", "name: broken").replace("template: hello", "template: nothing")
    stage = make_home(campaigns=[OFFER, broken])
    stage.run()
    assert len(entered(stage)) == 3


def test_a_segment_that_fails_is_said_and_tried_again_by_the_next_pass(make_home):
    broken = {"everyone.sql": "select contact_id from contacts where error('no')"}
    stage = make_home(segments=broken)
    result = stage.run()
    assert result.entered.failed.keys() == {"everyone"}
    (stage.path / "segments/everyone.sql").write_text("select contact_id from contacts")
    stage.reload().turn()
    assert len(entered(stage)) == 3


def test_a_segment_that_nothing_interrupts_costs_its_audience_and_no_other(make_home, monkeypatch):
    """One call of levenshtein over two texts of 400,000 characters takes minutes, in which DuckDB looks at no clock."""
    endless = "select contact_id from contacts"
    endless += " where levenshtein(repeat(contact_id, 200000), repeat('ab', 200000)) > 0"
    other = OFFER.replace("name: offer", "name: other").replace("segment: everyone", "segment: endless")
    segments = {"everyone.sql": "select contact_id from contacts", "endless.sql": endless}
    stage = make_home(campaigns=[OFFER, other], segments=segments)

    def soon(name, *more, **_):
        return evaluate(name, *more, seconds=0.5 if name == "endless" else 60.0)

    monkeypatch.setattr("resources.home.evaluate", soon)
    add_occurrence(stage.home, stage.home.project.campaigns["other"], stage.now)
    add_occurrence(stage.home, stage.home.project.campaigns["offer"], stage.now)
    result = stage.turn()
    assert result.entered.failed["endless"].startswith("segments/endless.sql: it took longer than 0.5 s")
    assert entered(stage) == ["c0", "c1", "c2"]
    assert stage.rows("SELECT campaign FROM occurrence WHERE done_at IS NULL") == [("other",)]


def test_a_new_campaign_with_a_schedule_makes_up_for_nothing(make_home):
    stage = make_home("2026-12-01T11:00:00+00:00", campaigns=[CRON % ('cron: "0 10 * * *"', "always")])
    stage.turn()
    assert occurrences(stage) == []


def test_attributes_are_what_the_segment_brought(make_home):
    stage = make_home(
        segments={"everyone.sql": "select contact_id, 3 as points, 'a' as tier from contacts"}, contacts=1
    )
    stage.run()
    assert stage.rows("SELECT attributes FROM participant") == [('{"points":3,"tier":"a"}',)]


def test_two_runs_at_the_same_moment_are_two_occurrences(make_home):
    stage = make_home(campaigns=[RULE % "always"], contacts=1)
    stage.run()
    stage.run()
    assert len(set(occurrences(stage))) == 2


def test_more_people_than_one_transaction_holds_enter_all(make_home, monkeypatch):
    in_parts(monkeypatch, 7)
    stage = make_home(contacts=20)
    stage.run()
    assert sorted(entered(stage)) == sorted(f"c{n}" for n in range(20))
    assert stage.outcomes() == {"entered": 20}
    assert stage.value("SELECT position FROM occurrence") == 20
    assert stage.states() == {"planned": 20}


def test_the_time_of_entering_is_the_campaigns_clock(make_home):
    stage = make_home(contacts=1)
    stage.later(minutes=90).run()
    (row,) = stage.lake("entries")
    assert row["met_at"] == stage.now
    assert stage.now - stage.home.clock() == timedelta(0)


# --- the control group


HALF = OFFER.replace("steps:", "settings: {re_entry: always, control_group: 50%}\nsteps:")
DRAWN = {f"c{n}" for n in range(20) if draw("offer", f"c{n}") < 0.5}


def test_the_control_group_comes_in_and_leaves_at_once(make_home):
    stage = make_home(contacts=20, campaigns=[HALF])
    stage.run()
    assert 0 < len(DRAWN) < 20
    assert stage.outcomes() == {"entered": 20 - len(DRAWN), "control": len(DRAWN)}
    rows = stage.rows("SELECT contact_id, left_at, reason, wake_at, step FROM participant WHERE state = 'control'")
    assert {row[0] for row in rows} == DRAWN
    assert {row[1:] for row in rows} == {(stage.us, "control", None, "hello")}
    assert (stage.states(), stage.skips()) == ({"planned": 20 - len(DRAWN)}, {})


def test_the_control_group_stays_the_same_and_its_passages_count_for_the_rule(make_home):
    stage = make_home(contacts=20, campaigns=[HALF.replace("re_entry: always", "re_entry: {times: 2, per: 7d}")])
    for _ in range(3):
        stage.run()
        leave(stage)
        stage.later(minutes=1)
    passages = stage.rows("SELECT contact_id FROM participant GROUP BY 1 HAVING count(*) = 2")
    assert len(passages) == 20
    assert stage.outcomes() == {"control": 2 * len(DRAWN), "entered": 40 - 2 * len(DRAWN), "re_entry": 20}


def test_all_entries_draw_the_same_control_group(make_home):
    three = "  - audience: {segment: everyone}\n  - trigger: {event: bought}\n  - api: {}\n"
    stage = make_home(contacts=20, campaigns=[HALF.replace("  - audience: {segment: everyone}\n", three)])
    stage.turn()
    for number in range(10):
        stage.happens("bought", f"c{number}")
    stage.asks("offer", users=[f"c{number}" for number in range(10, 20)]).turn()
    assert {row[0] for row in stage.rows("SELECT contact_id FROM participant WHERE state = 'control'")} == DRAWN
    assert len(stage.entered()) == 20


# --- asking before a large audience


LARGE = AT.replace("steps:", "settings: {stop_if: {audience_above: 2}}\nsteps:")


def resume(stage):
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE campaign SET stopped_at = NULL, stopped_why = NULL, resumed_at = ?", (stage.us,))


def test_a_large_audience_stops_the_campaign_before_anyone_enters(make_home):
    stage = make_home(campaigns=[LARGE % 'at: "2026-12-01 14:00"'])
    stage.turn()
    result = stage.later(hours=1).turn()
    assert "an audience of 3 is above 2" in result.entered.stopped["offer"]
    assert (entered(stage), stage.outcomes()) == ([], {})
    assert "stop_if.audience_above" in stage.home.stopped_campaigns()["offer"]


def test_to_resume_says_yes_and_nobody_is_late_for_having_been_kept_waiting(make_home):
    stage = make_home(campaigns=[LARGE % 'at: "2026-12-01 14:00"'])
    stage.turn()
    stage.later(hours=1).turn()
    resume(stage.later(hours=10))
    for _ in range(2):
        stage.turn()
    assert stage.outcomes() == {"entered": 3}
    assert stage.home.stopped_campaigns() == {}


def test_a_yes_lets_nobody_in_after_not_after(make_home):
    stage = make_home(campaigns=[LARGE % 'at: "2026-12-01 14:00", not_after: "2026-12-01 20:00"'])
    stage.turn()
    stage.later(hours=1).turn()
    resume(stage.later(hours=10))
    stage.turn()
    assert stage.outcomes() == {"too_late": 3}


def test_each_occurrence_asks_anew(make_home):
    stage = make_home(campaigns=[OFFER.replace("steps:", "settings: {stop_if: {audience_above: 2}}\nsteps:")])
    for _ in range(2):
        stage.run()
        assert "offer" in stage.home.stopped_campaigns()
        resume(stage.later(hours=1))
        stage.turn()
        leave(stage)
    assert stage.outcomes() == {"entered": 3, "re_entry": 3}


def test_an_audience_that_is_not_above_the_limit_asks_nobody(make_home):
    stage = make_home(campaigns=[OFFER.replace("steps:", "settings: {stop_if: {audience_above: 3}}\nsteps:")])
    stage.run()
    assert stage.outcomes() == {"entered": 3}


def test_who_was_taken_over_since_the_audience_was_found_enters_by_their_own_id(make_home):
    stranger = {"contact_id": "", "phone": "+33600000009", "country": "FR", "timezone": "America/New_York"}
    stage = make_home(campaigns=[AT % "at: '2026-12-01 14:00', timezone: contact"], contacts=[person(0), stranger])
    stage.turn()
    stage.later(hours=1).turn()
    assert entered(stage) == ["c0"]
    stage.later(hours=1).contacts([{"contact_id": "known", "phone": "+33600000009"}]).turn()
    stage.later(hours=5).turn()
    assert entered(stage) == ["c0", "known"]
    assert stage.states() == {"planned": 2}
