"""What people write: which message it answers, when it is late, whom it wakes; words before answers; in any order."""

import itertools
import random
import shutil
from datetime import timedelta

import pytest

from resources.deliveries import take_in_webhooks
from tests.stage import NOON, OFFER, Stage, unknown, write_home

PHONE = "+33600000000"
ASKS = """
name: asks
sender: main
entries:
  - audience: {segment: everyone}
steps:
  ask:
    message: {template: hello, language: fr}
    on_reply:
      within: 24h
      answers: {Oui: rest, Non: end}
      full_wait: true
  rest:
    delay: {for: 9d}
"""
WAITS = """
name: waits
sender: main
entries:
  - audience: {segment: everyone}
steps:
  first:
    message: {template: order, language: fr}
    next: wait
  wait:
    wait_for:
      within: 2d
      branches: [{reply_to: first, is: [Oui, Yes], next: end}]
      else: end
"""
TELLS = OFFER.replace("name: offer", "name: tells").replace("template: hello", "template: last_call")


def at(stage, **place):
    """Everyone of a campaign stands at that step; decided by no rule of the campaign, and waiting."""
    ((campaign, step),) = place.items()
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql(
            "UPDATE participant SET step = ?, visit = 1, arrived_at = ?, left_at = NULL, reason = NULL,"
            " state = 'waiting', wake_at = NULL WHERE campaign = ?",
            (step, stage.us, campaign),
        )


def sent(stage, *campaigns, people=None):
    """Each campaign's first message goes out, a minute after the one before; gives the stage a minute later."""
    stage.turn()
    for campaign in campaigns:
        stage.run(campaign)
        stage.send()
        stage.later(minutes=1)
    return stage


def take_in(stage):
    """Take in only: nobody moves."""
    take_in_webhooks(stage.home, stage.lease, stage.now, final=True)


def replies(stage):
    return stage.rows("SELECT text, campaign, late FROM reply ORDER BY replied_at, id")


def writes(stage, kind, content, *, number="wamid.k", quotes=None, moment=None):
    message = {"from": PHONE.lstrip("+"), "id": number, "timestamp": str(int((moment or stage.now).timestamp()))}
    message |= {"type": kind, kind: content}
    if quotes is not None:
        message["context"] = {"id": quotes}
    return stage.webhook({"contacts": [{"wa_id": PHONE.lstrip("+")}], "messages": [message]})


# -- whose answer ------------------------------------------------------------------------------------------------------


def test_without_a_quote_an_answer_belongs_to_the_newest_message_that_still_waits_for_one(make_home):
    stage = sent(make_home(contacts=1, campaigns=[ASKS, TELLS]), "asks", "tells")
    stage.says(PHONE, "Oui")
    take_in(stage)
    assert replies(stage) == [("Oui", "asks", 0)]


def test_where_none_waits_any_more_it_belongs_to_the_newest_and_is_late_if_that_has_one(make_home):
    stage = sent(make_home(contacts=1, campaigns=[ASKS, TELLS]), "asks", "tells")
    for text in ("Oui", "Merci", "Au revoir"):
        stage.says(PHONE, text).later(minutes=1)
    take_in(stage)
    assert replies(stage) == [("Oui", "asks", 0), ("Merci", "tells", 0), ("Au revoir", "tells", 1)]


def test_a_message_of_another_sender_or_sent_after_the_answer_is_not_answered(make_home):
    stage = sent(make_home(contacts=1, campaigns=[ASKS]), "asks")
    before = stage.now.replace(hour=11)
    stage.says(PHONE, "Bonjour", at=before)
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE message SET sender = 'other'")
    stage.says(PHONE, "Oui")
    take_in(stage)
    assert replies(stage) == [("Bonjour", None, 0), ("Oui", None, 0)]


def test_a_quote_names_the_message_also_where_another_waits(make_home):
    stage = sent(make_home(contacts=1, campaigns=[ASKS, TELLS]), "asks", "tells")
    stage.says(PHONE, "Merci", quotes="wamid.2")
    take_in(stage)
    assert replies(stage) == [("Merci", "tells", 0)]


