"""An error that nobody foresaw costs the campaign or the file in which it came up, and nobody else."""

import errno
import json

import polars as pl
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from estafette.cli import app
from journey.problems import LeaseLost
from pipelines import advance as advancing
from pipelines import audiences, plan, signals, stop_if, triggers, unknown
from resources import event_intake, landing_tables, statuses
from resources import requests as request_intake
from resources.containing import reaches_further, troubles
from tests.stage import OFFER, person

TRIGGER = """
name: {name}
sender: main
entries:
  - trigger: {{event: bought}}
settings: {{goals: [{{event: bought}}]}}
steps:
  hello:
    message: {{template: hello, language: fr}}
"""
TWO = (OFFER, OFFER.replace("name: offer", "name: second"))


class Broken(Exception):
    """Nobody foresaw it."""


def fails_for(monkeypatch, module, name, campaign="offer", error=None):
    """Whatever of a module's function concerns one campaign fails, until the test ends or `undo` is called."""
    real = getattr(module, name)

    def failing(*args, **more):
        mine = [one.name for one in args if getattr(one, "name", None) == campaign]
        mine += [one for one in args if getattr(getattr(one, "campaign", None), "name", None) == campaign]
        if mine:
            raise error or Broken("a page of a book")
        return real(*args, **more)

    monkeypatch.setattr(module, name, failing)
    return lambda: monkeypatch.setattr(module, name, real)


@pytest.fixture
def two(make_home):
    """Two campaigns for the same three people."""
    return make_home(campaigns=TWO)


def planned(stage):
    return dict(stage.rows("SELECT campaign, count(*) FROM message GROUP BY 1"))


def change(stage, statement):
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql(statement)


def run_both(stage):
    stage.turn()
    for campaign in stage.home.project.campaigns.values():
        audiences.add_occurrence(stage.home, campaign, stage.now)
    return stage.turn()


@pytest.mark.parametrize(
    ("module", "name", "doing"),
    [
        (plan, "rendered_for", "planning messages"),
        (advancing, "decide", "moving people on"),
        (audiences, "let_in", "letting in the audience of"),
        (audiences, "_make_due", "looking for what its schedules"),
        (unknown, "_settle_of", "settling unknown messages"),
    ],
)
def test_a_campaign_that_fails_in_a_pass_keeps_no_other_from_going_on(two, monkeypatch, module, name, doing):
    if name == "_make_due":
        text = OFFER.replace("{segment: everyone}", '{segment: everyone, when: {at: "2026-12-01 20:00"}}')
        two.campaign(text)
    mend = fails_for(monkeypatch, module, name)
    run_both(two)
    assert planned(two).get("second") == 3
    found = troubles(two.home.ledger)
    assert list(found) == ["offer"]
    assert found["offer"].doing.startswith(doing)
    assert "Broken: a page of a book" in found["offer"].error
    mend()
    two.later(seconds=61).turn()
    two.turn()
    assert planned(two) == ({"offer": 3, "second": 3} if name != "_make_due" else {"second": 3, "offer": 3})
    assert troubles(two.home.ledger) == {}


@pytest.mark.parametrize("column", ["body_row", "expires_at"])
def test_a_bad_row_among_what_waits_costs_its_campaign_alone(two, column):
    silent = "settings: {silent_hours: {from: '15:00', to: '16:00', timezone: Europe/Paris}}\nsteps:"
    for text in TWO:  # both columns are read of what silent hours or its own time end
        two.campaign(text.replace("steps:", silent) if column == "expires_at" else text)
    run_both(two)
    [(first, was)] = two.rows(f"SELECT min(id), {column} FROM message WHERE campaign = 'offer'")
    change(two, f"UPDATE message SET {column} = 'a page of a book' WHERE id = {first}")
    two.later(hours=2 if column == "expires_at" else 25)
    ended = {("second", "held"): 3} if column == "expires_at" else {("second", "skipped"): 3}
    two.turn()
    found = {(c, s): n for c, s, n in two.rows("SELECT campaign, state, count(*) FROM message GROUP BY 1, 2")}
    assert found == ended | {("offer", "planned"): 3}
    [(name, row)] = troubles(two.home.ledger).items()
    assert (name, row.doing) == ("offer", "holding and letting go its messages")
    change(two, f"UPDATE message SET {column} = {was} WHERE id = {first}")
    two.later(seconds=61).turn()
    assert two.rows("SELECT DISTINCT state FROM message") == [(next(iter(ended))[1],)]
    assert troubles(two.home.ledger) == {}


