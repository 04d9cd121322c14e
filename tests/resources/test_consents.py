"""Consent sentence by sentence (spec §3.1): scopes and causes, by what they do to the messages that go out."""

from datetime import timedelta

import pytest

from journey.codes import Action, explain
from journey.outcome import Outcome
from tests.stage import NOON, OFFER, person, status_value

PHONE = "+33600000000"
#: Three campaigns: marketing, utility, and free text.
ORDER = OFFER.replace("name: offer", "name: order").replace("template: hello", "template: order")
TEXT = OFFER.replace("name: offer", "name: text").replace("{template: hello, language: fr}", '{text: "Bonjour"}')
ALL = ("offer", "order", "text")


def staged(make_home, people=1, **files):
    return make_home(contacts=people, campaigns=[OFFER, ORDER, TEXT], **files)


def preference(stage, value, *, at=None, category="marketing_messages", phone=PHONE, file="log.ndjson"):
    """What a person sets in WhatsApp itself."""
    told = {"wa_id": phone.lstrip("+"), "category": category, "value": value, "detail": "d"}
    told["timestamp"] = int((at or stage.now).timestamp())
    about = {"messaging_product": "whatsapp", "metadata": {"phone_number_id": "106540352242922"}}
    return stage.webhook({**about, "user_preferences": [told]}, field="user_preferences", file=file)


def goes_out(stage):
    """Which of the three campaigns still message everyone, run now."""
    stage.says(PHONE, "Bonjour").turn()  # opens the window for free text
    for campaign in ALL:
        stage.run(campaign)
    return {row[0] for row in stage.rows("SELECT campaign FROM message WHERE state = 'planned'")}


def consent(stage, contact="c0"):
    return stage.home.contacts.find(ids=[contact]).select("opted_in", "opt_out_scope", "opt_out_cause").row(0)


def history(stage):
    return stage.rows("SELECT change, scope, cause FROM consent_history ORDER BY id")


# -- scopes ------------------------------------------------------------------------------------------------------------


def test_a_stop_word_is_of_scope_all(make_home):
    stage = staged(make_home)
    stage.turn()
    stage.says(PHONE, "STOP").turn()
    assert goes_out(stage) == set()
    assert stage.counts("skip", "reason") == {"opted_out": 3}
    assert consent(stage) == (False, "all", "stop_word")


def test_metas_preference_is_of_scope_marketing_and_leaves_utility_and_replies_open(make_home):
    stage = staged(make_home)
    stage.turn()
    preference(stage, "stop").turn()
    assert goes_out(stage) == {"order", "text"}
    assert stage.rows("SELECT campaign, reason FROM skip") == [("offer", "opted_out")]
    assert consent(stage)[1:] == ("marketing", "meta_preference")


@pytest.mark.parametrize("by", ["status", "status before its wamid", "answer"])
def test_error_131050_is_of_scope_marketing(make_home, by):
    stage = staged(make_home)
    stage.run("offer")
    refusal = Outcome(Action.opt_out_marketing, code=131050, title=explain(131050).title)
    if by == "answer":
        stage.send(lambda _: refusal)
    elif by == "status":
        stage.send()
        stage.status(1, "failed", code=131050).turn()
    else:
        stage.webhook(status_value("wamid.1", "failed", stage.now, code=131050)).turn()
        stage.send()
    stage.turn()
    again = OFFER.replace("name: offer", "name: again")
    stage.campaign(again).run("again")
    assert goes_out(stage) == {"order", "text"}
    assert stage.rows("SELECT campaign, reason FROM skip") == [("again", "opted_out")]
    assert consent(stage)[1:] == ("marketing", "meta_131050")
    assert history(stage) == [("opted_out", "marketing", "meta_131050")]


def test_opted_in_stays_true_under_an_opt_out_of_scope_marketing(make_home):
    stage = staged(make_home, people=[person(0, opted_in="true")])
    stage.turn()
    preference(stage, "stop").turn()
    assert consent(stage) == (True, "marketing", "meta_preference")


def test_a_preference_about_something_else_changes_nothing(make_home):
    stage = staged(make_home)
    stage.turn()
    preference(stage, "stop", category="something_else").turn()
    assert history(stage) == []


# -- opting in again ---------------------------------------------------------------------------------------------------


def test_marketing_is_resumed_where_it_was_stopped(make_home):
    stage = staged(make_home)
    stage.turn()
    preference(stage, "stop").turn()
    preference(stage.later(minutes=1), "resume").turn()
    assert goes_out(stage) == set(ALL)
    assert history(stage) == [
        ("opted_out", "marketing", "meta_preference"),
        ("opted_in", "marketing", "meta_preference"),
    ]


def test_a_resume_does_not_undo_a_stop_word(make_home):
    stage = staged(make_home)
    stage.turn()
    stage.says(PHONE, "STOP").turn()
    preference(stage.later(minutes=1), "resume").turn()
    assert consent(stage)[1] == "all"


@pytest.mark.parametrize("resumed", ["resume", "START"])
def test_an_older_stop_of_marketing_that_comes_late_finds_that_it_was_resumed(make_home, resumed):
    stage = staged(make_home)
    stage.turn()
    moment = stage.now
    stage.later(minutes=2)
    _ = preference(stage, "resume") if resumed == "resume" else stage.says(PHONE, resumed)
    stage.turn()
    preference(stage.later(minutes=1), "stop", at=moment).turn()
    assert consent(stage)[1] is None
    preference(stage, "stop", file="again.ndjson").turn()
    assert consent(stage)[1] == "marketing"


