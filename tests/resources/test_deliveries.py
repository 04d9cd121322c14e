"""The webhook log: matching what Meta reports to messages and people, once, whatever is delivered how often."""

import json
import shutil
from datetime import timedelta

import pytest

from resources import deliveries, statuses
from resources.failures import failures
from resources.landing import Landing
from resources.template_news import note_approved
from tests.stage import NOON, OFFER, delivery, person, refused, status_value, unknown

READ = f"""{OFFER}    on_read: {{within: 2d, read: reminder, not_read: end}}
  reminder:
    message: {{template: reminder, language: fr}}
"""


def sent(make_home, people=2, text=OFFER, **files):
    stage = make_home(contacts=people, campaigns=[text], **files)
    stage.run()
    stage.send()
    stage.turn()
    return stage


def facts(stage):
    """All that webhooks may have changed."""
    return (
        stage.rows("SELECT id, state, sent_at, delivered_at, read_at, failed_at, wamid FROM message ORDER BY id"),
        stage.rows("SELECT contact_id, step, state, reason FROM participant ORDER BY id"),
        stage.rows("SELECT wamid, message_id, text, late FROM reply ORDER BY wamid"),
        stage.rows("SELECT contact_id, change, scope, cause FROM consent_history ORDER BY id"),
        stage.rows("SELECT subject, scope FROM suppression ORDER BY 1"),
        stage.rows("SELECT file, line, reason FROM quarantine ORDER BY 1, 2"),
        sorted((row["wamid"], row["status"]) for row in stage.lake("message_events")),
        stage.home.contacts.frame(["contact_id", "opted_in", "opt_out_scope"]).sort("contact_id").rows(),
    )


def test_two_files_with_the_same_content_are_one(make_home):
    stage = sent(make_home)
    stage.status(1, "read").status(2, "failed", code=131050).says("+33600000001", "STOP").says(
        "+33600000000", "Bonjour"
    )
    stage.turn()
    before = facts(stage)
    log = stage.path / "landing/webhooks/log.ndjson"
    shutil.copy(log, log.with_name("again.ndjson"))
    assert stage.turn().taken.webhooks.lines == 4
    assert facts(stage) == before


def test_a_delivery_that_meta_repeats_in_another_order_changes_nothing(make_home):
    stage = sent(make_home, text=READ)
    values = [stage.status_of(1, status) for status in ("sent", "delivered", "read")]
    stage.webhook(*values).turn()
    before = facts(stage)
    stage.webhook(*reversed(values), *values).turn()
    assert facts(stage) == before


def test_a_log_that_grows_is_read_on_from_where_it_was_left(make_home):
    stage = sent(make_home)
    stage.status(1, "sent").turn()
    stage.status(1, "delivered")
    assert stage.turn().taken.webhooks.lines == 1
    assert stage.value("SELECT state FROM message WHERE id = 1") == "delivered"


def test_one_bad_line_is_put_aside_and_its_neighbours_count(make_home):
    stage = sent(make_home)
    stage.status(1, "delivered")
    with (stage.path / "landing/webhooks/log.ndjson").open("a") as log:
        log.write("{broken\n")
    stage.status(2, "delivered").turn()
    assert stage.states() == {"delivered": 2}
    assert stage.rows("SELECT file, line FROM quarantine") == [("webhooks/log.ndjson", 2)]


@pytest.mark.parametrize(
    "callback",
    ["estafette:{other}:1:1:{uid}", "estafette:{installation}:1:1:5", "1", ""],
)
def test_the_callback_of_another_installation_or_message_moves_nothing(make_home, callback):
    stage = sent(make_home, 1)
    uid = stage.value("SELECT uid FROM message")
    installation = stage.home.ledger.meta("installation")
    text = callback.format(other="0badc0de", installation=installation, uid=uid)
    stage.webhook(status_value("wamid.foreign", "read", stage.now, callback=text)).turn()
    assert stage.states() == {"accepted": 1}
    assert [(row["wamid"], row["message_id"]) for row in stage.lake("message_events")] == [("wamid.foreign", None)]