def test_a_rule_that_can_not_be_looked_at_stops_no_other_campaign_from_being_stopped_by_its_own(make_home, monkeypatch):
    rule = "settings: {stop_if: {failures_above: 1%}}\nsteps:"
    stage = make_home(campaigns=[text.replace("steps:", rule) for text in TWO])
    run_both(stage)
    real = stop_if._too_many_failures

    def failing(tx, campaign, since):
        if campaign.name == "offer":
            raise Broken("a page of a book")
        return "too many"

    monkeypatch.setattr(stop_if, "_too_many_failures", failing)
    stage.later(seconds=1).turn()
    assert stage.rows("SELECT name, stopped_why FROM campaign WHERE stopped_at IS NOT NULL") == [("second", "too many")]
    assert list(troubles(stage.home.ledger)) == ["offer"]
    monkeypatch.setattr(stop_if, "_too_many_failures", real)


def test_a_campaign_that_failed_is_left_alone_for_a_minute(two, monkeypatch):
    fails_for(monkeypatch, plan, "rendered_for")
    run_both(two)
    tries = []
    monkeypatch.setattr(plan, "rendered_for", lambda *args: tries.append(args[1].name) or pytest.fail("too soon"))
    two.later(seconds=30).turn()
    assert tries == []


def test_an_event_on_which_one_trigger_fails_reaches_the_others_and_that_one_later(make_home, monkeypatch):
    stage = make_home(campaigns=[TRIGGER.format(name="offer"), TRIGGER.format(name="second")])
    stage.turn()
    calls = []

    def once_for_offer(behind, events, clock):
        calls.append([one.campaign.name for one in behind])
        if "offer" in calls[-1]:
            raise Broken("a page of a book")
        return whole(behind, events, clock)

    whole = triggers._entries
    monkeypatch.setattr(triggers, "_entries", once_for_offer)
    stage.happens("bought", "c1").turn()
    assert stage.rows("SELECT campaign, contact_id FROM participant ORDER BY 1") == [("second", "c1")]
    assert [sorted(one) for one in calls] == [["offer", "second"], ["offer"], ["second"]]
    monkeypatch.setattr(triggers, "_entries", whole)
    stage.later(seconds=61).turn()
    assert stage.rows("SELECT campaign, contact_id FROM participant ORDER BY 1") == [("offer", "c1"), ("second", "c1")]


def test_goals_of_a_campaign_whose_events_fail_are_counted_later_and_those_of_others_now(make_home, monkeypatch):
    goal = "settings: {goals: [{event: bought}]}\nsteps:"
    stage = make_home(campaigns=[text.replace("steps:", goal) for text in TWO])
    run_both(stage)
    real = signals._look_from

    def failing(home, lease, cursor, campaigns, now):
        campaigns = list(campaigns)
        if any(one.name == "offer" for one in campaigns):
            raise Broken
        return real(home, lease, cursor, campaigns, now)

    monkeypatch.setattr(signals, "_look_from", failing)
    stage.later(seconds=1).happens("bought", "c1").turn()
    assert stage.rows("SELECT campaign FROM goal") == [("second",)]
    monkeypatch.setattr(signals, "_look_from", real)
    stage.later(seconds=61).turn()
    assert stage.rows("SELECT campaign FROM goal ORDER BY 1") == [("offer",), ("second",)]


def test_an_event_from_before_somebody_entered_is_still_looked_back_at_after_an_error(make_home, monkeypatch):
    text = TRIGGER.format(name="offer").replace("goals: [{event: bought}]", "exit_on: [{event: returned}]")
    stage = make_home(campaigns=[text])
    stage.turn()
    real = signals._look_back
    monkeypatch.setattr(signals, "_look_back", lambda *args: (_ for _ in ()).throw(Broken))
    stage.happens("bought", "c1", at="2026-12-01T11:00:00Z").happens("returned", "c1", at="2026-12-01T11:30:00Z").turn()
    monkeypatch.setattr(signals, "_look_back", real)
    stage.later(seconds=61).turn()
    assert stage.reasons() == {"exit_on": 1}


