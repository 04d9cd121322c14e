"""Limits: holdout, the service window, frequency caps, coupons, prices, stop_if, and in which order reasons count."""

import time

import pytest

from journey.draws import draw
from pipelines import limits, plan
from tests.stage import OFFER, SETTINGS, TEMPLATES, accepted, person, refused, template, unknown

CAPPED = SETTINGS + "frequency_cap: {messages: 2, per: 7d}\n"
AGAIN = OFFER.replace("steps:", "settings: {re_entry: always%s}\nsteps:")
TEXT = OFFER.replace("{template: hello, language: fr}", '{text: "Bonjour !"}')
VOUCHERS = (
    *TEMPLATES,
    template("coupon", body="Votre code : {{voucher}} !"),
    template(
        "copied",
        body="Code {{voucher}}.",
        buttons=[{"type": "COPY_CODE", "text": "Copier", "example": "ABC"}],
    ),
)
COUPON = OFFER.replace("{template: hello, language: fr}", "{template: coupon, language: fr, coupons: {pool: autumn%s}}")


def said(stage, campaign="offer"):
    return stage.rows("SELECT contact_id, reason, detail FROM skip WHERE campaign = ? ORDER BY contact_id", campaign)


def go(stage, campaign, **later):
    """One more occurrence, `later`, whose messages Meta accepts."""
    stage.later(**later).run(campaign)
    stage.send()
    stage.turn()


def named(text, name):
    return text.replace("name: offer", f"name: {name}")


# -- holdout -----------------------------------------------------------------------------------------------------------


def test_the_holdout_gets_no_marketing_and_everything_else(make_home):
    order = named(OFFER, "order").replace("template: hello", "template: order")
    stage = make_home(settings=SETTINGS + "holdout: 30%\n", contacts=40, campaigns=[OFFER, order])
    stage.run()
    stage.run("order")
    out = sorted(f"c{n}" for n in range(40) if draw(f"c{n}") < 0.3)
    assert 2 < len(out) < 30
    detail = "one of the 30% whom no marketing is sent (holdout in estafette.yaml)"
    assert said(stage) == [(contact, "holdout", detail) for contact in out]
    assert said(stage, "order") == []


def test_the_holdout_is_said_before_what_is_wrong_with_the_message_and_after_consent(make_home):
    text = OFFER.replace(
        "template: hello, language: fr}", "template: named, language: fr, variables: {first_name: {user: nick}}}"
    )
    people = [person(n, nick="" if n < 6 else "Ana", opted_in="" if n % 2 else "false") for n in range(7)]
    stage = make_home(settings=SETTINGS + "holdout: 99.9999%\n", contacts=people, campaigns=[text])
    stage.run()
    assert [reason for _, reason, _ in said(stage)] == ["not_opted_in", "holdout"] * 3 + ["not_opted_in"]


# -- the service window ------------------------------------------------------------------------------------------------


def test_free_text_goes_only_to_who_wrote_to_this_sender_in_the_last_24_hours(make_home):
    stage = make_home(contacts=3, campaigns=[TEXT])
    stage.turn()
    stage.says("+33600000000", "Bonjour").says("+33600000001", "Salut", at=stage.now.replace(hour=11)).later(hours=23)
    stage.run()
    assert stage.rows("SELECT contact_id, kind, template, counted FROM message") == [("c0", "text", None, 0)]
    assert said(stage) == [
        ("c1", "outside_service_window", "last wrote to main at 2026-12-01 11:00 UTC, 24 hours ago or more"),
        ("c2", "outside_service_window", "not one message to main in the last 24 hours"),
    ]


def test_of_many_people_everybodys_last_message_is_read_at_once_and_says_the_same(make_home, monkeypatch):
    monkeypatch.setattr(limits, "FEW", 0)
    stage = make_home(contacts=3, campaigns=[TEXT])
    stage.turn()
    stage.says("+33600000000", "Bonjour").later(hours=1)
    stage.run()
    assert stage.rows("SELECT contact_id FROM message") == [("c0",)]


def test_a_text_that_comes_to_be_sent_after_the_window_is_skipped_unless_it_was_opened_again(make_home):
    stage = make_home(contacts=2, campaigns=[TEXT])
    stage.turn()
    stage.says("+33600000000", "Bonjour").says("+33600000001", "Bonjour").later(hours=23)
    stage.run()
    assert stage.states() == {"planned": 2}
    stage.says("+33600000001", "Encore moi").later(hours=1).turn()
    (claimed,) = stage.send()
    assert stage.value("SELECT contact_id FROM message WHERE id = ?", claimed.id) == "c1"
    assert said(stage) == [("c0", "outside_service_window", "the 24 hours after the last message to main are over")]


# -- frequency caps ----------------------------------------------------------------------------------------------------


def test_a_cap_counts_templates_of_every_campaign_within_a_rolling_time(make_home):
    stage = make_home(settings=CAPPED, contacts=1, campaigns=[named(AGAIN % "", name) for name in ("a", "b")])
    go(stage, "a", seconds=1)
    go(stage, "b", days=3)
    assert said(stage, "b") == []
    go(stage, "a", days=3)
    assert said(stage, "a") == [("c0", "frequency_capped", "2 of at most 2 in 1w (the cap of estafette.yaml)")]
    go(stage, "b", days=1)  # seven days after the first
    assert stage.value("SELECT count(*) FROM message") == 3


