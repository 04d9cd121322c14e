"""`why`: what happened to one contact, in the order in which it was caused, each thing with its reason."""

from datetime import timedelta

import pytest

from estafette.life import chained
from journey.clock import to_us
from journey.reasons import ENDS, OUTCOMES, SKIPS
from journey.words import EntryOutcome, LeaveReason, SkipReason
from resources import tables
from resources.home import open_home
from tests.estafette.conftest import START
from tests.stage import Stage

CAMPAIGN = """
name: small
sender: main
entries:
  - audience: {segment: everyone}
variables:
  first_name: {user: first_name}
settings:
  re_entry: always
steps:
  first:
    message: {template: autumn_reminder, language: fr}
    on_skip: second
    on_read: {within: 2d, read: end, not_read: second}
  second:
    message: {template: hello_world, language: en_US}
"""
PEOPLE = """contact_id,phone,opted_in,first_name
c1,0612345671,true,Zoé
c2,0612345672,true,
c3,0612345673,false,Ana
"""


@pytest.fixture
def ran(cli, home, tmp_path):
    """The campaign ran at START: c1 was sent to, c2 lacks a variable at the first step, c3 has not opted in."""
    (home / "campaigns" / "small.yaml").write_text(CAMPAIGN)
    (home / "segments" / "everyone.sql").write_text("SELECT contact_id FROM contacts ORDER BY contact_id\n")
    file = tmp_path / "people.csv"
    file.write_text(PEOPLE)
    assert cli("import", str(file)).code == 0
    run(home, START)
    return cli


def run(home, at) -> None:
    stage = Stage(home, at)
    stage.run("small")
    stage.send()
    stage.turn()
    stage.home.close()


def texts(found) -> list[str]:
    return [one["text"] for one in found.json["happened"]]


def test_a_message_is_followed_from_the_entry_to_what_is_waited_for(ran):
    found = ran("why", "c1", "small", "--json")
    assert found.code == 0
    consent, entered, *rest = texts(found)
    assert consent == "opted in (file)"
    assert entered.startswith("entered by audience (run 2026-10-05T08:00")
    assert rest == [
        "first: autumn_reminder (fr) planned",
        "first: handed to Meta",
        "first: accepted by Meta",
    ]
    [wait] = found.json["waits"]
    assert (wait["step"], wait["until"]) == ("first", "2026-10-07T08:00:00+00:00")
    assert "a read within 2d; else it goes to second" in wait["waits_for"]
    assert "2026-10-07 10:00:00" in ran("why", "c1").out  # Paris


def test_a_skip_says_what_is_missing_and_what_mends_it_before_the_move_that_it_caused(ran):
    found = ran("why", "c2", "--json")
    told = texts(found)
    skip = next(one for one in found.json["happened"] if one["what"] == "skip")
    assert skip["text"].startswith("first: skipped, missing_variable: a variable of the message has no value")
    assert "first_name" in skip["data"]["detail"]
    assert "fallback" in skip["mend"]
    assert (
        told.index(skip["text"])
        < told.index("first (on_skip) → second")
        < told.index("second: hello_world (en_US) planned")
    )


def test_whoever_did_not_enter_is_told_why(ran, home):
    run(home, START + timedelta(hours=1))
    happened = ran("why", "c1", "--json").json["happened"]
    assert happened[-1]["text"].startswith("did not enter by audience (run 2026-10-05T09:00")
    assert "already_in, inside already" in happened[-1]["text"]
    assert "once that passage is over" in happened[-1]["mend"]


def test_a_contact_may_be_named_by_its_phone(ran):
    assert ran("why", "06 12 34 56 71", "--json").json["contact_id"] == "c1"
    assert ran("why", "+33612345671", "--json").json["contact_id"] == "c1"


def test_somebody_unknown_is_refused_with_who_could_be_meant(ran):
    found = ran("why", "C1")
    assert (found.code, "Did you mean `c1`?" in found.err) == (1, True)
    found = ran("why", "0698765432")
    assert (found.code, "+33698765432" in found.err) == (1, True)
    assert ran("why", "c1", "smal").code == 1


def test_nothing_has_happened_is_said(cli, home, tmp_path):
    file = tmp_path / "people.csv"
    file.write_text(PEOPLE.replace("true", ""))
    cli("import", str(file))
    assert "Nothing has happened yet" in cli("why", "c1").out


