"""Planning: who gets a message, who is skipped and why, what holds and for how long."""

import polars as pl
import pytest

from journey.words import LeaveReason
from pipelines import plan
from resources.leaving import leave
from tests.stage import OFFER, person, refused, template

NAMED = OFFER.replace("template: hello, language: fr}", "template: named, language: fr, variables: {first_name: %s}}")
PICTURE = OFFER.replace("template: hello, language: fr}", "template: picture, language: fr, header: {image: %s}}")


def said(stage):
    return stage.rows("SELECT contact_id, reason, detail FROM skip ORDER BY contact_id")


def test_planning_twice_plans_nothing_new(make_home):
    stage = make_home()
    stage.run()
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE participant SET state = 'active', wake_at = 1")
    stage.turn()
    assert stage.value("SELECT count(*) FROM message") == 3


def test_each_message_finds_its_own_body(make_home):
    stage = make_home(
        campaigns=[NAMED % "{user: first_name}"], contacts=[person(n, first_name=f"P{n}") for n in range(9)]
    )
    stage.run()
    for contact, file, row in stage.rows("SELECT contact_id, body_file, body_row FROM message"):
        body = stage.home.bodies.get(file, row)
        assert f'"P{contact[1:]}"' in body
        assert f'+3360000000{contact[1:]}"' in body


def test_a_missing_variable_is_skipped_with_its_name(make_home):
    stage = make_home(
        campaigns=[NAMED % "{user: first_name}"], contacts=[person(0, first_name=""), person(1, first_name="Ana")]
    )
    stage.run()
    ((contact, reason, detail),) = said(stage)
    assert (contact, reason) == ("c0", "missing_variable")
    assert "first_name" in detail


def test_a_missing_picture_is_skipped(make_home):
    people = [person(0, picture=""), person(1, picture="https://example.com/a.jpg")]
    stage = make_home(campaigns=[PICTURE % "{user: picture}"], contacts=people)
    stage.run()
    assert [(c, r) for c, r, _ in said(stage)] == [("c0", "missing_media")]


def test_us_numbers_get_no_marketing_and_canadian_and_puerto_rican_ones_do(make_home):
    phones = {"us": "+12125550123", "ca": "+14165550123", "pr": "+17875550123", "fr": "+33612345678"}
    people = [{"contact_id": name, "phone": phone, "country": "FR"} for name, phone in phones.items()]
    stage = make_home(contacts=people)
    stage.run()
    refused_here = {contact: reason for contact, reason, _ in said(stage)}
    assert refused_here == {"us": "us_marketing"}
    stage.campaign(OFFER.replace("name: offer", "name: order").replace("template: hello", "template: order"))
    stage.run("order")
    assert stage.value("SELECT count(*) FROM message WHERE campaign = 'order'") == 4


@pytest.mark.parametrize(("default", "brought", "skipped"), [
    ("opted_in", "", False), ("opted_in", "true", False), ("opted_in", "false", True),
    ("not_opted_in", "", True), ("not_opted_in", "true", False), ("not_opted_in", "false", True),
])  # fmt: skip
def test_who_is_not_opted_in_is_skipped(make_home, default, brought, skipped):
    from tests.stage import SETTINGS

    stage = make_home(
        settings=SETTINGS.replace("default: opted_in", f"default: {default}"), contacts=[person(0, opted_in=brought)]
    )
    stage.run()
    assert stage.skips() == ({"not_opted_in": 1} if skipped else {})


@pytest.mark.parametrize("subject", ["contact:c0", "phone:+33600000000"])
def test_who_is_opted_out_by_contact_or_by_phone_is_skipped(make_home, subject):
    stage = make_home(contacts=1)
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("INSERT INTO suppression VALUES (?, 'all', 'stop_word', 1)", (subject,))
    stage.run()
    assert stage.skips() == {"opted_out": 1}


def test_131049_keeps_marketing_from_that_person_for_a_day_and_nothing_else(make_home):
    stage = make_home(contacts=2)
    stage.run()
    stage.send(lambda one: refused(131049)(one) if one.id == 1 else refused(130472)(one))
    second = OFFER.replace("name: offer", "name: second").replace("steps:", "settings: {re_entry: always}\nsteps:")
    order = second.replace("name: second", "name: order").replace("template: hello", "template: order")
    stage.campaign(second).campaign(order)
    stage.later(hours=23).run("second")
    assert [(c, r) for c, r, _ in said(stage)] == [("c0", "meta_marketing_cap")]
    stage.run("order")
    assert stage.value("SELECT count(*) FROM message WHERE campaign = 'order'") == 2
    stage.later(hours=1).run("second")
    assert stage.skips() == {"meta_marketing_cap": 1}
    assert stage.value("SELECT count(*) FROM message WHERE campaign = 'second' AND contact_id = 'c0'") == 1