@pytest.mark.parametrize(
    "error",
    [
        LeaseLost("gone"),
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EIO, "Input/output error"),
        sa.exc.OperationalError("", {}, Exception("database or disk is full")),
        sa.exc.DatabaseError("", {}, Exception("database disk image is malformed")),
        RuntimeError("IO Error: Could not write: No space left on device"),
        MemoryError(),
        KeyboardInterrupt(),
    ],
)
def test_what_concerns_everybody_stops_the_pass(two, monkeypatch, error):
    fails_for(monkeypatch, plan, "rendered_for", error=error)
    with pytest.raises(type(error)):
        run_both(two)
    assert troubles(two.home.ledger) == {}


def test_an_error_that_came_of_a_full_disk_concerns_everybody_too():
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise ValueError("no frame") from error
    except ValueError as error:
        assert reaches_further(error)
    assert not reaches_further(KeyError("x"))
    assert not reaches_further(FileNotFoundError(errno.ENOENT, "gone"))


def test_commands_say_which_campaign_stands_still_and_why(two, monkeypatch):
    fails_for(monkeypatch, plan, "rendered_for")
    run_both(two)
    run = CliRunner().invoke
    status = run(app, ["--home", str(two.path), "status", "offer"])
    assert "Stands still since 2026-12-01" in status.stdout
    assert "planning messages failed: Broken: a page of a book" in status.stdout.replace("\n", " ")
    doctor = json.loads(run(app, ["--home", str(two.path), "--json", "doctor"]).stdout)
    [line] = [one for one in doctor["lines"] if one["what"] == "campaign offer"]
    assert line["level"] == "FAIL"
    assert "tried again each minute" in line["mend"]


def test_a_line_of_the_webhook_log_on_which_we_fail_takes_no_other_along(make_home, monkeypatch):
    stage = make_home(contacts=3)
    stage.run()
    stage.send()
    real = statuses.fold

    def failing(tx, told, now):
        if 2 in told.every["message_id"]:
            raise Broken("a page of a book")
        return real(tx, told, now)

    monkeypatch.setattr(statuses, "fold", failing)
    for number in (1, 2, 3):
        stage.status(number, "delivered")
    stage.says("+33600000000", "Bonjour").turn()
    assert stage.states() == {"accepted": 1, "delivered": 2}
    assert stage.value("SELECT count(*) FROM reply") == 1
    [(line, reason, raw)] = stage.rows("SELECT line, reason, raw FROM quarantine")
    assert line == 2
    assert reason.startswith("Estafette failed on it: Broken: a page of a book")
    assert "wamid.2" in raw
    monkeypatch.setattr(statuses, "fold", real)
    stage.status(3, "read").turn()
    assert stage.states() == {"accepted": 1, "delivered": 1, "read": 1}, "the log goes on behind it"


def test_a_line_of_an_event_or_request_file_on_which_we_fail_takes_no_other_along(make_home, monkeypatch):
    stage = make_home()
    stage.turn()

    def failing(real):
        def read(lines, *more):
            if any(b"poison" in raw for _, raw in lines):
                raise Broken("a page of a book")
            return real(lines, *more)

        return read

    monkeypatch.setattr(event_intake, "read_json_events", failing(event_intake.read_json_events))
    monkeypatch.setattr(request_intake, "read_requests", failing(request_intake.read_requests))
    stage.happens("bought", "c1").happens("poison", "c2").happens("bought", "c0")
    stage.asks("offer", "r1", users=["c1"]).asks("offer", "poison", users=["c1"]).asks("offer", "r3", users=["c1"])
    stage.turn()
    assert sorted(row["contact_id"] for row in stage.lake("events")) == ["c0", "c1"]
    assert stage.rows("SELECT uuid FROM request ORDER BY 1") == [("r1",), ("r3",)]
    assert stage.rows("SELECT file, line FROM quarantine ORDER BY 1") == [
        ("events/log.ndjson", 2),
        ("requests/log.ndjson", 2),
    ]