def test_a_status_is_known_by_its_wamid_where_the_callback_is_missing(make_home):
    stage = sent(make_home, 1)
    stage.webhook(status_value("wamid.1", "delivered", stage.now)).turn()
    assert stage.states() == {"delivered": 1}


def test_statuses_of_one_wamid_belong_together_where_only_one_says_whose_it_is(make_home):
    stage = make_home(contacts=1)
    stage.run()
    stage.send(unknown)
    one, two = stage.status_of(1, "sent"), status_value("wamid.1", "delivered", stage.now)
    stage.webhook(one, two).turn()
    assert stage.rows("SELECT state, wamid FROM message") == [("delivered", "wamid.1")]
    assert stage.value("SELECT count(*) FROM early_status") == 0


def test_a_status_that_comes_before_its_messages_wamid_is_joined_when_the_answer_comes(make_home):
    stage = make_home(contacts=1, campaigns=[READ])
    stage.run()
    stage.webhook(status_value("wamid.1", "read", stage.now), status_value("wamid.1", "read", stage.now)).turn()
    assert stage.value("SELECT count(*) FROM early_status") == 1
    stage.send()
    assert stage.states() == {"read": 1}
    assert stage.value("SELECT count(*) FROM early_status") == 0
    stage.turn()
    assert stage.moves() == [("c0", "hello", "read", "reminder")]


def named(stage):
    """(status, message) of everything that analysts see of statuses."""
    return sorted(((row["status"], row["message_id"]) for row in stage.lake("message_events")), key=repr)


def test_a_status_that_came_before_its_message_was_known_stands_with_it_afterwards(make_home):
    stage = make_home(contacts=2)
    stage.run()
    early = [status_value(f"wamid.{one}", kind, stage.now) for one in (1, 2) for kind in ("sent", "delivered")]
    stage.webhook(*early, status_value("wamid.foreign", "read", stage.now)).turn()
    assert {message for _, message in named(stage)} == {None}
    stage.send(want=1)
    stage.later(minutes=1).turn()
    assert [one for one in named(stage) if one[1]] == [("delivered", 1), ("sent", 1)]
    stage.send()
    stage.status(1, "read").turn()
    assert [one for one in named(stage) if one[1]] == [
        ("delivered", 1), ("delivered", 2), ("read", 1), ("sent", 1), ("sent", 2)
    ]  # fmt: skip
    assert len(named(stage)) == 6, "each is there once"
    files = stage.home.lake.files("message_events")
    stage.turn()
    assert stage.home.lake.files("message_events") == files, "nothing is written anew without need"


def test_a_status_without_our_id_is_joined_when_a_later_one_says_whose_it_is(make_home):
    """The answer to the send never came, so only statuses tell the wamid."""
    stage = make_home(contacts=1, campaigns=[READ])
    stage.run()
    stage.send(unknown)
    stage.webhook(status_value("wamid.1", "read", stage.now)).turn()
    assert stage.states() == {"unknown": 1}
    stage.status(1, "sent").turn()
    assert stage.value("SELECT state FROM message WHERE id = 1") == "read"
    assert stage.value("SELECT count(*) FROM early_status") == 0
    assert stage.moves() == [("c0", "hello", "read", "reminder")]
    assert named(stage) == [("read", 1), ("sent", 1)]


def test_a_status_of_a_message_that_is_to_be_tried_again_keeps_it_from_being_sent_twice(make_home):
    stage = make_home(contacts=1)
    stage.run()
    stage.send(refused(131000))
    stage.status(1, "delivered").turn()
    stage.later(minutes=5)
    assert stage.send() == []
    assert stage.states() == {"delivered": 1}