def test_a_phone_of_which_meta_said_131026_is_skipped_also_when_another_contact_has_it(make_home):
    stage = make_home(contacts=1)
    stage.run()
    stage.send(refused(131026))
    stage.campaign(OFFER.replace("name: offer", "name: second")).run("second")
    assert stage.skips() == {"invalid_phone": 1}


def test_a_contact_without_a_phone_is_skipped_as_invalid(make_home):
    stage = make_home(contacts=1)
    stage.says("+33600000000", "Bonjour")
    known = {
        "id": "wamid.u",
        "from_user_id": "FR.123",
        "timestamp": "1796126400",
        "type": "text",
        "text": {"body": "x"},
    }
    stage.webhook({"contacts": [{"user_id": "FR.123"}], "messages": [known]}).turn()
    strangers = stage.home.contacts.frame(["contact_id", "phone"]).filter(pl.col("phone").is_null())
    assert strangers.height == 1
    stage.contacts([{"contact_id": strangers["contact_id"][0], "country": "FR", "opted_in": "true"}])
    stage.run()
    assert stage.skips() == {"invalid_phone": 1}


# -- templates and languages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["PAUSED", "PENDING", "IN_APPEAL"])
def test_a_template_that_may_be_approved_holds_its_messages_and_they_expire_with_that_reason(make_home, status):
    stage = make_home(contacts=2, templates=[template("hello", status=status)])
    stage.run()
    assert stage.rows("SELECT DISTINCT state, held_why FROM message") == [("held", "template_not_approved")]
    assert stage.send() == []
    stage.later(hours=24).turn()
    assert stage.skips() == {}
    stage.later(microseconds=1).turn()
    assert stage.skips() == {"template_not_approved": 2}
    assert stage.reasons() == {"skipped": 2}


def test_a_template_that_is_approved_in_time_lets_its_messages_go(make_home):
    stage = make_home(contacts=2, templates=[template("hello", status="PENDING")])
    stage.run()
    stage.later(hours=3).template(template("hello")).turn()
    assert len(stage.send()) == 2


def test_a_template_that_meta_rejected_skips_at_once(make_home):
    stage = make_home(contacts=1, templates=[template("hello", status="REJECTED")])
    stage.run()
    assert stage.skips() == {"template_not_approved": 1}


def test_a_message_may_say_how_long_it_can_wait(make_home):
    text = OFFER.replace("language: fr}", "language: fr, expires: 1h}")
    stage = make_home(contacts=1, campaigns=[text])
    stage.run()
    stage.later(hours=1, microseconds=1).turn()
    assert stage.skips() == {"too_late": 1}


def test_nothing_expires_while_its_campaign_is_stopped(make_home):
    stage = make_home(contacts=1)
    stage.run()
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE campaign SET stopped_at = 1")
    stage.later(hours=48).turn()
    assert stage.skips() == {}


def test_the_language_is_the_contacts_its_base_or_the_fallback(make_home):
    library = [template("hello", "fr"), template("hello", "en"), template("hello", "pt_BR")]
    locales = {"a": "en", "b": "en-GB", "c": "pt_BR", "d": "pt", "e": "", "f": "fr_CA"}
    people = [
        {"contact_id": name, "phone": f"06000000{n:02d}", "country": "FR", "locale": locale}
        for n, (name, locale) in enumerate(locales.items())
    ]
    text = OFFER.replace("language: fr", "language: {user: locale, fallback: fr}")
    stage = make_home(campaigns=[text], templates=library, contacts=people)
    stage.run()
    assert dict(stage.rows("SELECT contact_id, language FROM message")) == {
        "a": "en", "b": "en", "c": "pt_BR", "d": "fr", "e": "fr", "f": "fr"
    }  # fmt: skip