def test_what_meta_repeats_is_no_new_change(make_home):
    stage = staged(make_home)
    stage.turn()
    moment = stage.now
    for number in range(3):
        stage.later(minutes=1)
        preference(stage, "stop", at=moment, file=f"{number}.ndjson")
        preference(stage, "resume", at=moment.replace(second=5), file=f"{number}.ndjson").turn()
    assert history(stage) == [
        ("opted_out", "marketing", "meta_preference"),
        ("opted_in", "marketing", "meta_preference"),
    ]


@pytest.mark.parametrize("out", ["STOP", "preference", "file"])
def test_a_start_word_opts_in_again_whatever_opted_out(make_home, out):
    stage = staged(make_home)
    stage.turn()
    if out == "file":
        stage.contacts([person(0, opted_in="false")])
    elif out == "preference":
        preference(stage, "stop")
    else:
        stage.says(PHONE, "STOP")
    stage.turn()
    assert "offer" not in goes_out(stage)
    stage.later(minutes=1).says(PHONE, "Start !").turn()
    assert consent(stage) == (True, None, None)
    again = OFFER.replace("name: offer", "name: again")
    stage.campaign(again).run("again")
    assert stage.value("SELECT state FROM message WHERE campaign = 'again'") == "planned"


def test_a_stranger_who_writes_is_not_opted_in_until_they_say_the_start_word(make_home):
    stage = staged(make_home)
    stage.turn()
    stranger = "whatsapp:+33600000042"
    stage.says("+33600000042", "Bonjour").turn()
    assert consent(stage, stranger)[0] is False
    stage.later(minutes=1).says("+33600000042", "start").turn()
    assert consent(stage, stranger)[0] is True


def test_an_import_undoes_a_persons_own_word_only_with_a_later_opted_in_at(make_home):
    stage = staged(make_home)
    stage.turn()
    stage.says(PHONE, "STOP").turn()
    stage.later(hours=1)
    for number, brought in enumerate(["", "2026-12-01T11:59:00Z", NOON.isoformat()]):
        stage.contacts([person(0, opted_in="true", opted_in_at=brought)], f"{number}.csv").turn()
        assert consent(stage)[1] == "all", brought
    stage.contacts([person(0, opted_in="true", opted_in_at="2026-12-01T12:00:01Z")], "later.csv").turn()
    assert consent(stage) == (True, None, None)
    assert goes_out(stage) == set(ALL)


# -- contact and phone -------------------------------------------------------------------------------------------------


def test_neither_an_opted_out_contact_nor_an_opted_out_phone_is_messaged(make_home):
    """c0 says STOP and gets a new phone; c1 gets the phone that c0 had."""
    stage = staged(make_home, people=[person(0), person(1)])
    stage.turn()
    stage.says(PHONE, "STOP").turn()
    stage.contacts([{"contact_id": "c0", "phone": "0600000077", "country": "FR"}], "a.csv").turn()
    stage.contacts([{"contact_id": "c1", "phone": "0600000000", "country": "FR"}], "b.csv").turn()
    assert stage.home.contacts.find(ids=["c1"])["phone"].to_list() == [PHONE]
    stage.run("order")
    assert stage.rows("SELECT contact_id, reason FROM skip ORDER BY 1") == [("c0", "opted_out"), ("c1", "opted_out")]


def test_a_start_word_from_a_phone_that_another_had_opted_out_opens_it_for_who_has_it_now(make_home):
    stage = staged(make_home, people=[person(0, opted_in="false"), person(1)])
    stage.turn()
    stage.contacts([{"contact_id": "c0", "phone": "0600000077", "country": "FR"}], "a.csv").turn()
    stage.contacts([{"contact_id": "c1", "phone": "0600000000", "country": "FR", "opted_in": ""}], "b.csv").turn()
    stage.run("order")
    assert stage.counts("skip", "contact_id") == {"c0": 1, "c1": 1}
    stage.later(minutes=1).says(PHONE, "START").turn()
    stage.run("offer")
    assert stage.rows("SELECT contact_id FROM message WHERE state = 'planned'") == [("c1",)]


# -- planned and sent --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "left"), [("STOP", set()), ("preference", {"order"})])
def test_consent_is_checked_again_when_a_message_is_sent(make_home, said, left):
    stage = staged(make_home)
    for campaign in ("offer", "order"):
        stage.run(campaign)
    _ = stage.says(PHONE, "STOP") if said == "STOP" else preference(stage, "stop")
    stage.turn()
    stage.send()
    assert {row[0] for row in stage.rows("SELECT campaign FROM message WHERE state = 'accepted'")} == left
    assert stage.counts("skip", "reason") == {"opted_out": 2 - len(left)}


def test_every_change_has_its_scope_time_cause_and_source(make_home):
    stage = staged(make_home)
    stage.turn()
    stage.says(PHONE, "STOP", at=stage.now).later(minutes=5)
    stage.says(PHONE, "START").turn()
    assert stage.rows(
        "SELECT contact_id, phone, change, scope, cause, source, wamid, changed_at FROM consent_history ORDER BY id"
    ) == [
        ("c0", PHONE, "opted_out", "all", "stop_word", "webhooks/log.ndjson", "wamid.in.1", stage.us - 300_000_000),
        ("c0", PHONE, "opted_in", "all", "start_word", "webhooks/log.ndjson", "wamid.in.2", stage.us),
    ]


def test_the_history_has_each_time_a_word_was_said_in_whatever_order_they_come(make_home):
    stage = staged(make_home)
    stage.turn()
    hour = timedelta(hours=1)
    for said in (stage.now - hour, stage.now - 2 * hour, stage.now - hour):
        preference(stage, "stop", at=said).turn()
    times = [at for (at,) in stage.rows("SELECT changed_at FROM consent_history ORDER BY changed_at")]
    assert times == [stage.us - 7_200_000_000, stage.us - 3_600_000_000]
