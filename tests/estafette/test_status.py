"""`status`: what a campaign is at now, and what comes next."""

import pytest

from journey.clock import to_us
from resources import tables
from resources.home import open_home
from tests.estafette.conftest import START
from tests.estafette.test_why import CAMPAIGN, PEOPLE, run


@pytest.fixture
def loaded(cli, home, tmp_path):
    (home / "segments" / "everyone.sql").write_text("SELECT contact_id FROM contacts ORDER BY contact_id\n")
    file = tmp_path / "people.csv"
    file.write_text(PEOPLE)
    assert cli("import", str(file)).code == 0

    def at_work(text: str = CAMPAIGN):
        (home / "campaigns" / "small.yaml").write_text(text)
        run(home, START)
        return cli

    return at_work


def one(found):
    (campaign,) = found.json["campaigns"]
    return campaign


def test_every_step_shows_its_kind_and_who_stands_there(loaded):
    told = one(loaded()("status", "small", "--json"))
    assert {name: step["kind"] for name, step in told["steps"].items()} == {"first": "message", "second": "message"}
    assert told["steps"]["first"]["inside"] == {"waiting": 1}
    assert told["skipped"] == {"missing_variable": 1, "not_opted_in": 2}


def test_the_control_group_is_counted_apart(loaded):
    told = one(loaded(CAMPAIGN.replace("settings:", "settings:\n  control_group: 99%"))("status", "small", "--json"))
    assert (told["entered"] + told["control"], told["control"] > 0) == (3, True)
    assert "control" not in told["left"]


def test_what_silent_hours_hold_is_told_with_when_it_goes_out(loaded):
    hours = 'silent_hours: {from: "09:00", to: "18:00", timezone: Europe/Paris}'
    cli = loaded(CAMPAIGN.replace("settings:", f"settings:\n  {hours}"))
    [first, *_] = one(cli("status", "small", "--json"))["held"]
    assert (first["why"], first["due_at"]) == ("silent hours", "2026-10-05T16:00:00+00:00")
    assert "because silent hours, until 2026-10-05 16:00:00" in cli("status", "small").out


def test_the_addresses_that_hold_messages_are_told(loaded, home):
    cli = loaded()
    with open_home(home) as opened:
        file = opened.bodies.put(_bodies('{"header":[{"type":"image","image":{"link":"https://x.example/a.jpg"}}]}'))
        with opened.ledger.write() as tx:
            number = opened.lake.register(tx, file)
            tx.exec_driver_sql(
                "UPDATE message SET state = 'held', held_why = 'media_unreachable', body_file = ?, body_row = 0",
                (number,),
            )
    [wait] = one(cli("status", "small", "--json"))["held"]
    assert wait["why"] == "the header's file can't be fetched (https://x.example/a.jpg)"


def _bodies(text: str):
    import polars as pl

    return pl.DataFrame([{"participant_id": 1, "step": "first", "visit": 1, "body": text}])


def test_goals_waiting_entries_and_coupons_are_told(loaded, home):
    text = CAMPAIGN.replace("    message: {template: hello_world, language: en_US}", COUPONS)
    cli = loaded(text)
    at = to_us(START)
    with open_home(home) as opened, opened.ledger.write() as tx:
        about = {"campaign": "small", "goal": "purchase", "participant_id": 1, "contact_id": "c1", "event_id": "e"}
        tx.execute(tables.goal.insert().values(**about, arm="treated", reached_at=at, value=12.5))
        tx.execute(
            tables.waiting_entry.insert().values(
                campaign="small", entry=0, kind="trigger", occurrence="e9", contact_id="u9", key="", since=at,
                until=at + 1_000_000,
            )
        )  # fmt: skip
        for code, ends in (("A", None), ("B", at - 1)):
            tx.execute(tables.coupon.insert().values(pool="autumn", code=code, state="free", expires_at=ends))
    told = one(cli("status", "small", "--json"))
    assert told["goals"] == [{"goal": "purchase", "arm": "treated", "reached": 1, "value": 12.5}]
    [wait] = told["waiting_for_their_contact"]
    assert (wait["entry"], wait["people"], wait["first_given_up_at"]) == ("trigger", 1, "2026-10-05T08:00:01+00:00")
    assert told["coupons"] == [{"pool": "autumn", "free": 1, "expired": 1, "codes": 2}]
    shown = cli("status", "small").out
    assert "Goal purchase: 1 passages reached it, treated, worth 12.5" in shown
    assert "Coupons autumn: 1 of 2 free, 1 expired" in shown
    assert "1 wait for their contact (trigger)" in shown


COUPONS = """    message:
      template: voucher_gift
      language: fr
      coupons: {pool: autumn}"""


def test_the_next_firing_of_a_schedule_is_told(loaded):
    when = '{segment: everyone, when: {cron: "30 9 * * MON", timezone: Europe/Paris}}'
    cli = loaded(CAMPAIGN.replace("{segment: everyone}", when))
    [following] = one(cli("status", "small", "--json"))["next"]
    assert following["fires_at"] == "2026-10-12T07:30:00+00:00"
    assert "everyone next at 2026-10-12 07:30:00" in cli("status", "small").out
    over = CAMPAIGN.replace("{segment: everyone}", '{segment: everyone, when: {at: "2026-10-05 09:30"}}')
    assert "everyone does not fire again" in loaded(over)("status", "small").out


def test_what_waits_in_a_campaign_that_stands_still_is_not_given_up(loaded):
    cli = loaded(CAMPAIGN.replace("settings:", 'settings:\n  silent_hours: {from: "09:00", to: "18:00"}'))
    assert "given up at" in cli("status", "small").out
    assert cli("stop", "small").code == 0
    assert "given up at" not in cli("status", "small").out


def test_one_campaigns_status_says_what_to_do_of_a_template_that_is_held_too(loaded, home):
    cli = loaded()
    with open_home(home) as opened, opened.ledger.write() as tx:
        row = {"name": "hello", "language": "fr", "status": "PAUSED", "code": 0, "changed_at": 1}
        tx.execute(tables.template_hold.insert().values(**row))
    for out in (cli("status").out, cli("status", "small").out):
        assert "Template hello (fr) is PAUSED: its messages wait." in out
        assert "when it is approved again: `estafette templates pull`" in out
