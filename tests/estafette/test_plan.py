"""`plan`: what a run would do, by the same code, and nothing of it remains."""

import hashlib
import json
from pathlib import Path

import polars as pl

from resources.home import open_home

CAMPAIGN = """
name: planned
sender: main
entries:
  - audience: {segment: everyone}
variables:
  first_name: {user: first_name}
steps:
  hello:
    message: {template: autumn_reminder, language: fr}
    on_read: {within: 2d, read: end, not_read: again}
    on_failure: by_failure
  again:
    message: {template: autumn_last_call, language: fr}
  by_failure:
    message: {template: autumn_last_call, language: fr}
"""
PEOPLE = """contact_id,phone,opted_in,first_name
c1,0612345671,true,Zoé
c2,0612345672,true,Luc
c3,0612345673,false,Ana
c4,0612345674,true,
"""


def campaign(home: Path, text: str = CAMPAIGN) -> None:
    (home / "campaigns" / "planned.yaml").write_text(text)
    (home / "segments" / "everyone.sql").write_text("SELECT contact_id FROM contacts ORDER BY contact_id\n")


def people(cli, tmp_path: Path, text: str = PEOPLE) -> None:
    file = tmp_path / "people.csv"
    file.write_text(text)
    assert cli("import", str(file)).code == 0


def state(home: Path) -> dict[str, str]:
    """Every file of the home and what is in it."""
    return {
        str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(home.rglob("*"))
        if path.is_file()
    }


def test_a_plan_says_who_would_get_what_and_who_would_not(cli, home, tmp_path):
    campaign(home)
    people(cli, tmp_path)
    found = cli("plan", "planned", "--json")
    assert found.code == 0
    told = found.json
    assert told["audiences"] == [{"segment": "everyone", "people": 4, "left_out": 0}]
    assert (told["outcomes"], told["messages"]) == ({"entered": 4}, 2)
    [row] = told["by_branch"]
    assert (row["step"], row["template"], row["language"], row["messages"]) == ("hello", "autumn_reminder", "fr", 2)
    skipped = {one["reason"]: (one["people"], one["details"][0]["detail"]) for one in told["skipped"]}
    assert {reason: people for reason, (people, _) in skipped.items()} == {"not_opted_in": 1, "missing_variable": 1}
    assert "first_name" in skipped["missing_variable"][1]
    assert told["left"] == {"skipped": 2}
    assert told["duration"]["seconds"] > 0


def test_a_plan_names_later_messages_as_what_they_can_be_at_most(cli, home, tmp_path):
    campaign(home)
    people(cli, tmp_path)
    later = {one["step"]: one for one in cli("plan", "planned", "--json").json["later"]}
    assert list(later) == ["again", "by_failure"]
    assert later["again"]["people_at_most"] == later["by_failure"]["people_at_most"] == 2
    assert not later["again"]["only_after_a_skip_or_failure"]
    assert later["by_failure"]["only_after_a_skip_or_failure"]
    assert "up to 2" in cli("plan", "planned").out


def test_a_plan_leaves_no_trace(cli, home, tmp_path):
    campaign(home)
    people(cli, tmp_path)
    before = state(home)
    assert any(name.startswith("data/lake/") for name in before)
    assert cli("plan", "planned", "--json").json["messages"] == 2
    assert state(home) == before


def test_a_ledger_that_lies_elsewhere_is_left_alone_too(cli, home, tmp_path):
    ledger = tmp_path / "elsewhere" / "ledger.sqlite"
    with (home / ".env").open("a") as env:
        env.write(f"ESTAFETTE_LEDGER_URL=sqlite:///{ledger}\n")
    campaign(home)
    people(cli, tmp_path)
    before = state(home), ledger.read_bytes()
    assert cli("plan", "planned", "--json").json["messages"] == 2
    assert (state(home), ledger.read_bytes()) == before


def test_an_audience_that_can_not_be_evaluated_is_refused_with_its_file(cli, home, tmp_path):
    campaign(home)
    people(cli, tmp_path)
    (home / "segments" / "everyone.sql").write_text("SELECT contact_id FROM contacts WHERE no_such_column = 1\n")
    found = cli("plan", "planned")
    assert found.code == 1
    assert "segments/everyone.sql" in found.err


def test_a_home_in_which_nothing_ever_ran_is_planned_without_making_its_ledger(cli, home):
    campaign(home)
    before = state(home)
    found = cli("plan", "planned", "--json")
    assert (found.code, found.json["messages"]) == (0, 0)
    assert state(home) == before


def test_a_plan_and_the_run_after_it_agree(cli, home, tmp_path, box):
    campaign(home)
    people(cli, tmp_path)
    planned = cli("plan", "planned", "--json").json
    ran = cli("run", "planned", "--json").json
    assert planned["entered"] == ran["entered"]
    assert planned["messages"] == ran["accepted"]
    assert {one["reason"]: one["people"] for one in planned["skipped"]} == ran["skipped"]
    again = cli("plan", "planned", "--json", now="2026-10-05T08:05:00Z").json
    assert again["outcomes"] == {"already_in": 2, "re_entry": 2}
    assert again["messages"] == 0