def test_replies_clicks_goals_coupons_consent_and_errors_are_told(ran, home):
    at = to_us(START)
    with open_home(home) as opened, opened.ledger.write() as tx:
        number, person = tx.exec_driver_sql("SELECT id, participant_id FROM message WHERE contact_id = 'c1'").one()
        code = tx.execute(tables.coupon.insert().values(pool="autumn", code="AB-1", state="sent", contact_id="c1"))
        tx.exec_driver_sql(
            "UPDATE message SET coupon_id = ?, state = 'failed', failed_at = ?, error_code = 131026,"
            " error_title = 'Undeliverable' WHERE id = ?",
            (code.inserted_primary_key[0], at + 60_000_000, number),
        )
        about = {"campaign": "small", "step": "first", "contact_id": "c1", "participant_id": person}
        reply = {"wamid": "w1", "kind": "text", "text": "Oui", "late": True, "received_at": at}
        tx.execute(tables.reply.insert().values(**about, **reply, message_id=number, replied_at=at + 1_000_000))
        tx.execute(
            tables.click.insert().values(
                **about, event_id="e1", message_id=number, button="Acheter", clicked_at=at + 2_000_000
            )
        )
        goal = {"campaign": "small", "goal": "purchase", "participant_id": person, "contact_id": "c1"}
        tx.execute(
            tables.goal.insert().values(**goal, arm="treated", event_id="e2", reached_at=at + 3_000_000, value=20)
        )
        tx.execute(
            tables.consent_history.insert().values(
                contact_id="c1", change="opted_out", scope="marketing", cause="meta_preference", source="webhooks/a",
                changed_at=at + 4_000_000,
            )
        )  # fmt: skip
    found = ran("why", "c1", "--json")
    told = texts(found)
    assert told[2] == "first: autumn_reminder (fr) planned with the coupon autumn AB-1"
    assert told[-5:] == [
        "wrote “Oui” to first, late: it moved no one",
        "tapped on the link Acheter of first",
        "reached the goal purchase, worth 20",
        "opted out of marketing (meta_preference)",
        "first: failed: 131026 Undeliverable",
    ]
    assert found.json["happened"][-1]["mend"]


def test_passages_of_one_contact_are_told_apart_by_their_key(ran, home):
    trigger = CAMPAIGN.replace("audience: {segment: everyone}", "trigger: {event: ordered, key: order}")
    (home / "campaigns" / "small.yaml").write_text(trigger)
    stage = Stage(home, START + timedelta(minutes=1))
    for order in ("A1", "A2"):
        stage.happens("ordered", "c1", order=order)
    stage.turn()
    stage.home.close()
    found = ran("why", "c1")
    assert all(f", for {order}" in found.out for order in ("A1", "A2"))
    assert [line.split()[:2] for line in found.out.splitlines() if line.startswith(" small")] == [
        ["small", "first"], ["small", "A1"], ["small", "A2"],
    ]  # fmt: skip


def test_a_campaign_whose_file_is_gone_or_has_a_hole_is_what_people_inside_wait_for(ran, home):
    (home / "campaigns" / "small.yaml").write_text(CAMPAIGN.replace("sender: main", "sender: mian"))
    assert (
        ran("why", "c1", "--json")
        .json["waits"][0]["waits_for"]
        .endswith("the campaign is not live, `estafette status` says why")
    )
    (home / "campaigns" / "small.yaml").write_text("name: [")
    assert "has a hole; `estafette check`" in ran("why", "c1", "--json").json["waits"][0]["waits_for"]
    (home / "campaigns" / "small.yaml").unlink()
    assert "is gone; `estafette drop`" in ran("why", "c1", "--json").json["waits"][0]["waits_for"]


def test_somebody_who_is_waited_for_is_found_by_the_id_that_was_asked_for(ran, home):
    at = to_us(START)
    with open_home(home) as opened, opened.ledger.write() as tx:
        tx.execute(
            tables.waiting_entry.insert().values(
                campaign="small", entry=0, kind="trigger", occurrence="e9", contact_id="u9", event_id="e9", key="",
                since=at, until=at + 24 * 3600 * 1_000_000,
            )
        )  # fmt: skip
    found = ran("why", "u9")
    assert found.code == 0
    assert "waited for until 2026-10-06 10:00:00" in found.out


@pytest.mark.parametrize(("words", "told"), [(EntryOutcome, OUTCOMES), (SkipReason, SKIPS), (LeaveReason, ENDS)])
def test_every_reason_has_a_sentence(words, told):
    assert set(told) == set(words)
    assert all(one.what for one in told.values())


def test_moves_of_one_moment_are_told_as_they_follow_each_other() -> None:
    def move(start: str, to: str, visit: int = 1, minute: int = 0) -> dict[str, object]:
        at = START + timedelta(minutes=minute)
        return {"participant_id": 1, "from_step": start, "to_step": to, "visit": visit, "moved_at": at}

    first, second, third = move("a", "b"), move("b", "c"), move("c", "a", 2)
    later = [move("a", "b", 2, minute=5), move("b", "end", minute=5)]
    assert chained([*reversed(later), third, second, first]) == [first, second, third, *later]


def test_what_somebody_wrote_in_the_inbox_says_who(ran, home):
    stage = Stage(home, START)
    stage.later(minutes=1).says("+33612345671", "Vous livrez ?").turn()
    stage.answers("c1", text="Oui.").answers("c2", "a2", author="bob", text="Bonjour").turn()
    stage.home.close()
    found = texts(ran("why", "c1", "--json"))
    assert "anna in the inbox: a text planned" in found
    skipped = [one for one in ran("why", "c2", "--json").json["happened"] if one["what"] == "skip"]
    assert skipped[-1]["text"].startswith("bob in the inbox: skipped, outside_service_window")
    assert (skipped[-1]["campaign"], skipped[-1]["participant_id"], skipped[-1]["step"]) == (None, None, None)