def test_an_answer_to_one_copy_of_a_message_that_was_sent_again_is_an_answer_to_the_passage(make_home):
    again = ASKS.replace("steps:", "settings: {when_unknown: {after: 1h, then: resend}}\nsteps:")
    stage = make_home(contacts=1, campaigns=[again])
    stage.run("asks")
    stage.send(unknown)
    stage.later(hours=2).turn()
    stage.send()
    at(stage, asks="ask")
    stage.later(minutes=1).status(1, "delivered").says(PHONE, "Oui", quotes="wamid.1")
    stage.says(PHONE, "Non", at=stage.now.replace(second=30), quotes="wamid.2").later(minutes=1)
    take_in(stage)
    assert stage.rows("SELECT text, message_id, late FROM reply ORDER BY replied_at") == [("Oui", 1, 0), ("Non", 2, 1)]


@pytest.mark.parametrize("by", ["status", "answer of Meta"])
def test_what_quotes_a_message_whose_wamid_is_not_known_yet_is_matched_when_it_is(make_home, by):
    stage = make_home(contacts=1, campaigns=[ASKS])
    stage.run("asks")
    if by == "status":
        stage.send(unknown)
    stage.later(minutes=1).says(PHONE, "Oui", quotes="wamid.1")
    take_in(stage)
    assert replies(stage) == [("Oui", None, 0)]
    if by == "status":
        stage.status(1, "delivered", at=NOON)
    else:
        stage.send()
    at(stage, asks="ask")
    stage.later(minutes=1)
    take_in(stage)
    assert replies(stage) == [("Oui", "asks", 0)]
    assert stage.value("SELECT wake_at FROM participant") == stage.us


# -- late --------------------------------------------------------------------------------------------------------------


def test_the_deadline_itself_is_in_time_and_a_second_later_is_late(make_home):
    stage = sent(make_home(contacts=1, campaigns=[ASKS]), "asks")
    stage.later(days=2)
    stage.says(PHONE, "Oui", at=NOON.replace(day=2), quotes="wamid.1")
    take_in(stage)
    assert replies(stage) == [("Oui", "asks", 0)]
    other = sent(make_home(contacts=1, campaigns=[ASKS], folder="other"), "asks")
    other.later(days=2).says(PHONE, "Oui", at=NOON.replace(day=2, second=1), quotes="wamid.1")
    take_in(other)
    assert replies(other) == [("Oui", "asks", 1)]


def test_an_answer_is_late_once_its_participant_has_moved_though_it_is_the_first(make_home):
    stage = sent(make_home(contacts=1, campaigns=[ASKS]), "asks")
    at(stage, asks="rest")
    stage.says(PHONE, "Oui", quotes="wamid.1").says(PHONE, "Oui")
    take_in(stage)
    assert replies(stage) == [("Oui", "asks", 1), ("Oui", "asks", 1)]
    assert stage.value("SELECT wake_at FROM participant") is None


def test_an_earlier_answer_that_comes_later_is_the_first_while_nobody_has_moved(make_home):
    stage = sent(make_home(contacts=1, campaigns=[ASKS]), "asks")
    moment = stage.now
    stage.later(minutes=5).says(PHONE, "Non", at=stage.now)
    take_in(stage)
    assert replies(stage) == [("Non", "asks", 0)]
    stage.says(PHONE, "Oui", at=moment)
    take_in(stage)
    assert replies(stage) == [("Oui", "asks", 0), ("Non", "asks", 1)]
    at(stage, asks="rest")
    stage.says(PHONE, "Peut-être", at=moment.replace(second=1))
    take_in(stage)
    assert replies(stage) == [("Oui", "asks", 0), ("Peut-être", "asks", 1), ("Non", "asks", 1)]


def test_an_earlier_answer_gives_what_had_its_place_to_the_next_that_waits(make_home):
    second = ASKS.replace("name: asks", "name: second").replace("template: hello", "template: reminder")
    stage = sent(make_home(contacts=1, campaigns=[ASKS, second]), "asks", "second")
    moment = stage.now
    stage.later(minutes=5).says(PHONE, "Non", at=stage.now)
    take_in(stage)
    assert replies(stage) == [("Non", "second", 0)]
    stage.says(PHONE, "Oui", at=moment)
    take_in(stage)
    assert replies(stage) == [("Oui", "second", 0), ("Non", "asks", 0)]


def test_what_a_wait_still_waits_for_is_never_late(make_home):
    stage = sent(make_home(contacts=1, campaigns=[WAITS]), "waits")
    at(stage, waits="wait")
    for text in ("Peut-être", "Vraiment ?", "OUI !", "yes"):
        stage.says(PHONE, text).later(minutes=1)
    take_in(stage)
    assert replies(stage) == [
        ("Peut-être", "waits", 0), ("Vraiment ?", "waits", 1), ("OUI !", "waits", 0), ("yes", "waits", 1),
    ]  # fmt: skip