def test_a_plan_works_while_a_pass_is_at_work(cli, home, tmp_path):
    campaign(home)
    people(cli, tmp_path)
    with open_home(home) as opened:
        lease = opened.ledger.take("pass", "somebody else")
        with opened.ledger.write(lease):  # a transaction that is not over
            assert cli("plan", "planned", "--json").json["messages"] == 2
        opened.ledger.renew(lease)  # it is still theirs


def test_a_draft_is_planned_and_said_to_be_one(cli, home, tmp_path):
    campaign(home, CAMPAIGN.replace("sender: main", "sender: main\ndraft: true"))
    people(cli, tmp_path)
    told = cli("plan", "planned", "--json").json
    assert told["messages"] == 2
    assert any("draft" in note for note in told["notes"])


def test_a_stopped_campaign_is_planned_and_stays_stopped(cli, home, tmp_path):
    campaign(home)
    people(cli, tmp_path)
    cli("tick")
    cli("stop", "planned")
    told = cli("plan", "planned", "--json").json
    assert told["messages"] == 2
    assert any("stopped" in note for note in told["notes"])
    assert cli("status", "planned", "--json").json["campaigns"][0]["state"] == "stopped"


def test_a_schedule_that_is_due_does_not_get_in_the_way_of_the_plan(cli, home, tmp_path):
    when = '{at: "2026-10-05 09:59", timezone: Europe/Paris}'
    campaign(home, CAMPAIGN.replace("{segment: everyone}", f"{{segment: everyone, when: {when}}}"))
    people(cli, tmp_path)
    assert cli("plan", "planned", "--json").json["messages"] == 2


def test_a_campaign_with_a_hole_is_refused_with_what_is_wrong(cli, home):
    campaign(home, CAMPAIGN.replace("not_read: again", "not_read: agan"))
    found = cli("plan", "planned")
    assert found.code == 1
    assert "agan" in found.err
    assert cli("plan", "planed").err.count("Did you mean `planned`?") == 1


def test_what_has_not_been_taken_in_is_told(cli, home, tmp_path):
    campaign(home)
    people(cli, tmp_path)
    (home / "landing" / "contacts" / "late.csv").write_text("contact_id,phone\nc9,0612345679\n")
    told = cli("plan", "planned", "--json").json
    assert told["messages"] == 2
    assert any("1 file in landing/ has not been taken in" in note for note in told["notes"])


def test_a_plan_is_kept_with_its_bodies(cli, home, tmp_path):
    campaign(home)
    people(cli, tmp_path)
    out = tmp_path / "plans" / "one"
    found = cli("plan", "planned", "--out", str(out))
    assert found.code == 0
    assert str(out) in found.out
    assert json.loads((out / "summary.json").read_text())["messages"] == 2
    messages = pl.read_parquet(out / "messages.parquet").sort("contact_id")
    assert messages["contact_id"].to_list() == ["c1", "c2"]
    body = json.loads(messages["body"][0])
    assert (body["to"], "Zoé" in str(body)) == ("+33612345671", True)
    assert sorted(pl.read_parquet(out / "skips.parquet")["reason"]) == ["missing_variable", "not_opted_in"]
    assert pl.read_parquet(out / "entries.parquet").height == 4
    file = tmp_path / "file"
    file.write_text("")
    assert cli("plan", "planned", "--out", str(file)).code == 2


TRIGGERED = CAMPAIGN.replace("audience: {segment: everyone}", "trigger: {event: ordered, key: number, max_age: 6h}")
EVENTS = """
{"event": "ordered", "contact_id": "c1", "occurred_at": "2026-10-05T07:00:00Z", "properties": {"number": "A"}}
{"event": "ordered", "contact_id": "c1", "occurred_at": "2026-10-05T07:10:00Z", "properties": {"number": "B"}}
{"event": "ordered", "contact_id": "c2", "occurred_at": "2026-10-05T07:20:00Z", "properties": {}}
{"event": "ordered", "contact_id": "c2", "occurred_at": "2026-10-04T07:20:00Z", "properties": {"number": "C"}}
{"event": "ordered", "contact_id": "nobody", "occurred_at": "2026-10-05T07:30:00Z", "properties": {"number": "D"}}
"""


def test_a_trigger_is_planned_with_the_events_of_its_last_max_age(cli, home, tmp_path, box):
    campaign(home, TRIGGERED)
    people(cli, tmp_path)
    events = tmp_path / "events.ndjson"
    events.write_text(EVENTS.lstrip())
    assert cli("import", str(events)).code == 0
    told = cli("plan", "planned", "--json").json
    assert told["outcomes"] == {"entered": 2, "refused": 1}
    assert told["refused"][0]["detail"]  # says which property the event lacks
    assert (told["messages"], told["waiting_for_their_contact"]) == (2, 1)
    assert any("events of the last 6h" in note for note in told["notes"])
    assert cli("tick").code == 0
    assert len(box.accepted()) == 2
    again = cli("plan", "planned", "--json").json
    assert (again["outcomes"], again["messages"]) == (told["outcomes"], told["messages"])
    assert again["waiting_for_their_contact"] == 1