def test_a_status_settles_what_stayed_unknown_or_was_refused_at_once(make_home):
    stage = make_home(contacts=3)
    stage.run()
    stage.send(lambda one: unknown(one) if one.id < 3 else refused(131000)(one))
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE message SET state = 'failed', failed_at = ? WHERE id = 3", (stage.us,))
    stage.status(1, "failed", code=131026).status(2, "read").status(3, "delivered").turn()
    found = stage.rows("SELECT state, error_code, delivered_at IS NULL FROM message ORDER BY id")
    assert found == [("failed", 131026, 1), ("read", None, 1), ("delivered", None, 0)]
    assert stage.rows("SELECT phone FROM unreachable") == [("+33600000000",)]
    assert stage.later(hours=1).send() == []


def test_metas_details_of_a_failed_status_stand_behind_its_title_where_they_add_to_it(make_home):
    def error(title, details):
        return [{"code": 131053, "title": title, "error_data": {"details": details}}]

    stage = make_home(contacts=4)
    stage.run()
    early = stage.status_of(4, "failed", errors=error("Media upload error", "Image is 6 MB."))
    del early["statuses"][0]["biz_opaque_callback_data"]
    stage.webhook(early).turn()
    stage.send()
    stage.status(1, "failed", errors=error("Media upload error", "Video is 20 MB."))
    stage.status(2, "failed", errors=error("Media upload error", "Media Upload Error"))
    stage.status(3, "failed", errors=error("", "x" * 5_000)).turn()
    found = [title for (title,) in stage.rows("SELECT error_title FROM message ORDER BY id")]
    assert found == [
        "Media upload error: Video is 20 MB.",
        "Media upload error",
        "Media refused: " + "x" * 300,
        "Media upload error: Image is 6 MB.",
    ]
    [told] = [one for one in failures(stage.home, None, stage.now) if one.kind == "messages_refused"]
    assert told.detail.startswith("The last: ")
    assert {row["error_title"] for row in stage.lake("message_events")} == {"Media upload error", None}


def test_a_status_that_nobody_knows_is_recorded_once_and_moves_nothing(make_home):
    stage = sent(make_home, 1)
    for _ in range(3):
        stage.status(1, "played").turn()
    assert [row["status"] for row in stage.lake("message_events")] == ["played"]
    assert stage.states() == {"accepted": 1}


def test_131050_that_came_before_the_answer_counts_from_when_it_was_said(make_home):
    stage = make_home(contacts=1)
    stage.run()
    value = stage.status_of(1, "failed", at=stage.now, code=131050)
    del value["statuses"][0]["biz_opaque_callback_data"]
    said = stage.us
    stage.webhook(value).turn()
    stage.later(minutes=1).send()
    stage.turn()
    assert stage.rows("SELECT change, cause, changed_at FROM consent_history") == [("opted_out", "meta_131050", said)]


# -- templates ---------------------------------------------------------------------------------------------------------


def news(event, name="hello", language="fr"):
    return {"event": event, "message_template_id": 1, "message_template_name": name,
            "message_template_language": language}  # fmt: skip


def tell(stage, event, **more):
    return stage.webhook(news(event, **more), field="message_template_status_update").turn()


@pytest.mark.parametrize("event", ["PAUSED", "PENDING", "IN_APPEAL"])
def test_a_template_that_may_come_back_holds_what_is_planned_with_it_until_it_does(make_home, event):
    stage = make_home(contacts=2)
    stage.run()
    tell(stage, event)
    assert stage.send() == []
    assert stage.rows("SELECT DISTINCT state, held_why FROM message") == [("held", "template_not_approved")]
    tell(stage, "APPROVED")
    assert stage.states() == {"planned": 2}
    assert len(stage.send()) == 2


@pytest.mark.parametrize("order", [["PAUSED", "APPROVED", "PAUSED"], ["APPROVED", "PAUSED"]])
def test_a_pause_that_comes_late_or_again_holds_nothing_that_was_approved_since(make_home, order):
    stage = make_home(contacts=2)
    stage.run()
    at = {"PAUSED": 1, "APPROVED": 2}
    for event in order:
        whole = delivery(news(event), "message_template_status_update")
        whole["entry"][0]["time"] = int(stage.now.timestamp()) - 60 + at[event]
        with (stage.path / "landing/webhooks/log.ndjson").open("a") as log:
            log.write(json.dumps(whole) + "\n")
        stage.turn()
    assert stage.rows("SELECT name FROM template_hold") == []
    assert len(stage.send()) == 2


