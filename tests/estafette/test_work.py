"""`import`, `preview`, `test`, `run`, `tick`, `stop`, `resume`, `status`, `query`: a small campaign, end to end."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from estafette import running
from estafette.failing import MOST_SECONDS
from estafette.session import Session
from pipelines.turn import let_in, move
from resources.home import Home, open_home
from resources.lease_names import PASS

ROOT = Path(__file__).parents[2]
BAD = "contact_id;phone;first_name;opted_in\nc1;06 12 34 56 78;jean;true\nc2;n/a;luc;true\n"


@pytest.fixture
def loaded(cli, people, box):
    assert cli("import", *map(str, people)).code == 0
    return cli


def test_import_counts_what_came_and_names_what_could_not_be_read(cli, tmp_path):
    file = tmp_path / "two.csv"
    file.write_text(BAD)
    found = cli("import", str(file), "--json")
    assert found.code == 0
    (row,) = found.json["files"]
    assert (row["kind"], row["new"], row["quarantined"]) == ("contacts", 1, 1)
    assert row["reasons"][0]["line"] == 3
    again = cli("import", str(file))
    assert again.code == 0
    assert "read before" in again.out
    assert "1 contact now." in again.out


def test_import_refuses_a_file_that_tells_nothing(cli, tmp_path, home):
    file = tmp_path / "what.csv"
    file.write_text("a,b\n1,2\n")
    found = cli("import", str(file))
    assert found.code == 2
    assert "--as" in found.err
    assert cli("import", str(tmp_path / "none.csv")).code == 2
    assert cli("import", str(file), "--as", "people").code == 2
    assert not list((home / "landing" / "contacts").glob("*.csv"))


def test_coupons_and_requests_are_imported_and_duplicates_are_told(cli, tmp_path, home):
    codes, requests = tmp_path / "autumn.csv", tmp_path / "ask.ndjson"
    codes.write_text("vouchers\nA1\nB2\nA1\n")
    requests.write_text('{"request_uuid":"r1","campaign":"c","users":["u1"],"attribute_values":{}}\n' * 2)
    found = cli("import", str(codes), str(requests), "--json")
    assert found.code == 0
    told = {row["kind"]: (row["name"], row["new"], row["unchanged"]) for row in found.json["files"]}
    assert told == {"coupons": ("autumn.csv", 2, 1), "requests": ("ask.ndjson", 1, 1)}
    codes.write_text("vouchers\nA1\nB2\nC3\n")
    again = cli("import", str(codes))
    assert "2 duplicates dropped" in again.out
    with open_home(home) as opened, opened.ledger.read() as tx:
        assert tx.exec_driver_sql("SELECT pool, count(*) FROM coupon GROUP BY pool").all() == [("autumn", 3)]
    loose = tmp_path / "loose.csv"
    loose.write_text("x\nD4\n")
    assert cli("import", str(loose), "--as", "coupon").code == 2


def test_a_preview_shows_the_message_and_the_request(cli, tmp_path):
    file = tmp_path / "one.csv"
    file.write_text(
        "contact_id,phone,first_name,opted_in,product_id\nc1,0612345678,jean,true,sac\nc2,0612345679,luc,true,\n"
    )
    cli("import", str(file))
    found = cli("preview", "autumn_offer", "--contact", "c1")
    assert found.code == 0
    assert "Bonjour Jean ! L’automne est là : nos chaussures" in found.out
    assert "https://shop.example.com/p/sac" in found.out
    as_json = cli("preview", "autumn_offer", "offer", "--contact", "c1", "--json").json
    assert as_json["body"]["to"] == "+33612345678"
    assert as_json["message"]["buttons"][0]["text"] == "Acheter maintenant"
    skipped = cli("preview", "autumn_offer", "--contact", "c2", "--json").json["skipped"]
    assert skipped["reason"] == "missing_variable"
    assert "product_id" in skipped["detail"]


def test_a_preview_takes_values_of_the_event_from_the_segment_or_from_the_command(cli, people):
    cli("import", *map(str, people))
    given = '{"points": 120, "valid_until": "2026-12-31"}'
    found = cli("preview", "loyal_points", "--contact", "c000002", "--event", given, "--json").json
    assert "120 points, valables jusqu’au 31/12/2026" in found["message"]["body"]
    assert cli("preview", "loyal_points", "--contact", "c000002", "--event", "{").code == 2
    assert cli("preview", "loyal_points", "--contact", "c000002", "--event", "[1]").code == 2


def test_a_preview_names_what_is_not_there(cli):
    assert "there is no contact `nobody`" in cli("preview", "autumn_offer", "--contact", "nobody").err
    found = cli("preview", "autumn_offer", "ofer", "--contact", "x")
    assert (found.code, "Did you mean `offer`?" in found.err) == (1, True)


def test_a_test_message_goes_to_one_phone_and_is_counted_nowhere(loaded, box, home):
    found = loaded("test", "autumn_offer", "reminder", "--to", "06 98 76 54 32", "--json")
    assert found.code == 0
    (sent,) = box.accepted()
    assert (sent["to"], sent["wamid"]) == ("+33698765432", found.json["wamid"])
    assert "Bonjour cher client" in found.json["message"]["body"]
    with open_home(home) as opened, opened.ledger.read() as tx:
        assert tx.exec_driver_sql("SELECT count(*) FROM message").scalar_one() == 0
    assert loaded("test", "autumn_offer", "offer", "--to", "06 98 76 54 32").code == 1
    assert loaded("test", "autumn_offer", "reminder", "--to", "me").code == 2
    assert len(box.messages()) == 1


def test_run_enters_the_audience_sends_and_shows_the_funnel(loaded, box):
    found = loaded("run", "autumn_offer", "--json")
    assert found.code == 0
    funnel = found.json
    assert funnel["entered"] + funnel["refused"].get("control", 0) == funnel["audience"] > 0
    assert funnel["accepted"] + sum(funnel["skipped"].values()) == funnel["entered"]
    assert funnel["held"] == {} and funnel["unknown"] == 0
    assert len(box.accepted()) == funnel["accepted"]

    again = loaded("run", "autumn_offer", "--json", now="2026-10-05T09:00:00Z").json
    assert (again["entered"], again["refused"]) == (0, {"already_in": 0, **again["refused"]})
    assert sum(again["refused"].values()) == again["audience"]
    assert len(box.accepted()) == funnel["accepted"]

    status = loaded("status", "autumn_offer", "--json").json["campaigns"][0]
    assert status["entered"] == funnel["entered"]
    assert sum(status["steps"]["offer"]["messages"].values()) == funnel["accepted"]
    assert status["skipped"] == funnel["skipped"]

    rows = loaded("query", "SELECT count(*) AS n FROM messages WHERE accepted_at IS NOT NULL", "--json").json
    assert rows == {"columns": ["n"], "types": ["BIGINT"], "rows": [[funnel["accepted"]]]}


def test_run_refuses_drafts_holes_and_stopped_campaigns(loaded, box, home):
    draft = loaded("run", "loyal_points")
    assert (draft.code, "loyal_points is a draft" in draft.err) == (1, True)
    loaded("stop", "autumn_offer", "--why", "the price was wrong")
    stopped = loaded("run", "autumn_offer")
    assert stopped.code == 1
    assert "stopped (the price was wrong)" in stopped.err
    loaded("resume", "autumn_offer")
    file = home / "campaigns" / "autumn_offer.yaml"
    file.write_text(file.read_text().replace("sender: main", "sender: mian"))
    hole = loaded("run", "autumn_offer", "--json")
    assert hole.code == 1
    assert hole.json["error"]["problems"][0]["field"] == "sender"
    assert box.messages() == []


def test_run_says_which_segment_fails_and_nothing_of_it_comes_back(loaded, home, box, monkeypatch):
    given, evaluate = [], Home.segment
    monkeypatch.setattr(Home, "segment", lambda *some: given.append(some[3:]) or evaluate(*some))
    (home / "segments" / "inactive_30d.yaml").unlink()
    (home / "segments" / "inactive_30d.sql").write_text("SELECT contact_id, 1 // 0 AS x FROM contacts WHERE nosuch > 1")
    found = loaded("run", "autumn_offer")
    assert found.code == 1
    assert "nosuch" in found.err
    assert given[-1] == (MOST_SECONDS,), "five minutes again, where it took five, only to say so"
    (home / "segments" / "inactive_30d.sql").write_text("SELECT contact_id FROM contacts")
    assert loaded("tick", "--json").json["entered"] == 0
    assert box.messages() == []


def test_a_run_of_which_every_segment_fails_leaves_none_of_them_behind(loaded, home, box):
    for name in ("one", "two"):
        (home / "segments" / f"{name}.sql").write_text("SELECT contact_id FROM contacts WHERE nosuch > 1")
    campaign = """name: both