@pytest.mark.parametrize("few", [True, False])
def test_what_failed_or_was_skipped_does_not_count_and_what_may_have_gone_out_does(make_home, monkeypatch, few):
    if not few:
        monkeypatch.setattr(limits, "FEW", 0)
    capped = SETTINGS + "frequency_cap: {messages: 1, per: 7d}\n"
    stage = make_home(settings=capped, contacts=4, campaigns=[AGAIN % ""])
    stage.run()
    outcomes = {"c0": refused(130472), "c1": unknown, "c2": accepted}
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE message SET state = 'cancelled' WHERE contact_id = 'c3'")
    stage.send(lambda one: outcomes[stage.value("SELECT contact_id FROM message WHERE id = ?", one.id)](one))
    stage.turn()
    with stage.home.ledger.write() as tx:  # all of them may come in once more
        tx.exec_driver_sql("UPDATE participant SET left_at = 1, state = 'ended'")
    stage.later(hours=1).run()
    assert [contact for contact, _, _ in said(stage)] == ["c1", "c2"]


def test_the_messages_cap_stands_above_the_campaigns_and_that_above_the_projects(make_home):
    mine = AGAIN % ", frequency_cap: {messages: 1, per: 2d}"
    own = mine.replace("language: fr}", "language: fr, frequency_cap: {messages: 3, per: 1d}}")
    stage = make_home(settings=CAPPED, contacts=1, campaigns=[named(mine, "mine"), named(own, "own")])
    go(stage, "mine", seconds=1)
    go(stage, "mine", hours=1)
    assert said(stage, "mine")[0][2] == "1 of at most 1 in 2d (the cap of mine)"
    go(stage, "own", hours=1)
    go(stage, "own", hours=1)
    assert said(stage, "own") == []
    go(stage, "own", hours=1)
    assert said(stage, "own")[0][2] == "3 of at most 3 in 24h (the message's own cap)"


@pytest.mark.parametrize("where", ["message", "campaign"])
def test_what_ignores_caps_is_neither_capped_nor_counted(make_home, where):
    text = AGAIN % (", frequency_cap: ignore" if where == "campaign" else "")
    if where == "message":
        text = text.replace("language: fr}", "language: fr, frequency_cap: ignore}")
    free, bound = named(text, "free"), named(AGAIN % "", "bound")
    stage = make_home(
        settings=SETTINGS + "frequency_cap: {messages: 1, per: 7d}\n", contacts=1, campaigns=[free, bound]
    )
    for _ in range(3):
        go(stage, "free", hours=1)
    go(stage, "bound", hours=1)
    assert stage.states() == {"accepted": 4}
    go(stage, "bound", hours=1)
    assert [reason for _, reason, _ in said(stage, "bound")] == ["frequency_capped"]
    go(stage, "free", hours=1)
    assert said(stage, "free") == []


def test_without_any_cap_messages_still_count_for_those_that_come_later(make_home):
    stage = make_home(
        contacts=1, campaigns=[named(AGAIN % "", "a"), named(AGAIN % ", frequency_cap: {messages: 1, per: 7d}", "b")]
    )
    go(stage, "a", seconds=1)
    go(stage, "b", seconds=1)
    assert [reason for _, reason, _ in said(stage, "b")] == ["frequency_capped"]


KEYED = """
name: order
sender: main
entries:
  - trigger: {event: ordered, key: number}
settings: {frequency_cap: {messages: 2, per: 7d}}
steps:
  hello:
    message: {template: order, language: fr}
"""


@pytest.mark.parametrize("together", [1, 25_000])
def test_several_to_one_person_count_one_after_the_other_in_a_page_and_over_pages(make_home, monkeypatch, together):
    monkeypatch.setattr(plan, "TOGETHER", together)
    written = plan.write_chunk

    def slowly(*given):  # meanwhile the next page is read
        time.sleep(0.05)
        return written(*given)

    monkeypatch.setattr(plan, "write_chunk", slowly)
    stage = make_home(contacts=2, campaigns=[KEYED])
    stage.turn()
    for contact, number in [("c0", 1), ("c0", 2), ("c0", 3), ("c0", 4), ("c1", 5)]:
        stage.happens("ordered", contact, number=number)
    stage.later(seconds=1).turn()
    assert stage.rows("SELECT contact_id, count(*) FROM message GROUP BY 1") == [("c0", 2), ("c1", 1)]
    assert said(stage, "order") == [("c0", "frequency_capped", "2 of at most 2 in 1w (the cap of order)")] * 2


def test_counting_everybody_at_once_reads_the_counted_ones_of_that_time_only(make_home):
    query = f"SELECT max(contact_id), count(*) FROM message WHERE {limits._COUNTED} GROUP BY contact_id || ''"
    with make_home().home.ledger.read() as tx:
        plan = " ".join(str(row[-1]) for row in tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", {"since": 1}))
    assert "message_counted (planned_at>?)" in plan


def test_who_is_capped_takes_the_path_of_that_reason(make_home):
    text = AGAIN % ", frequency_cap: {messages: 1, per: 7d}"
    text += "    on_skip: {frequency_capped: reminder, else: end}\n  reminder:\n"
    text += "    message: {template: reminder, language: fr, frequency_cap: ignore}\n"
    stage = make_home(contacts=1, campaigns=[text])
    stage.run()
    stage.send()
    stage.turn()
    stage.later(hours=1).run()
    assert stage.rows("SELECT step FROM message ORDER BY id") == [("hello",), ("reminder",)]