# -- whom it wakes, and kinds ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("campaign", "text", "place"), [("asks", ASKS, "ask"), ("waits", WAITS, "wait")])
def test_an_answer_wakes_who_waits_for_it_and_a_reaction_nobody(make_home, campaign, text, place):
    stage = sent(make_home(contacts=2, campaigns=[text]), campaign)
    at(stage, **{campaign: place})
    writes(stage, "reaction", {"message_id": "wamid.1", "emoji": "👍"})
    take_in(stage)
    assert stage.rows("SELECT kind, message_id, late FROM reply") == [("reaction", 1, 0)]
    assert stage.rows("SELECT wake_at FROM participant") == [(None,), (None,)]
    stage.says(PHONE, "Oui")
    take_in(stage)
    assert stage.rows("SELECT contact_id, wake_at FROM participant ORDER BY 1") == [("c0", stage.us), ("c1", None)]


@pytest.mark.parametrize(
    ("kind", "content", "row"),
    [
        ("text", {"body": "Oui"}, ("text", None, "Oui")),
        ("button", {"payload": "YES", "text": "Oui"}, ("button", "YES", "Oui")),
        ("interactive", {"type": "button_reply", "button_reply": {"id": "y", "title": "Oui"}}, ("button", "y", "Oui")),
        ("interactive", {"type": "list_reply", "list_reply": {"id": "y", "title": "Oui"}}, ("list", "y", "Oui")),
        ("image", {"id": "1", "mime_type": "image/jpeg", "caption": "Oui"}, ("media", None, "Oui")),
        (
            "interactive",
            {"type": "nfm_reply", "nfm_reply": {"name": "flow", "body": "Sent", "response_json": '{"a":1}'}},
            ("other", '{"a":1}', "Sent"),
        ),
    ],
)
def test_every_kind_of_answer_counts_with_its_payload_and_text(make_home, kind, content, row):
    stage = sent(make_home(contacts=1, campaigns=[ASKS]), "asks")
    writes(stage, kind, content, quotes="wamid.1")
    take_in(stage)
    assert stage.rows("SELECT kind, payload, text FROM reply WHERE message_id = 1 AND NOT late") == [row]


def test_the_time_of_an_answer_is_never_before_its_message_nor_after_it_was_taken_in(make_home):
    stage = make_home(now="2026-12-01T12:00:00.700Z", contacts=1, campaigns=[ASKS])
    stage.run("asks")
    stage.send()
    attempted = stage.us
    stage.says(PHONE, "Oui").later(seconds=5)
    stage.says(PHONE, "Non", at=stage.now.replace(hour=23)).turn()
    assert stage.rows("SELECT text, message_id, replied_at FROM reply ORDER BY replied_at") == [
        ("Oui", 1, attempted),
        ("Non", 1, stage.us),
    ]


# -- words before answers ----------------------------------------------------------------------------------------------


def test_a_stop_word_is_no_answer(make_home):
    stage = sent(make_home(contacts=1, campaigns=[ASKS.replace("Non: end", "Stop: end")]), "asks")
    writes(stage, "button", {"payload": "Stop", "text": "Stop"}, quotes="wamid.1").turn()
    assert stage.reasons() == {"opted_out": 1}
    assert replies(stage) == [("Stop", "asks", 1)]


def test_a_start_word_is_an_answer_too(make_home):
    stage = sent(make_home(contacts=1, campaigns=[ASKS]), "asks")
    stage.says(PHONE, "Start")
    take_in(stage)
    assert replies(stage) == [("Start", "asks", 0)]


def test_a_stop_that_comes_after_a_newer_start_ends_what_had_begun_by_then_and_stops_nothing(make_home):
    stage = sent(make_home(contacts=1, campaigns=[ASKS, TELLS]), "asks")
    moment = stage.now
    stage.later(minutes=2).says(PHONE, "Start").turn()
    stage.later(minutes=1).run("tells")
    stage.says(PHONE, "STOP", at=moment).turn()
    assert stage.rows("SELECT campaign, reason FROM participant ORDER BY 1") == [("asks", "opted_out"), ("tells", None)]
    assert stage.rows("SELECT campaign, state FROM message WHERE campaign = 'tells'") == [("tells", "planned")]
    assert stage.skips() == {}
    assert stage.home.contacts.find(ids=["c0"]).select("opted_in", "opt_out_scope").rows() == [(True, None)]
    assert stage.value("SELECT count(*) FROM suppression") == 0


