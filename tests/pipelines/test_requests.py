"""API entries: requests let people in, or are refused with a reason for each of them."""

import json

import pytest

from journey import growth
from tests.stage import OFFER, in_parts, person

API = """
name: survey
sender: main
entries:
  - api: {attributes: [offer, survey_id]}
steps:
  hello:
    message: {template: order, language: fr}
    on_read: {within: 2d, read: end, not_read: end}
"""
VALUES = {"offer": "x", "survey_id": 7}


def api(more="", **settings):
    text = API
    if settings:
        text = text.replace("steps:", f"settings: {json.dumps(settings)}\nsteps:")
    return text.replace("sender: main", f"sender: main\n{more}".rstrip())


def refusals(stage):
    return [(row["contact_id"], row["outcome"], row["detail"]) for row in stage.lake("entries")]


def test_a_request_lets_in_the_people_it_names(make_home):
    stage = make_home(campaigns=[api()])
    stage.asks("survey", "r1", users=["c2", "c0"], attribute_values=VALUES).turn()
    rows = stage.rows(
        "SELECT contact_id, entry, occurrence, priority, attributes, since, key FROM participant ORDER BY id"
    )
    assert [row[:4] for row in rows] == [("c2", "api", "r1", 0), ("c0", "api", "r1", 0)]
    assert json.loads(rows[0][4]) == VALUES
    assert rows[0][5:] == (stage.us, "")
    assert {(r["entry"], r["request_uuid"], r["occurrence"]) for r in stage.lake("entries")} == {("api", "r1", "r1")}
    assert stage.rows("SELECT done_at, outcome, position FROM request") == [(stage.us, None, 2)]
    assert stage.states() == {"planned": 2}


def test_a_request_is_done_once_however_often_it_comes(make_home):
    stage = make_home(campaigns=[api(re_entry="always")])
    for file in ("a.ndjson", "b.ndjson", "c.ndjson"):
        stage.asks("survey", "r1", file=file, users=["c0", "c1"], attribute_values=VALUES).turn()
    assert stage.outcomes() == {"entered": 2}


def test_two_requests_are_two_entries(make_home):
    stage = make_home(campaigns=[api()])
    stage.asks("survey", "r1", users=["c0"], attribute_values=VALUES)
    stage.asks("survey", "r2", users=["c0", "c1"], attribute_values=VALUES).turn()
    assert stage.outcomes() == {"entered": 2, "already_in": 1}


def test_phones_are_read_as_the_settings_region_writes_them_and_make_contacts(make_home):
    stage = make_home(campaigns=[api()])
    phones = ["06 00 00 00 01", "+33 6 99 00 00 00", "0699000000", "12"]
    stage.asks("survey", phones=phones, attribute_values=VALUES).turn()
    assert stage.entered() == ["c1", "whatsapp:+33699000000"]
    assert stage.outcomes() == {"entered": 2, "already_in": 1, "refused": 1}
    assert (None, "refused", "“12” is no phone number") in refusals(stage)
    assert stage.states() == {"planned": 2}
    assert stage.home.contacts.frame(["phone"], ids=["whatsapp:+33699000000"]).rows() == [("+33699000000",)]


def test_a_segment_is_evaluated_once_and_its_columns_are_attributes_too(make_home):
    segments = {"loyal.sql": "select contact_id, 3 as points, 'theirs' as offer from contacts where contact_id <> 'c1'"}
    stage = make_home(campaigns=[api()], segments=segments)
    stage.asks("survey", segment="loyal", attribute_values=VALUES).turn()
    assert sorted(stage.entered()) == ["c0", "c2"]
    attributes = json.loads(stage.value("SELECT attributes FROM participant"))
    assert attributes == {"points": 3, "offer": "x", "survey_id": 7}


def test_a_segment_that_fails_is_tried_again_by_the_next_pass(make_home):
    segments = {"loyal.sql": "select contact_id from contacts where error('no')"}
    stage = make_home(campaigns=[api()], segments=segments)
    assert stage.asks("survey", segment="loyal", attribute_values=VALUES).turn().entered.failed.keys() == {"loyal"}
    (stage.path / "segments/loyal.sql").write_text("select contact_id from contacts")
    stage.reload().turn()
    assert stage.outcomes() == {"entered": 3}


