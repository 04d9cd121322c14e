"""Answers of the inbox: they go the way of every message, at once, and never to whom they must not."""

import json

import duckdb
import pytest

from pipelines import inbox
from pipelines.publish import publish
from tests.stage import SETTINGS, person, refused, template, unknown

ONE, TWO = "+33600000001", "+33600000002"
HELLO = {"template": "hello", "language": "fr"}
FILLED = template(
    "filled",
    category="UTILITY",
    body="Bonjour {{first_name}}.",
    header={"type": "HEADER", "format": "IMAGE"},
    buttons=[
        {"type": "URL", "text": "Voir", "url": "https://shop.example.com/{{1}}"},
        {"type": "COPY_CODE", "text": "Copier"},
    ],
)


@pytest.fixture
def stage(make_home):
    """Three people who are known, of whom `c1` has just written."""
    stage = make_home(templates=[template("hello"), template("note", category="UTILITY"), FILLED])
    stage.turn()
    stage.says(ONE, "Vous livrez à Brest ?").turn()
    return stage


def bodies(stage):
    query = "SELECT body_file, body_row FROM message ORDER BY id"
    return [json.loads(stage.home.bodies.get(file, row)) for file, row in stage.rows(query)]


def skips(stage):
    return stage.rows("SELECT contact_id, reason FROM skip ORDER BY id")


def test_a_text_goes_out_as_it_was_written(stage):
    stage.answers("c1", text='Oui {vraiment} : 100 %\n\n"demain" \\o/').turn()
    (body,) = bodies(stage)
    assert (body["to"], body["type"]) == (ONE, "text")
    assert body["text"]["body"] == 'Oui {vraiment} : 100 %\n\n"demain" \\o/'
    assert len(stage.send()) == 1
    (row,) = stage.rows("SELECT campaign, kind, category, author, state, priority, counted, wamid FROM message")
    assert row == ("", "text", None, "anna", "accepted", -1, 0, "wamid.1")
    assert stage.rows("SELECT uuid, done_at, outcome FROM answer") == [("a1", stage.us, "planned")]


def test_the_same_answer_twice_is_one_message(stage):
    stage.answers("c1", text="Oui").turn()
    stage.answers("c1", text="Oui").answers("c1", text="autre chose").turn()
    assert len(stage.send()) == 1
    assert stage.answers("c1", "a2", text="Oui").turn().planned == 1  # meant twice, it is said twice
    assert stage.states() == {"accepted": 1, "planned": 1}


def test_a_template_goes_to_who_has_not_written(stage):
    values = {
        "template": "filled", "language": "fr", "variables": {"first_name": "Élodie"},
        "header": {"image": "https://example.com/a.jpg"}, "buttons": {"0": "a b", "1": "CODE5"},
    }  # fmt: skip
    stage.answers("c2", **values).turn()
    (body,) = bodies(stage)
    components = {(one["type"], one.get("index")): one["parameters"][0] for one in body["template"]["components"]}
    assert components["header", None]["image"] == {"link": "https://example.com/a.jpg"}
    assert components["body", None]["text"] == "Élodie"
    assert components["button", "0"]["text"] == "a%20b"
    assert components["button", "1"]["coupon_code"] == "CODE5"
    assert len(stage.send()) == 1


def test_a_text_needs_an_open_window_when_planned_and_when_sent(stage):
    stage.answers("c2", text="Bonjour").turn()
    assert skips(stage) == [("c2", "outside_service_window")]
    stage.answers("c1", "a2", text="Bonjour").turn()
    stage.later(hours=24, seconds=1)
    assert not stage.send()
    assert skips(stage)[1] == ("c1", "outside_service_window")
    assert stage.rows("SELECT outcome FROM answer ORDER BY id") == [("outside_service_window",), ("planned",)]


@pytest.mark.parametrize("content", [{"text": "Restez !"}, HELLO, {"template": "note", "language": "fr"}])
def test_nothing_goes_to_who_said_stop_before_or_after_it_was_planned(stage, content):
    stage.says(ONE, "STOP").turn()
    stage.answers("c1", **content).turn()
    assert skips(stage) == [("c1", "opted_out")]
    stage.says(TWO, "Bonjour").turn()
    stage.answers("c2", "a2", **content).turn()
    stage.says(TWO, "stop").turn()
    assert not stage.send()
    assert skips(stage) == [("c1", "opted_out"), ("c2", "opted_out")]


def test_a_stranger_who_wrote_is_answered_though_not_opted_in(stage):
    stage.says("+33612345678", "Bonjour").turn()
    stage.answers("whatsapp:+33612345678", text="Bonjour à vous").turn()
    stage.answers("whatsapp:+33612345678", "a2", **HELLO).turn()  # a template is no answer to a word of theirs
    assert len(stage.send()) == 1
    assert skips(stage) == [("whatsapp:+33612345678", "not_opted_in")]


def test_who_is_opted_out_by_a_file_is_answered_but_gets_no_template(stage):
    stage.contacts([person(1, opted_in="false")]).turn()
    stage.answers("c1", text="Bien sûr").answers("c1", "a2", **HELLO).turn()
    assert len(stage.send()) == 1
    assert skips(stage) == [("c1", "not_opted_in")]