def test_a_stop_and_a_start_in_one_delivery_count_one_after_the_other(make_home):
    stage = sent(make_home(contacts=1, campaigns=[ASKS]), "asks")
    moment = stage.now
    stage.later(minutes=2).says(PHONE, "Start").says(PHONE, "STOP", at=moment).turn()
    assert stage.reasons() == {"opted_out": 1}
    assert stage.home.contacts.find(ids=["c0"]).select("opted_in", "opt_out_scope").rows() == [(True, None)]
    assert [row[0] for row in stage.rows("SELECT change FROM consent_history")] == ["opted_out", "opted_in"]


# -- any order ---------------------------------------------------------------------------------------------------------

SECOND = ASKS.replace("name: asks", "name: second").replace("template: hello", "template: reminder")


def news(stage):
    """What Meta reports of four messages to two people, in the order of time: (kind, what, delivery)."""
    times = (stage.now.replace(hour=12, minute=10, second=second) for second in itertools.count())
    found = []
    for message, statuses in ((1, "sent delivered read"), (2, "sent failed delivered"), (3, "sent"), (4, "sent")):
        for status in statuses.split():
            code = 131000 if status == "failed" else None
            found.append(stage.status_of(message, status, at=next(times), code=code))
    for number, (phone, text, quotes) in enumerate(
        [
            ("33600000000", "Oui", None),
            ("33600000001", "Bonjour", None),
            ("33600000000", "Non", None),
            ("33600000000", "Non", "wamid.3"),
            ("33600000001", "Oui", "wamid.2"),
            ("33600000000", "Merci", None),
            ("33600000001", "Merci", None),
        ]
    ):
        message = {"from": phone, "id": f"wamid.n{number}", "type": "text", "text": {"body": text}}
        message["timestamp"] = str(int(next(times).timestamp()))
        if quotes:
            message["context"] = {"id": quotes}
        found.append({"contacts": [{"wa_id": phone}], "messages": [message]})
    return found


def facts(stage):
    return (
        stage.rows("SELECT id, state, sent_at, delivered_at, read_at, failed_at, error_code FROM message ORDER BY id"),
        stage.rows("SELECT wamid, message_id, participant_id, step, late, replied_at FROM reply ORDER BY wamid"),
        stage.rows("SELECT id, state, reason, step FROM participant ORDER BY id"),
    )


def test_statuses_and_answers_in_any_order_and_number_end_the_same(tmp_path):
    """While nobody moves, a later pass that brings an earlier answer says what one pass would have said."""
    plain = write_home(tmp_path / "plain", contacts=2, campaigns=[ASKS, SECOND])
    stage = Stage(plain, NOON)
    sent(stage, "asks", "second")
    stage.home.close()
    expected = None
    for seed in range(12):
        copy = tmp_path / str(seed)
        shutil.copytree(plain, copy)
        stage = Stage(copy, NOON).at(NOON).later(hours=1)
        told = news(stage)
        if seed:
            chance = random.Random(seed)
            told += chance.choices(told, k=6)
            chance.shuffle(told)
        passes = 1 + seed % 4
        for number in range(passes):
            stage.webhook(*told[number::passes], file=f"{number}.ndjson")
            take_in(stage)
        if expected is None:
            expected = facts(stage)
            states = stage.rows("SELECT state FROM message ORDER BY id")
            assert [state for (state,) in states] == ["read", "delivered", "sent", "sent"]
        assert facts(stage) == expected, seed
        stage.home.close()
        shutil.rmtree(copy)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 2, 0, 3), (2, 0, 3, 1)])
def test_what_was_said_before_a_stop_word_is_an_answer_and_what_came_after_is_late_in_any_order(make_home, order):
    stage = make_home(contacts=1, campaigns=[ASKS])
    sent(stage, "asks")
    words = ["Non", "Oui", "STOP", "Merci"]
    moments = [stage.now + timedelta(seconds=second) for second in range(4)]
    stage.later(minutes=1)
    for place in order:
        stage.says(PHONE, words[place], at=moments[place])
        take_in(stage)
    late = dict(stage.rows("SELECT text, late FROM reply"))
    assert late == {"Non": 0, "Oui": 1, "STOP": 1, "Merci": 1}