def test_a_segment_of_nobody_is_done(make_home):
    segments = {"none.sql": "select contact_id from contacts where false"}
    stage = make_home(campaigns=[api()], segments=segments)
    stage.asks("survey", segment="none", attribute_values=VALUES).turn()
    assert (stage.outcomes(), stage.value("SELECT done_at FROM request")) == ({}, stage.us)


@pytest.mark.parametrize(
    ("values", "detail"),
    [
        ({"offer": "x"}, "missing `survey_id`"),
        ({**VALUES, "more": 1}, "`more` not declared"),
        ({"more": 1}, "missing `offer`, `survey_id`; `more` not declared"),
    ],
)
def test_an_undeclared_or_missing_attribute_refuses_the_whole_request(make_home, values, detail):
    stage = make_home(campaigns=[api()])
    stage.asks("survey", users=["c0", "nobody"], attribute_values=values).turn()
    why = f"attribute_values do not fit the entry's attributes: {detail}"
    assert refusals(stage) == [("c0", "refused", why), ("nobody", "refused", why)]
    assert stage.rows("SELECT outcome, detail, done_at FROM request") == [("refused", why, stage.us)]
    assert stage.value("SELECT count(*) FROM waiting_entry") == 0


def test_an_attribute_may_be_null(make_home):
    stage = make_home(campaigns=[api()])
    stage.asks("survey", users=["c0"], attribute_values={"offer": None, "survey_id": 1}).turn()
    assert stage.outcomes() == {"entered": 1}


@pytest.mark.parametrize(
    ("campaign", "detail"),
    [
        ("nothing", "there is no campaign `nothing`"),
        ("offer", "the campaign has no API entry"),
        ("resting", "the campaign is a draft"),
        ("broken", "the campaign has a hole: "),
    ],
)
def test_a_request_for_what_is_not_there_is_refused(make_home, campaign, detail):
    resting = api("draft: true").replace("name: survey", "name: resting")
    broken = API.replace("name: survey", "name: broken").replace("template: order", "template: nothing")
    stage = make_home(campaigns=[OFFER, resting, broken])
    stage.asks(campaign, users=["c0"], attribute_values=VALUES).turn()
    ((contact, outcome, why),) = refusals(stage)
    assert (contact, outcome) == ("c0", "refused")
    assert why.startswith(detail)


def test_an_unknown_segment_refuses_the_request_with_one_row(make_home):
    stage = make_home(campaigns=[api()])
    stage.asks("survey", segment="nothing", attribute_values=VALUES).turn()
    assert refusals(stage) == [(None, "refused", "there is no segment `nothing`")]


def test_a_refused_phone_is_shown_as_whoever_has_it(make_home):
    stage = make_home(campaigns=[api()])
    stage.asks("survey", phones=["0600000001", "0699000000", "12"], attribute_values={}).turn()
    assert [row[0] for row in refusals(stage)] == ["c1", "whatsapp:+33699000000", "12"]
    assert stage.home.contacts.count() == 3


def test_a_stopped_campaign_takes_no_request_not_even_later(make_home):
    stage = make_home(campaigns=[api()])
    stage.turn()
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE campaign SET stopped_at = 1")
    stage.asks("survey", users=["c0"], attribute_values=VALUES).turn()
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE campaign SET stopped_at = NULL")
    stage.later(minutes=1).turn()
    assert stage.outcomes() == {"stopped": 1}


def test_an_unknown_user_is_waited_for_and_then_refused(make_home):
    stage = make_home(campaigns=[api()])
    stage.asks("survey", users=["c0", "c8", "c9"], attribute_values=VALUES).turn()
    assert stage.outcomes() == {"entered": 1}
    stage.later(hours=2).contacts([person(9)]).turn()
    assert stage.entered() == ["c0", "c9"]
    assert stage.value("SELECT occurrence FROM participant WHERE contact_id = 'c9'") == "r1"
    stage.later(hours=22).turn()
    assert stage.outcomes() == {"entered": 2, "unknown_contact": 1}