def test_a_campaign_that_only_the_api_enters_can_not_be_planned_and_that_is_no_failure(cli, home):
    campaign(home, CAMPAIGN.replace("audience: {segment: everyone}", "api: {attributes: []}"))
    found = cli("plan", "planned", "--json")
    assert (found.code, found.json["plannable"]) == (0, False)
    assert "by the API only" in cli("plan", "planned").out


def test_whoever_asks_before_a_large_audience_sees_the_numbers_and_that_it_asks(cli, home, tmp_path):
    text = CAMPAIGN.replace("steps:", "settings:\n  stop_if: {audience_above: 3}\nsteps:", 1)
    campaign(home, text)
    people(cli, tmp_path)
    told = cli("plan", "planned", "--json").json
    assert told["messages"] == 2
    assert any("above stop_if.audience_above (3)" in note for note in told["notes"])


BRANCHING = """
name: planned
sender: main
entries:
  - audience: {segment: everyone}
settings:
  control_group: 50%
steps:
  by_name:
    split: {branches: [{user: {first_name: Luc}, next: pause}], else: hello}
  hello:
    message: {template: hello_world, language: en_US}
  pause:
    delay: {for: 3d}
    next: hello
"""


def test_branches_waits_and_the_control_group_are_told_apart(cli, home, tmp_path):
    campaign(home, BRANCHING)
    rows = [f"p{number},06123456{number:02},true,{'Luc' if number % 2 else 'Zoé'}" for number in range(60)]
    people(cli, tmp_path, "contact_id,phone,opted_in,first_name\n" + "\n".join(rows) + "\n")
    told = cli("plan", "planned", "--json").json
    assert told["outcomes"] == {"entered": told["entered"], "control": told["control"]}
    assert 10 < told["control"] < 50
    [row] = told["by_branch"]
    [wait] = told["waiting"]
    assert (row["step"], row["path"]) == ("hello", "by_name else")
    assert (wait["step"], wait["kind"], wait["first"]) == ("pause", "delay", "2026-10-08T08:00:00+00:00")
    assert row["messages"] + wait["people"] == told["entered"]
    [later] = told["later"]
    assert (later["step"], later["people_at_most"]) == ("hello", wait["people"])


def test_prices_and_later_prices_are_upper_bounds_from_the_rate_card(cli, home, tmp_path):
    campaign(home)
    people(cli, tmp_path)
    head = "effective_from,currency,market,category,tier_from,rate\n"
    (home / "rates" / "example.csv").write_text(head + "2026-01-01,EUR,France,MARKETING,0,0.05\n")
    told = cli("plan", "planned", "--json").json
    assert told["total"] == {"EUR": 0.1}
    assert told["cost"] == [
        {"market": "France", "category": "MARKETING", "currency": "EUR", "messages": 2, "price": 0.1}
    ]
    assert told["later_cost_at_most"] == {"EUR": 0.2}  # two people, each at most at two more steps


COUPONS = CAMPAIGN.replace(
    "message: {template: autumn_last_call, language: fr}\n  by_failure",
    "message: {template: voucher_gift, language: fr, coupons: {pool: gifts}}\n  by_failure",
).replace(
    "message: {template: autumn_reminder, language: fr}",
    "message: {template: voucher_gift, language: fr, coupons: {pool: gifts}}",
)


def test_coupons_are_counted_needed_left_and_lacking_and_stay_free(cli, home, tmp_path):
    campaign(home, COUPONS)
    people(cli, tmp_path)
    codes = tmp_path / "gifts.csv"
    codes.write_text("code\nA1\n")
    assert cli("import", str(codes)).code == 0
    told = cli("plan", "planned", "--json").json
    assert told["messages"] == 1
    [pool] = told["coupons"]
    assert pool == {
        "pool": "gifts", "codes": 1, "free": 1, "needed": 2, "left": 0, "lacking": 1, "later_at_most": 1,
    }  # fmt: skip
    assert ("coupons_exhausted", 1) in {(one["reason"], one["people"]) for one in told["skipped"]}
    with open_home(home) as opened, opened.ledger.read() as tx:
        assert tx.exec_driver_sql("SELECT state FROM coupon").scalar_one() == "free"


def test_what_silent_hours_would_hold_is_told_with_when_it_goes_out(cli, home, tmp_path):
    hours = 'silent_hours: {from: "09:00", to: "18:00", timezone: Europe/Paris}'
    campaign(home, CAMPAIGN.replace("steps:", f"settings:\n  {hours}\nsteps:", 1))
    people(cli, tmp_path)
    [wait] = cli("plan", "planned", "--json").json["held"]
    assert (wait["reason"], wait["messages"], wait["first"]) == ("silent_hours", 2, "2026-10-05T16:00:00+00:00")
    assert "2026-10-05 18:00" in cli("plan", "planned").out