def test_without_a_fallback_a_language_that_the_template_lacks_is_skipped(make_home):
    people = [person(0, locale="de"), person(1, locale="fr")]
    stage = make_home(campaigns=[OFFER.replace("language: fr", "language: {user: locale}")], contacts=people)
    stage.run()
    assert [(c, r) for c, r, _ in said(stage)] == [("c0", "template_language_missing")]


def test_a_paused_base_of_the_language_holds_too(make_home):
    stage = make_home(
        contacts=1,
        campaigns=[OFFER.replace("language: fr", "language: fr_CA")],
        templates=[template("hello", "fr", status="PAUSED")],
    )
    stage.run()
    assert stage.rows("SELECT state, language FROM message") == [("held", "fr")]


def test_a_language_that_nobody_gets_may_have_other_placeholders(make_home):
    library = [template("hello", "fr"), template("hello", "en", body="Hello {{first_name}}, {{discount}}!")]
    stage = make_home(contacts=2, templates=library)
    stage.run()
    assert stage.states() == {"planned": 2}


def test_a_paused_language_that_cannot_be_filled_skips_its_people_and_nobody_else(make_home):
    library = [template("hello", "fr"), template("hello", "en", status="PAUSED", body="Hello {{first_name}}!")]
    people = [person(0, locale="en"), person(1, locale="fr")]
    stage = make_home(
        campaigns=[OFFER.replace("language: fr", "language: {user: locale}")], contacts=people, templates=library
    )
    stage.run()
    assert stage.states() == {"planned": 1}
    assert [(c, r) for c, r, _ in said(stage)] == [("c0", "template_not_approved")]


# -- attributes and not_after ------------------------------------------------------------------------------------------


def test_the_segments_further_columns_fill_event_variables(make_home):
    segment = {"everyone.sql": "select contact_id, upper(contact_id) as code, 7 as number from contacts"}
    stage = make_home(campaigns=[NAMED % "{event: code}"], segments=segment, contacts=2)
    stage.run()
    file, row = stage.rows("SELECT body_file, body_row FROM message WHERE contact_id = 'c1'")[0]
    assert '"C1"' in stage.home.bodies.get(file, row)


BOUNDED = """
name: offer
sender: main
entries:
  - audience: {segment: everyone, when: {at: "2026-12-01 13:00", not_after: "2026-12-01 14:00"}}
steps:
  hello:
    message: {template: hello, language: fr}
    next: reminder
  reminder:
    message: {template: reminder, language: fr}
    on_read: {within: 2h, read: end, not_read: last_call}
    on_skip: last_call
  last_call:
    message: {template: last_call, language: fr}
"""


def test_not_after_bounds_the_messages_that_are_reached_without_a_wait(make_home):
    stage = make_home(campaigns=[BOUNDED], contacts=1, now="2026-12-01T11:00:00+00:00")
    stage.turn()
    stage.at("2026-12-01T12:00:00+00:00").turn()
    assert stage.value("SELECT expires_at FROM message") == stage.us + 3_600_000_000
    stage.at("2026-12-01T12:59:00+00:00").send()
    stage.at("2026-12-01T13:00:01+00:00").turn()
    assert stage.rows("SELECT step, reason FROM skip") == [("reminder", "too_late"), ("last_call", "too_late")]


def test_not_after_does_not_bound_what_comes_after_a_wait(make_home):
    stage = make_home(campaigns=[BOUNDED], contacts=1, now="2026-12-01T11:00:00+00:00")
    stage.turn()
    stage.at("2026-12-01T12:00:00+00:00").turn()
    for _ in range(2):
        stage.send()
        stage.turn()
    stage.at("2026-12-01T14:00:00+00:00").turn()
    assert stage.rows("SELECT step, state FROM message WHERE id = 3") == [("last_call", "planned")]
    assert stage.skips() == {}


def test_who_is_dropped_while_their_message_is_being_written_gets_none(make_home, monkeypatch):
    stage, real = make_home(contacts=2), plan.with_codes

    def meanwhile(*arguments):
        found = real(*arguments)
        with stage.home.ledger.write() as tx:
            ids = [row.id for row in tx.exec_driver_sql("SELECT id FROM participant WHERE contact_id = 'c0'")]
            leave(tx, ids, LeaveReason.dropped_by_hand, stage.us)
        return found

    monkeypatch.setattr(plan, "with_codes", meanwhile)
    stage.run()
    assert dict(stage.rows("SELECT contact_id, state FROM message")) == {"c0": "cancelled", "c1": "planned"}