def test_a_person_may_come_in_by_request_as_often_as_asked_unless_a_rule_is_written(make_home):
    quick = API.replace("    on_read: {within: 2d, read: end, not_read: end}\n", "")
    once = quick.replace("name: survey", "name: once").replace("steps:", "settings: {re_entry: once}\nsteps:")
    stage = make_home(campaigns=[quick, once])
    for number in range(3):
        for name in ("survey", "once"):
            stage.asks(name, f"{name}{number}", users=["c0"], attribute_values=VALUES)
        stage.turn()
        stage.send()
        stage.later(minutes=1).turn()
    assert stage.counts("participant", "campaign") == {"once": 1, "survey": 3}
    assert stage.outcomes() == {"entered": 4, "re_entry": 2}


def test_of_several_api_entries_the_one_whose_attributes_fit_is_meant(make_home):
    text = API.replace("steps:", "  - api: {attributes: [code]}\nsteps:")
    stage = make_home(campaigns=[text])
    stage.asks("survey", "r1", users=["c0"], attribute_values={"code": 1})
    stage.asks("survey", "r2", users=["c1"], attribute_values=VALUES).turn()
    assert stage.outcomes() == {"entered": 2}


def test_more_people_than_one_transaction_holds_come_in_all(make_home, monkeypatch):
    in_parts(monkeypatch, 7)
    stage = make_home(campaigns=[api()], contacts=20)
    stage.asks("survey", users=[f"c{n}" for n in range(30)], attribute_values=VALUES).turn()
    assert stage.entered() == [f"c{n}" for n in range(20)]
    assert stage.rows("SELECT position FROM request") == [(30,)]
    assert stage.value("SELECT count(*) FROM waiting_entry") == 10


# --- asking before a large audience


def resume(stage):
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE campaign SET stopped_at = NULL, stopped_why = NULL, resumed_at = ?", (stage.us,))


def test_a_request_for_too_many_stops_the_campaign_before_anyone_enters_and_resume_says_yes(make_home):
    stage = make_home(campaigns=[api(stop_if={"audience_above": 2})])
    stage.asks("survey", "small", users=["c0", "c1"], attribute_values=VALUES).turn()
    assert stage.outcomes() == {"entered": 2}
    stage.asks("survey", "large", segment="everyone", attribute_values=VALUES).turn()
    why = "an audience of 3 is above 2 (stop_if.audience_above); to resume is to say yes"
    assert stage.rows("SELECT stopped_why FROM campaign") == [(why,)]
    assert stage.outcomes() == {"entered": 2}
    stage.asks("survey", "other", users=["c2"], attribute_values=VALUES).turn()
    assert stage.outcomes() == {"entered": 2, "stopped": 1}
    resume(stage.later(days=1))
    stage.turn()
    assert stage.outcomes() == {"entered": 3, "already_in": 2, "stopped": 1}
    assert stage.rows("SELECT stopped_at FROM campaign") == [(None,)]


def test_a_request_for_a_segment_ten_times_as_large_as_usual_waits_for_a_yes(make_home, monkeypatch):
    monkeypatch.setattr(growth, "LEAST", 5)
    stage = make_home(campaigns=[api()], contacts=1)
    stage.asks("survey", "usual", segment="everyone", attribute_values=VALUES).turn()
    stage.contacts([person(number) for number in range(1, 12)], "crowd.csv")
    stage.asks("survey", "crowd", segment="everyone", attribute_values=VALUES).turn()
    (why,) = stage.home.stopped_campaigns().values()
    assert "an audience of 12 is more than 10 times as large as usual (1, the last one" in why
    assert stage.outcomes() == {"entered": 1}
    resume(stage.later(minutes=1))
    stage.turn()
    assert stage.outcomes() == {"entered": 12, "already_in": 1}
    named = [f"c{number}" for number in range(12)]  # who names people knows how many
    stage.asks("survey", "named", users=named, attribute_values=VALUES).turn()
    assert stage.home.stopped_campaigns() == {}


def test_what_comes_behind_such_a_request_in_one_pass_finds_the_campaign_stopped(make_home):
    stage = make_home(campaigns=[api(stop_if={"audience_above": 1})])
    stage.asks("survey", "large", users=["c0", "c1"], attribute_values=VALUES)
    stage.asks("survey", "small", users=["c2"], attribute_values=VALUES).turn()
    assert stage.outcomes() == {"stopped": 1}