def test_a_contact_file_on_which_we_fail_is_put_aside_and_the_next_one_comes_in(make_home, monkeypatch):
    from resources import contact_intake

    stage = make_home(contacts=0)
    real = contact_intake.merge

    def failing(known, frame, *more):
        if "c1" in frame["contact_id"].to_list():
            raise Broken("a page of a book")
        return real(known, frame, *more)

    monkeypatch.setattr(contact_intake, "merge", failing)
    stage.contacts([person(1)], "a.csv").contacts([person(2)], "b.csv").turn()
    assert stage.home.contacts.frame(["contact_id"]).rows() == [("c2",)]
    [(file, reason)] = stage.rows("SELECT file, reason FROM quarantine")
    assert file == "contacts/a.csv"
    assert "Estafette failed on it: Broken: a page of a book" in reason


def test_a_campaign_file_on_which_we_fail_has_a_hole_and_the_others_are_live(two, monkeypatch):
    from resources import project

    real = project.find

    def failing(campaign, *more):
        if campaign.name == "offer":
            raise Broken("a page of a book")
        return real(campaign, *more)

    monkeypatch.setattr(project, "find", failing)
    two.reload()
    assert list(two.home.project.live_campaigns()) == ["second"]
    assert "Estafette failed on it: Broken" in two.home.project.holes["offer"][0].message


def test_a_segment_that_fails_is_asked_again_after_a_minute_or_when_it_has_changed(make_home, monkeypatch):
    bad = {"everyone.sql": "SELECT contact_id FROM contacts WHERE error('no')"}
    stage = make_home(segments=bad)
    asked = []
    real = stage.home.segment
    monkeypatch.setattr(stage.home, "segment", lambda *args: asked.append(args) or real(*args))
    assert stage.run().entered.failed
    for _ in range(3):
        stage.later(seconds=1)
        assert stage.turn().entered.failed, "it is said each time"
    assert len(asked) == 1
    stage.later(seconds=60).turn()
    assert len(asked) == 2
    (stage.path / "segments/everyone.sql").write_text("SELECT contact_id FROM contacts")
    stage.reload().turn()
    assert stage.states() == {"planned": 3}


def test_status_and_doctor_say_who_is_still_inside_a_campaign_whose_file_is_gone_or_a_draft(make_home):
    waiting = OFFER.replace("{template: hello, language: fr}", "{template: hello, language: fr}\n    next: wait")
    waiting += "  wait: {delay: {for: 3d}, next: end}\n"
    stage = make_home(campaigns=[waiting])
    stage.run()
    (stage.path / "campaigns/offer.yaml").unlink()
    stage.reload().turn()
    run = CliRunner().invoke
    status = run(app, ["--home", str(stage.path), "status"])
    assert "3 people are inside, and nobody moves." in status.stdout
    assert "put campaigns/offer.yaml back" in status.stdout.replace("\n", " ")
    doctor = json.loads(run(app, ["--home", str(stage.path), "--json", "doctor"]).stdout)
    [line] = [one for one in doctor["lines"] if one["what"] == "campaign offer"]
    assert line["found"] == "its file is gone, with 3 people inside"
    (stage.path / "campaigns/offer.yaml").write_text(waiting.replace("steps:", "draft: true\nsteps:"))
    doctor = json.loads(run(app, ["--home", str(stage.path), "--json", "doctor"]).stdout)
    [line] = [one for one in doctor["lines"] if one["what"] == "campaign offer"]
    assert line["found"] == "its file is a draft, with 3 people inside"


def test_a_panic_of_polars_costs_the_file_or_the_campaign_it_is_of(two, monkeypatch):
    """Of a Parquet file that is damaged in the right place Polars says so by what is no `Exception`."""
    panic = pl.exceptions.PanicException
    landing = two.path / "landing/contacts"
    pl.DataFrame({"contact_id": ["c9"]}).write_parquet(landing / "damaged.parquet")
    (landing / "good.csv").write_text("contact_id,phone\nc8,+33612345688\n")
    real = landing_tables.measured
    monkeypatch.setattr(landing_tables, "measured", lambda path: real(path) if "good" in path.name else _raise(panic))
    fails_for(monkeypatch, plan, "rendered_for", error=panic("an index is out of bounds"))
    run_both(two)
    assert two.rows("SELECT file FROM quarantine") == [("contacts/damaged.parquet",)]
    assert two.home.contacts.count() == 4 and planned(two)["second"] == 3
    assert "an index is out of bounds" in troubles(two.home.ledger)["offer"].error


def _raise(error):
    raise error("range end index 12 out of range")