sender: main
entries:
  - audience: {segment: one}
  - audience: {segment: two}
steps:
  first: {message: {template: autumn_last_call, language: fr}}
"""
    (home / "campaigns" / "both.yaml").write_text(campaign)
    assert loaded("run", "both").code == 1
    for name in ("one", "two"):
        (home / "segments" / f"{name}.sql").write_text("SELECT contact_id FROM contacts")
    assert loaded("tick", "--json").json["entered"] == 0
    assert box.messages() == []


def test_a_segment_that_fails_is_told_by_tick_status_and_doctor_while_somebody_waits_for_it(loaded, home, box):
    (home / "segments" / "some.sql").write_text("SELECT contact_id FROM contacts WHERE nosuch > 1")
    campaign = """name: timed
sender: main
entries:
  - audience: {segment: some, when: {at: "2026-10-05 10:30"}}
steps:
  first: {split: {branches: [{segment: some, next: second}], else: end}}
  second: {message: {template: autumn_last_call, language: fr}}
"""
    (home / "campaigns" / "timed.yaml").write_text(campaign)
    assert loaded("tick", "--json").json["failing"] == []  # 10:00 in Paris: nobody waits for it yet
    said = 'the audience of 2026-10-05T08:30:00Z held up: segments/some.sql:1: Referenced column "nosuch" not found'
    for command in (("tick",), ("status",), ("status", "timed")):
        assert said in loaded(*command, now="2026-10-05T08:30:00Z").out, command
    assert "audience of 2026-10-05T08:30:00Z of timed held up" in loaded("doctor", now="2026-10-05T08:30:00Z").out
    (home / "segments" / "some.sql").write_text("SELECT contact_id FROM contacts")
    mended = loaded("tick", "--json", now="2026-10-05T08:40:00Z").json
    assert (mended["entered"] > 40, mended["failing"]) == (True, [])


def test_what_is_stopped_waits_and_goes_on_later_with_as_much_time_left(loaded, box, home):
    box.template_status("autumn_offer", "fr", "PAUSED")
    loaded("templates", "pull")
    held = loaded("run", "autumn_offer", "--json").json
    assert held["accepted"] == 0
    (why,) = held["held"]
    assert why == "the template autumn_offer (fr) is PAUSED"
    assert "Waiting:" in loaded("status", "autumn_offer").out

    stopped = loaded("stop", "autumn_offer", "--json")
    assert stopped.json["waiting"] == held["planned"]
    box.template_status("autumn_offer", "fr", "APPROVED")
    loaded("templates", "pull")
    assert loaded("tick", now="2026-10-07T08:00:00Z").code == 0
    assert box.messages() == []  # stopped, and not expired after two days either
    resumed = loaded("resume", "autumn_offer", "--json", now="2026-10-07T08:00:00Z").json
    assert (resumed["campaign_resumed"], resumed["waiting"]) == (True, held["planned"])
    box.turn("2026-10-07T08:00:00Z")
    assert loaded("tick", "--until-idle", now="2026-10-07T08:00:00Z").code == 0
    assert len(box.accepted()) == held["planned"]
    assert loaded("resume", "autumn_offer", "--json").json["campaign_resumed"] is False


def test_a_sender_that_meta_stopped_is_explained_and_resumed(loaded, box):
    box.faults({"kind": "error", "code": 131042})
    assert loaded("run", "autumn_offer").code == 0
    status = loaded("status")
    assert "131042" in status.out
    assert "estafette resume --sender main" in status.out
    assert loaded("doctor").code == 1
    box.clear_faults()
    assert loaded("resume", "--sender", "main", "--json").json["sender_resumed"] is True
    assert loaded("tick", "--until-idle").code == 0
    assert len(box.accepted()) > 0
    assert box.summary()["max_copies"]["per_person_and_template"] == 1
    assert loaded("resume", "--sender", "mian").code == 1
    assert loaded("resume").code == 2


def test_stop_and_status_name_the_nearest_campaign(cli):
    for command in ("stop", "resume", "status", "check"):
        found = cli(command, "autum_offer")
        assert (found.code, "Did you mean `autumn_offer`?" in found.err) == (1, True), command


def test_tick_says_what_happened_and_needs_no_token_for_nothing_to_send(cli, people, home):
    (home / ".env").write_text("WHATSAPP_API_URL=http://127.0.0.1:9\n")
    (home / "landing" / "contacts" / "people.csv").write_bytes(people[0].read_bytes())
    found = cli("tick", "--until-idle", "--json")
    assert found.code == 0
    assert (found.json["entered"], found.json["planned"], found.json["still_due"]) == (0, 0, None)
    assert "All messages: none" in cli("tick").out
    assert cli("query", "SELECT count(*) > 40 AS many FROM contacts", "--json").json["rows"] == [[True]]


def test_tick_waits_for_another_pass_and_says_who_makes_it(cli, home):
    with open_home(home) as other:
        lease = other.ledger.take(PASS, "elsewhere:1:abc", seconds=1.5, note="run 42")
        assert lease is not None
        found = cli("tick")
    assert found.code == 0
    assert "elsewhere:1:abc (run 42)" in found.err


def test_run_follows_a_pass_elsewhere_until_whom_it_lets_in_has_a_message(make_home, monkeypatch):
    stage = make_home(contacts=3)
    stage.turn()
    then = iter(
        [
            lambda: let_in(stage.home, stage.lease, stage.now),
            lambda: None,
            lambda: move(stage.home, stage.lease, stage.now),
            stage.send,
        ]
    )
    clock = SimpleNamespace(sleep=lambda _: next(then)(), monotonic=time.monotonic)
    monkeypatch.setattr(running, "time", clock)
    found = running.follow(Session(str(stage.path)), stage.home, stage.home.project.campaigns["offer"])
    assert (found["entered"], found["accepted"]) == (3, 3)


def test_run_does_not_wait_for_people_whom_a_pass_elsewhere_lets_stand(make_home, monkeypatch):
    stage = make_home(contacts=3)
    stage.turn()
    then = iter([lambda: let_in(stage.home, stage.lease, stage.now), *[lambda: None] * 100])
    clock = SimpleNamespace(sleep=lambda _: next(then)(), monotonic=count(0.0, 30.0).__next__)
    monkeypatch.setattr(running, "time", clock)
    found = running.follow(Session(str(stage.path)), stage.home, stage.home.project.campaigns["offer"])
    assert (found["entered"], found["planned"]) == (3, 0)


def test_a_query_that_fails_or_writes_is_a_sentence(cli):
    early = cli("query", "SELECT 1")
    assert early.code == 1
    assert "estafette tick" in early.err
    cli("tick")
    for sql in ("SELECT nosuch FROM contacts", "SELEC 1", "DELETE FROM contacts", "COPY contacts TO '/tmp/x.csv'"):
        found = cli("query", sql)
        assert (found.code, found.out) == (1, ""), sql
        assert found.err.startswith("estafette: ")
    assert "x" in cli("query", "SELECT 1 AS x").out


def test_times_of_a_query_have_a_space_at_which_they_can_be_broken(cli):
    cli("tick")
    assert "2026-10-05 10:00:00.5" in cli("query", "SELECT TIMESTAMPTZ '2026-10-05 10:00:00.5+02' AS t").out


def test_json_of_a_query_has_times_and_decimals(cli):
    cli("tick")
    found = cli("query", "SELECT 1.50 AS d, TIMESTAMPTZ '2026-10-05 10:00+02' AS t, [1, 2] AS l, NULL AS n", "--json")
    assert json.loads(found.out)["rows"] == [[1.5, "2026-10-05T10:00:00+02:00", [1, 2], None]]


ENDLESS = {
    "rows": "SELECT count(*) FROM range(10000000000000) a, range(1000) b WHERE (a.range * b.range) % 7 = 3",
    "one call": "SELECT levenshtein(repeat('ab', 400000), repeat('ba', 400000))",
}


@pytest.mark.parametrize("what", ENDLESS)
def test_a_query_is_ended_at_once_by_ctrl_c_and_leaves_nothing_behind(cli, home, tmp_path, what):
    cli("tick")
    command = [sys.executable, "-m", "estafette", "query", ENDLESS[what], "--home", str(home)]
    asked = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    try:
        children = Path(f"/proc/{asked.pid}/task/{asked.pid}/children")
        wait_until(lambda: children.read_text().split() and list(tmp_path.glob("estafette-query-*")))
        [child] = children.read_text().split()
        time.sleep(1)  # until DuckDB is at it; where it is not yet, this proves less
        asked.send_signal(signal.SIGINT)
        said = asked.communicate(timeout=60)[1]
    finally:
        asked.kill()
    assert (asked.returncode, said) == (130, "stopped\n")
    assert not Path(f"/proc/{child}").exists() and list(tmp_path.glob("estafette-query-*")) == []


def wait_until(what):
    for _ in range(1_000):
        if what():
            return
        time.sleep(0.02)
    raise AssertionError("it never came")