def test_a_pause_from_before_the_templates_were_pulled_holds_nothing(make_home):
    stage = make_home(contacts=2)
    stage.run()
    with stage.home.ledger.write() as tx:
        note_approved(tx, [("hello", "fr")], stage.later(hours=1).now)
    whole = delivery(news("PAUSED"), "message_template_status_update")
    whole["entry"][0]["time"] = int(NOON.timestamp())
    (stage.path / "landing/webhooks/again.ndjson").write_text(json.dumps(whole) + "\n")
    stage.turn()
    assert len(stage.send()) == 2


def test_a_template_that_is_disabled_skips_what_is_planned_with_it(make_home):
    stage = make_home(contacts=2)
    stage.run()
    tell(stage, "DISABLED")
    assert stage.skips() == {"template_not_approved": 2}


def test_news_of_another_language_or_a_warning_holds_nothing(make_home):
    stage = make_home(contacts=2)
    stage.run()
    tell(stage, "PAUSED", language="en")
    tell(stage, "FLAGGED")
    assert len(stage.send()) == 2


# -- consent -----------------------------------------------------------------------------------------------------------


def test_131050_opts_out_of_marketing(make_home):
    stage = sent(make_home, 1)
    stage.status(1, "failed", code=131050).turn()
    assert stage.rows("SELECT scope, cause, wamid FROM consent_history") == [("marketing", "meta_131050", "wamid.1")]
    stage.campaign(OFFER.replace("name: offer", "name: second")).run("second")
    assert stage.skips() == {"opted_out": 1}
    stage.campaign(OFFER.replace("name: offer", "name: third").replace("template: hello", "template: order"))
    stage.run("third")
    assert stage.states() == {"failed": 1, "planned": 1}