def test_it_goes_in_silent_hours_past_caps_and_before_everything_else(make_home):
    settings = SETTINGS + 'silent_hours: {from: "00:00", to: "23:59"}\nfrequency_cap: {messages: 1, per: 7d}\n'
    stage = make_home(settings=settings)
    stage.run()
    assert stage.states() == {"held": 3}
    stage.answers("c1", **HELLO).answers("c1", "a2", **HELLO).turn()
    assert len(stage.send() + stage.send()) == 2
    assert stage.states() == {"accepted": 2, "held": 3}


def test_it_goes_before_a_campaign_that_waits(stage):
    stage.run()
    stage.answers("c1", text="Oui").turn()
    (first,) = stage.send(want=1)
    assert stage.value("SELECT author FROM message WHERE id = ?", first.id) == "anna"


def test_a_stopped_campaign_holds_no_answer_and_a_stopped_sender_does(stage):
    stage.run()
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE campaign SET stopped_at = 1")
    stage.answers("c1", text="Oui").turn()
    assert len(stage.send()) == 1
    stage.answers("c1", "a2", text="Encore").turn()
    stage.send(refused(131042))
    stage.answers("c1", "a3", text="Et encore").turn()
    assert not stage.send()


def test_what_pauses_a_campaign_fails_an_answer(stage):
    stage.answers("c1", text="Oui").turn()
    stage.send(refused(131048))
    assert stage.rows("SELECT state, error_code FROM message") == [("failed", 131048)]


def test_an_unknown_one_is_settled_by_a_status_and_never_sent_again(stage):
    stage.answers("c1", text="Oui").turn()
    stage.send(unknown)
    stage.later(hours=30).turn()
    assert stage.states() == {"unknown": 1}
    stage.status(1, "delivered").turn()
    assert stage.states() == {"delivered": 1}


def test_a_reply_to_it_belongs_to_no_campaign(stage):
    stage.answers("c1", text="Oui").turn()
    stage.send()
    stage.later(minutes=1).says(ONE, "Merci").turn()
    query = "SELECT message_id, participant_id, campaign, step FROM reply ORDER BY id"
    assert stage.rows(query)[-1] == (1, None, None, None)


def test_nobody_known_and_no_such_template_are_reasons(stage):
    stage.answers("nobody", text="Bonjour").answers("c1", "a2", template="gone", language="fr").turn()
    stage.answers("c1", "a3", template="filled", language="fr").turn()
    assert skips(stage) == [
        ("nobody", "invalid_phone"),
        ("c1", "template_language_missing"),
        ("c1", "template_not_approved"),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "one of `text` and `template` is wanted"),
        ({"text": " "}, "the text is blank"),
        ({"text": "a" * 4097}, "longer than 4,096"),
        ({"text": "a", "language": "fr"}, "a text takes no `language`"),
        ({"template": "hello"}, "wants its `language`"),
        ({**HELLO, "header": {"image": "a", "video": "b"}}, "inbox.header: one of text, image"),
        ({"text": "a", "sender": "other"}, "there is no sender `other`"),
        ({"text": "a", "author": ""}, "there is no author"),
        ({"text": "a", "txet": "b"}, "inbox.txet"),
    ],
)
def test_what_is_no_answer_is_in_quarantine(stage, content, said):
    stage.answers("c1", **content).turn()
    (row,) = stage.rows("SELECT source, file, reason FROM quarantine")
    assert row[:2] == ("requests", "requests/inbox.ndjson") and said in row[2]
    assert not stage.states() and not skips(stage)


def test_analysts_see_who_wrote_it_and_no_campaign(stage):
    stage.answers("c1", text="Oui").answers("c2", "a2", text="Non").turn()
    stage.send()
    publish(stage.home, stage.lease)
    with duckdb.connect(str(stage.path / "data/analytics.duckdb"), read_only=True) as con:
        query = "SELECT participant_id, campaign, version, step, visit, author, kind FROM messages"
        assert con.sql(query).fetchall() == [(None, None, None, None, None, "anna", "text")]
        query = "SELECT participant_id, campaign, step, visit, contact_id, reason FROM skips"
        assert con.sql(query).fetchall() == [(None, None, None, None, "c2", "outside_service_window")]
        for table in ("campaign_funnel", "step_funnel", "campaign_daily"):
            assert con.sql(f"SELECT count(*) FROM {table} WHERE campaign IS NULL").fetchall() == [(0,)]
        assert con.sql("SELECT campaign, messages FROM costs").fetchall() == [(None, 1)]


def test_one_that_estafette_fails_on_keeps_no_other_from_going_out(stage, monkeypatch):
    real = inbox.decided

    def fails(home, campaign, step, group, now):
        if "poison" in group["step"]:
            raise ValueError("who would have thought")
        return real(home, campaign, step, group, now)

    monkeypatch.setattr(inbox, "decided", fails)
    stage.answers("c1", "poison", text="Oui").answers("c1", "a2", text="Oui").turn()
    assert len(stage.send()) == 1
    assert stage.rows("SELECT uuid, outcome FROM answer ORDER BY id") == [("poison", "failed"), ("a2", "planned")]
    assert "who would have thought" in stage.value("SELECT reason FROM quarantine")
    stage.turn()
    assert stage.states() == {"accepted": 1}


def test_two_answers_to_one_person_go_one_after_the_other(stage):
    stage.answers("c1", text="Un").answers("c1", "a2", text="Deux").answers("c2", "a3", **HELLO).turn()
    assert [one.id for one in stage.send()] == [1, 3]
    assert [one.id for one in stage.send(unknown)] == [2]
    stage.answers("c1", "a4", text="Trois").turn()
    assert len(stage.send()) == 1