def test_131050_is_not_lost_by_a_crash_after_the_fold(make_home, monkeypatch):
    stage = sent(make_home, 1)
    stage.status(1, "failed", code=131050)
    real = statuses.fold

    def crash(*args):
        real(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(statuses, "fold", crash)
    with pytest.raises(KeyboardInterrupt):
        stage.turn()
    monkeypatch.undo()
    stage.turn()
    assert stage.value("SELECT count(*) FROM consent_history") == 1
    assert stage.reasons() == {"end": 1}


def test_stop_ends_every_passage_and_skips_what_is_planned(make_home):
    second = OFFER.replace("name: offer", "name: second")
    stage = make_home(contacts=2, campaigns=[READ, second])
    stage.run()
    stage.send()
    stage.run("second")
    stage.says("+33600000001", "Stop !").turn()
    assert stage.rows("SELECT campaign, reason FROM participant WHERE contact_id = 'c1' ORDER BY 1") == [
        ("offer", "opted_out"),
        ("second", "opted_out"),
    ]
    assert stage.rows("SELECT campaign, contact_id, reason FROM skip") == [("second", "c1", "opted_out")]
    assert stage.value("SELECT state FROM message WHERE contact_id = 'c1' AND campaign = 'second'") == "skipped"
    assert stage.value("SELECT count(*) FROM participant WHERE left_at IS NULL") == 2
    assert stage.home.contacts.find(ids=["c1"])["opted_in"].to_list() == [False]


def test_after_stop_nothing_is_sent_and_after_start_it_is(make_home):
    stage = sent(make_home, 1)
    stage.says("+33600000000", "arrêt").turn()
    second = OFFER.replace("name: offer", "name: second").replace("steps:", "settings: {re_entry: always}\nsteps:")
    stage.campaign(second).run("second")
    assert stage.skips() == {"opted_out": 1}
    stage.later(minutes=1).says("+33600000000", "start").turn()
    stage.run("second")
    assert stage.states() == {"accepted": 1, "planned": 1}
    assert [row[0] for row in stage.rows("SELECT change FROM consent_history ORDER BY id")] == ["opted_out", "opted_in"]


def test_a_stop_that_is_read_again_ends_nobody_who_has_come_back_since(make_home):
    stage = sent(make_home, 1)
    stage.says("+33600000000", "stop").turn()
    stage.later(minutes=1).says("+33600000000", "start").turn()
    stage.campaign(OFFER.replace("name: offer", "name: second")).run("second")
    log = stage.path / "landing/webhooks/log.ndjson"
    shutil.copy(log, log.with_name("again.ndjson"))
    stage.turn()
    assert stage.value("SELECT count(*) FROM participant WHERE campaign = 'second' AND left_at IS NULL") == 1
    assert stage.skips() == {}


@pytest.mark.parametrize("dated", [False, True])
def test_a_stop_word_that_comes_late_counts_unless_a_file_brought_a_later_consent(make_home, dated):
    stage = make_home(contacts=1)
    stage.contacts([person(0, opted_in="false")], "no.csv").turn()
    stage.later(hours=1)
    agreed = {"opted_in_at": stage.now.isoformat()} if dated else {}
    stage.contacts([person(0, opted_in="true", **agreed)], "yes.csv").turn()
    said = stage.now - timedelta(minutes=5)
    stage.later(minutes=5).says("+33600000000", "STOP", at=said).turn()
    (row,) = stage.home.contacts.frame(["opted_in", "opt_out_scope"]).rows()
    assert row == ((True, None) if dated else (False, "all"))


def test_a_word_within_a_sentence_or_under_a_picture_is_no_stop_word(make_home):
    stage = sent(make_home, 1, READ)
    stage.says("+33600000000", "Stop, combien coûte ce sac ?")
    picture = {"from": "33600000000", "id": "wamid.p", "timestamp": "1796126400", "type": "image",
               "image": {"id": "1", "mime_type": "image/jpeg", "caption": "STOP"}}  # fmt: skip
    stage.webhook({"contacts": [{"wa_id": "33600000000"}], "messages": [picture]}).turn()
    assert stage.rows("SELECT count(*) FROM consent_history") == [(0,)]
    assert stage.value("SELECT left_at FROM participant") is None


def test_a_stranger_who_writes_becomes_a_contact_that_is_not_opted_in(make_home):
    stage = sent(make_home, 1)
    stage.says("+33600009999", "Bonjour").turn()
    (row,) = stage.home.contacts.find(phones=["+33600009999"]).select("contact_id", "opted_in").rows()
    assert row == ("whatsapp:+33600009999", False)


# -- answers -----------------------------------------------------------------------------------------------------------


def test_an_answer_belongs_to_the_message_it_quotes_else_to_the_newest(make_home):
    both = OFFER + "    next: reminder\n  reminder:\n    message: {template: reminder, language: fr}\n"
    stage = sent(make_home, 1, both)
    stage.later(minutes=1).send()
    stage.later(minutes=1).says("+33600000000", "Bonjour").says("+33600000000", "Merci", quotes="wamid.1").turn()
    assert stage.rows("SELECT text, message_id, step, late FROM reply ORDER BY id") == [
        ("Bonjour", 2, "reminder", 0),
        ("Merci", 1, "hello", 0),
    ]


def test_a_second_answer_to_a_message_is_late_and_a_reaction_is_no_answer(make_home):
    stage = sent(make_home, [person(0)])
    reaction = {"from": "33600000000", "id": "wamid.r", "timestamp": "1796126400", "type": "reaction",
                "reaction": {"message_id": "wamid.1", "emoji": "👍"}}  # fmt: skip
    stage.webhook({"contacts": [{"wa_id": "33600000000"}], "messages": [reaction]})
    stage.later(minutes=1).says("+33600000000", "Oui", quotes="wamid.1").turn()
    stage.later(minutes=1).says("+33600000000", "Non", quotes="wamid.1").turn()
    assert stage.rows("SELECT kind, late FROM reply ORDER BY replied_at") == [("reaction", 0), ("text", 0), ("text", 1)]


def test_the_envelope_says_when_a_delivery_was_received(make_home):
    stage = sent(make_home, 1)
    received = stage.now - timedelta(minutes=3)
    line = {"received_at": received.isoformat(), "body": json.dumps(delivery(stage.status_of(1, "sent")))}
    (stage.path / "landing/webhooks/gateway.ndjson").write_text(json.dumps(line) + "\n")
    stage.turn()
    assert [row["received_at"] for row in stage.lake("message_events")] == [received]


# -- a log of many chunks ----------------------------------------------------------------------------------------------


@pytest.fixture
def chunked(monkeypatch):
    """Logs are read a few lines at a time, and two such chunks are folded together."""
    real = Landing.chunks
    monkeypatch.setattr(Landing, "chunks", lambda self, stat, wall, final=False: real(self, stat, wall, final, 1_000))
    monkeypatch.setattr(deliveries, "AT_ONCE", 2)
    return real


def long_log(stage):
    """Three statuses each of four messages, bad lines and an answer between them. Gives the number of lines."""
    with (stage.path / "landing/webhooks/log.ndjson").open("a") as log:
        for status in ("read", "sent", "delivered"):
            for number in (1, 2, 3, 4):
                log.write(json.dumps(delivery(stage.status_of(number, status))) + "\n")
            log.write(f"{{broken {status}\n")
    stage.says("+33600000003", "Bonjour", quotes="wamid.4")
    return 16


def test_a_log_of_many_parts_is_taken_in_whole(make_home, chunked):
    stage = sent(make_home, 4)
    lines = long_log(stage)
    taken = stage.turn().taken.webhooks
    assert (taken.lines, taken.statuses, taken.answers, taken.quarantined) == (lines, 12, 1, 3)
    assert stage.states() == {"read": 4}
    assert stage.value("SELECT count(*) FROM message WHERE sent_at = delivered_at AND delivered_at = read_at") == 4
    assert stage.rows("SELECT line FROM quarantine ORDER BY line") == [(5,), (10,), (15,)]
    assert stage.rows("SELECT line FROM landing_file WHERE kind = 'webhooks'") == [(lines,)]
    assert len(stage.lake("message_events")) == 12


def test_what_was_folded_before_a_crash_is_not_counted_again(make_home, monkeypatch, chunked):
    stage = sent(make_home, 4, READ)
    lines = long_log(stage)
    real, done = deliveries.take_in_answers, []

    def crash(*args):
        done.append(args)
        if len(done) == 3:  # in the second part, whose statuses are folded
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(deliveries, "take_in_answers", crash)
    with pytest.raises(KeyboardInterrupt):
        stage.turn()
    monkeypatch.setattr(deliveries, "take_in_answers", real)
    before = len(stage.lake("message_events"))
    assert 0 < before < 12
    taken = stage.turn().taken.webhooks
    assert taken.lines < lines, "the first part is done"
    assert taken.statuses == 12 - before
    assert len(stage.lake("message_events")) == 12
    assert stage.states()["read"] == 4


def test_a_log_that_breaks_off_counts_up_to_there(make_home, monkeypatch, chunked):
    stage = sent(make_home, 4)
    lines = long_log(stage)
    short = Landing.chunks

    def breaking(*args):
        for number, chunk in enumerate(short(*args)):
            if number == 3:
                raise OSError("a bad sector")
            yield chunk

    monkeypatch.setattr(Landing, "chunks", breaking)
    taken = stage.turn().taken.webhooks
    assert 0 < taken.lines < lines
    assert stage.value("SELECT count(*) FROM quarantine WHERE reason LIKE '%a bad sector%'") == 1
    monkeypatch.setattr(Landing, "chunks", chunked)
    stage.turn()
    assert stage.states()["read"] == 4
