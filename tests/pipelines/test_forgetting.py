"""`forget`: nothing of a person is left anywhere under the home, and everything that is counted still is."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from estafette.doctor import _work
from estafette.person import find
from pipelines import forgetting
from pipelines.forgetting import Forgotten, forget, unfinished
from pipelines.publish import publish
from pipelines.scrubbing import scrub
from resources.analyst_db import connect
from resources.ledger import Ledger
from resources.person import know
from resources.person_export import document
from resources.reached import miscounted
from tests.resources.test_numbers import answers
from tests.stage import NOON, Stage, delivery, person, write_home

PHONE, WA = "+33612349876", "33612349876"
WAMID = "wamid.HBgLMzM2MTIzNDk4NzYVAgARGBI1RjQyNUE3NDRGMTMwMzMyRTMA"
"""As Meta writes it: the phone is in it, in base64."""

OFFER = """
name: offer
sender: main
entries:
  - audience: {segment: everyone}
steps:
  hello:
    message:
      template: named
      language: fr
      variables: {first_name: {user: first_name, fallback: vous}}
    on_reply: {within: 1d, answers: {Oui: end}, silence: end}
"""
ORDER = """
name: order
sender: main
entries:
  - trigger: {event: ordered, key: number}
  - trigger: {event: team, contacts: {event: members}}
  - api: {attributes: [word]}
steps:
  done:
    message: {template: order, language: fr}
"""
#: What must be found nowhere afterwards, in any file's bytes or any row
SECRETS = (
    "jeanne-8841", "612349876", "6 12 34 98 76", "Jeanne", "Quilleriet", "peur des vaches", "rue des Lilas",
    "MzM2MTIzNDk4NzY", "Bien le bonjour", "number-77",
)  # fmt: skip


def me(**more: Any) -> dict[str, object]:
    return {"contact_id": "jeanne-8841", "phone": "06 12 34 98 76", "country": "FR", "first_name": "Jeanne", **more}


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, datetime, float]]:
    """A home in which Jeanne has done everything that somebody can do, and two others much of it beside her; and when
    that was."""
    others = [person(1, first_name="Anne"), person(2, first_name="Bob")]
    path = tmp_path_factory.mktemp("lived") / "home"
    made = Stage(write_home(path, campaigns=[OFFER, ORDER], contacts=[*others, me()]), NOON)
    live(made)
    made.home.close()
    yield path, made.now, made.wall


@pytest.fixture
def stage(lived: tuple[Path, datetime, float], tmp_path: Path) -> Iterator[Stage]:
    """A copy of that home, as its owner finds it."""
    path, now, wall = lived
    shutil.copytree(path, tmp_path / "home")
    made = Stage(tmp_path / "home", now)
    made.wall, made._incoming = wall, 100
    with made.home.ledger.write() as tx:  # a copy has other inodes
        for stat in made.home.landing.files():
            tx.exec_driver_sql(
                "UPDATE landing_file SET inode = ? WHERE kind = ? AND name = ?", (stat.inode, stat.kind, stat.name)
            )
    made.home.ledger.engine.dispose()
    publish(made.home, made.lease)
    yield made
    made.home.close()


def live(made: Stage) -> None:
    landing = made.path / "landing"
    (landing / "requests").mkdir(exist_ok=True)
    (landing / "contacts/more.ndjson").write_text(
        "".join(
            json.dumps(row) + "\n"
            for row in (
                {"contact_id": "c1", "address": "2 rue du Puits"},
                {"contact_id": "jeanne-8841", "address": "1 rue des Lilas", "last_name": "Quilleriet"},
                {"contact_id": "c2", "referred_by": "jeanne-8841"},
            )
        )
    )
    pl.DataFrame([{"contact_id": "c1", "age": 30}, {"contact_id": "jeanne-8841", "age": 41}]).write_parquet(
        landing / "contacts/ages.parquet"
    )
    (landing / "contacts/bad.csv").write_text('contact_id,phone\nc9,0612\n"jeanne-8841,"0612349876"\nc1,0600000001\n')
    made.happens("visited", "c1", file="a.ndjson").happens(
        "visited", "jeanne-8841", file="a.ndjson", why="peur des vaches"
    )
    made.happens("ordered", "jeanne-8841", number="number-77").happens("ordered", "c1", number="number-78")
    made.happens("team", "c2", members=["jeanne-8841", "c1"], note="call 06 12 34 98 76")
    made.asks("order", "r1", users=["jeanne-8841", "c2"], attribute_values={"word": "x"})
    made.asks("order", "r2", phones=["+33 6 12 34 98 76"], attribute_values={"word": "y"})
    made.run()
    mine = made.value("SELECT id FROM message WHERE contact_id = 'jeanne-8841' AND campaign = 'offer'")
    made.send(lambda claimed: _accepted(claimed.id, mine))
    with made.home.ledger.write() as tx:  # as counted links and coupons leave them
        tx.exec_driver_sql(
            "INSERT INTO link (code, message_id, button, url) VALUES ('abc', ?, 'Go', 'https://x.io/Quilleriet')",
            (mine,),
        )
        tx.exec_driver_sql(
            "INSERT INTO coupon (pool, code, state, message_id, contact_id, claimed_at)"
            " VALUES ('autumn', 'AAA', 'sent', ?, 'jeanne-8841', 5)",
            (mine,),
        )
        tx.exec_driver_sql("UPDATE message SET coupon_id = 1 WHERE id = ?", (mine,))
        tx.exec_driver_sql(  # of a message that another ledger sent
            "INSERT INTO early_status (wamid, status, status_at, received_at) VALUES (?, 'read', ?, ?)",
            (f"{WAMID[:40]}other", made.us, made.us),
        )
        tx.exec_driver_sql("INSERT INTO user_seen (user, contact_id, seen_at) VALUES ('bob', 'jeanne-8841', 5)")
    made.later(minutes=1).happens("link_clicked", "jeanne-8841", code="abc", file="clicks.ndjson")
    for status in ("sent", "delivered"):
        both = [status_of(made, mine, WAMID, status), status_of(made, anne(made), "wamid.anne", status)]
        (landing / "webhooks/log.ndjson").open("a").write(json.dumps(delivery({"statuses": both})) + "\n")
    says(made, "Bien le bonjour à tous", "wamid.in.7", quotes=WAMID)
    made.says("+33600000001", "Merci")
    made.turn()
    says(made.later(minutes=1), "STOP", "wamid.in.8")
    made.turn()
    made.send()
    publish(made.home, made.lease)


def _accepted(number: int, mine: int) -> Any:
    from journey.codes import Action
    from journey.outcome import Outcome

    return Outcome(Action.accepted, wamid=WAMID if number == mine else f"wamid.{number}")


def anne(made: Stage) -> int:
    """The message that goes to somebody else."""
    return int(made.value("SELECT id FROM message WHERE contact_id = 'c1' AND campaign = 'offer'"))


def status_of(made: Stage, number: int, wamid: str, status: str, callback: bool = True) -> dict[str, Any]:
    value = dict(made.status_of(number, status)["statuses"][0], id=wamid)
    if wamid == WAMID:
        value["recipient_id"] = WA
    if not callback:
        del value["biz_opaque_callback_data"]
    return value


def says(made: Stage, text: str, wamid: str, quotes: str | None = None) -> None:
    """As the gateway writes it: the body is a text within the line."""
    message = {"from": WA, "id": wamid, "timestamp": str(int(made.now.timestamp())), "type": "text"}
    message |= {"text": {"body": text}} | ({"context": {"id": quotes}} if quotes else {})
    who = {"profile": {"name": "Jeanne Quilleriet"}, "wa_id": WA}
    body = json.dumps(delivery({"contacts": [who], "messages": [message]}), ensure_ascii=False)
    line = json.dumps({"received_at": made.now.isoformat(), "body": body})
    (made.path / "landing/webhooks/gateway.ndjson").open("a").write(line + "\n")


def forgotten(stage: Stage, who: str = "jeanne-8841") -> Forgotten:
    return forget(stage.home, stage.lease, who)


def texts(path: Path) -> Iterator[str]:
    """Everything that a file says, as texts. The ledger's bytes are read by another process: a plain open() of it in
    this one would drop SQLite's locks."""
    if path.name.startswith("ledger.sqlite"):
        code = "import sys; sys.stdout.buffer.write(open(sys.argv[1], 'rb').read())"
        yield subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True).stdout.decode(
            "latin-1"
        )
        return
    yield path.read_bytes().decode("latin-1")
    if path.suffix == ".parquet":
        yield str(pl.read_parquet(path, glob=False).to_dicts())


def found_in(home: Path) -> list[tuple[str, str]]:
    """(secret, file) of whatever is still there."""
    files = [Path(folder, one) for folder, _, names in os.walk(home) for one in names]
    return sorted(
        {
            (secret, path.relative_to(home).as_posix())
            for path in files
            for text in texts(path)
            for secret in SECRETS
            if secret in text
        }
    )


def counts(stage: Stage) -> dict[str, Any]:
    found: dict[str, Any] = {"states": stage.states(), "skips": stage.skips()}
    with connect(stage.home.paths.analytics) as con:
        for table in ("campaign_funnel", "step_funnel", "campaign_daily", "lift", "costs"):
            found[table] = con.execute(f"FROM {table} ORDER BY ALL").fetchall()
        tables = ("participants", "messages", "replies", "clicks", "coupons", "goals", "entries", "skips")
        for table in (*tables, "participant_steps", "message_events", "conversations"):
            found[table] = con.execute(f"SELECT count(*) FROM {table}").fetchone()
    return found


def test_a_compressed_file_into_which_nobody_can_look_is_named(stage):
    packed = Path(stage.path) / "landing" / "contacts" / "people.csv.gz"
    packed.write_bytes(gzip.compress(f"contact_id,phone\njeanne-8841,{PHONE}\n".encode()))
    aside = Path(stage.path) / "landing" / "contacts" / "old" / "people.zip"
    aside.parent.mkdir()
    aside.write_bytes(b"PK\x03\x04 and so on")
    (aside.parent / "notes.txt").write_text("nobody")
    done = forgotten(stage)
    assert done.packed == ("landing/contacts/people.csv.gz", "landing/contacts/old/people.zip")
    assert done.left == ()


def test_nothing_of_them_is_left_and_what_is_counted_still_is(stage):
    assert {secret for secret, _ in found_in(stage.path)} == set(SECRETS)
    before, others = counts(stage), stage.lake("contacts") + stage.lake("contacts_delta")
    uids = stage.rows("SELECT uid FROM message WHERE contact_id = 'jeanne-8841'")
    assert len(others) > 2
    done = forgotten(stage)
    assert found_in(stage.path) == []
    assert done.label == "forgotten:1"
    assert done.left == ()
    assert done.emptied
    after = counts(stage)
    assert after == before
    assert stage.home.contacts.frame()["contact_id"].sort().to_list() == ["c1", "c2"]
    assert stage.value("SELECT count(*) FROM message WHERE contact_id = 'forgotten:1'") > 2
    assert stage.rows("SELECT contact_id, state, code FROM coupon") == [("forgotten:1", "sent", "AAA")]
    assert unfinished(stage.home) is None
    left = stage.rows("SELECT uid, share FROM message WHERE contact_id = 'forgotten:1'")  # both were made of them
    assert not {uid for uid, _ in left} & {uid for (uid,) in uids}
    assert {share for _, share in left} == {0}


def test_doing_it_again_finds_nothing(stage):
    forgotten(stage)
    again = forgotten(stage)
    assert (again.lines, again.rewritten, again.cancelled) == (0, 0, 0)


def test_nothing_is_read_twice_and_what_comes_after_is_read(stage):
    before, aside = cursors(stage), stage.value("SELECT count(*) FROM quarantine")
    forgotten(stage)
    assert cursors(stage) == before
    assert stage.home.landing.pending(stage.wall) == []
    stage.happens("visited", "c2", file="a.ndjson").says("+33600000002", "Bonjour").turn()
    assert len([one for one in stage.lake("events") if one["event"] == "visited"]) == 2
    assert stage.rows("SELECT text FROM reply WHERE contact_id = 'c2'") == [("Bonjour",)]
    assert stage.value("SELECT count(*) FROM quarantine") <= aside
    for file in (stage.path / "landing").rglob("*"):
        if file.is_file():
            os.utime(file, ns=(1, 1))  # as if everything were new
    assert not stage.turn().taken.anything
    assert stage.home.contacts.count() == 2


def cursors(stage: Stage) -> list[tuple[Any, ...]]:
    """How far text files were read; a Parquet file is another one afterwards."""
    query = 'SELECT kind, name, inode, "offset", line, size FROM landing_file'
    return stage.rows(f"{query} WHERE name NOT LIKE '%.parquet' ORDER BY 1, 2")


def test_others_keep_what_they_did_in_the_same_files_and_lines(stage):
    forgotten(stage)
    landing = stage.path / "landing"
    lines = (landing / "webhooks/log.ndjson").read_text().splitlines()
    assert [[one["id"] for one in _value(json.loads(line))["statuses"]] for line in lines[:2]] == [["wamid.anne"]] * 2
    asked = [json.loads(line) for line in (landing / "requests/log.ndjson").read_text().splitlines() if line.strip()]
    assert [one["users"] for one in asked] == [["c2"]]
    team = next(one for one in stage.lake("events") if one["event"] == "team")
    assert json.loads(team["properties"])["members"] == ["forgotten:1", "c1"]
    assert stage.home.contacts.frame(ids=["c2"])["referred_by"].to_list() == ["forgotten:1"]
    assert pl.read_parquet(landing / "contacts/ages.parquet")["contact_id"].to_list() == ["c1"]
    people = (landing / "contacts/people.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in people if line.strip()] == ["contact_id", "c1", "c2"]


def _value(body: Any) -> Any:
    return body["entry"][0]["changes"][0]["value"]


# -- the same person later -------------------------------------------------------------------------------------------


def test_an_import_later_makes_a_new_contact_who_is_still_opted_out(stage):
    forgotten(stage)
    assert stage.value("SELECT count(*) FROM forgotten") == 1
    stage.later(days=1).contacts([me(contact_id="crm-5")], "again.csv").turn()
    found = stage.home.contacts.frame(ids=["crm-5"]).row(0, named=True)
    assert (found["opt_out_scope"], found["opt_out_cause"], found["opted_in"]) == ("all", "stop_word", False)
    assert stage.rows("SELECT scope FROM suppression WHERE subject = ?", f"phone:{PHONE}") == [("all",)]
    assert stage.value("SELECT count(*) FROM forgotten") == 0
    stage.run()
    assert stage.rows("SELECT reason FROM skip WHERE contact_id = 'crm-5'") == [("opted_out",)]
    with stage.home.ledger.write() as tx:  # planned before it was known: the claim looks too
        tx.exec_driver_sql("UPDATE message SET state = 'planned', phone = ? WHERE id = 1", (PHONE,))
    assert stage.send() == []


def test_a_consent_given_later_than_the_opt_out_counts(stage):
    forgotten(stage)
    given = stage.later(days=1).now.isoformat()
    stage.contacts([me(contact_id="crm-5", opted_in="true", opted_in_at=given)], "again.csv").turn()
    found = stage.home.contacts.frame(ids=["crm-5"]).row(0, named=True)
    assert (found["opt_out_scope"], found["opted_in"]) == (None, True)
    assert stage.rows("SELECT scope FROM suppression") == []


def test_whoever_had_not_opted_out_leaves_no_hash(make_home):
    stage = make_home()
    stage.run()
    forgotten(stage, "c1")
    assert stage.value("SELECT count(*) FROM forgotten") == 0
    stage.later(days=1).contacts([person(1)], "again.csv").turn()
    assert stage.home.contacts.frame(ids=["c1"])["opt_out_scope"].to_list() == [None]


def test_a_bare_hash_of_the_phone_is_nowhere(stage):
    import hashlib

    forgotten(stage)
    bare = {
        hashlib.new(name, text.encode()).hexdigest()[:32]
        for name in ("sha256", "md5", "blake2b")
        for text in (PHONE, WA)
    }
    assert not bare & {row[0] for row in stage.rows("SELECT hash FROM forgotten")}


@pytest.mark.parametrize("callback", [True, False])
def test_a_status_that_comes_late_is_counted_and_names_nobody(stage, callback):
    number = stage.value("SELECT id FROM message WHERE wamid = ?", WAMID)
    read = status_of(stage, number, WAMID, "read", callback)
    forgotten(stage)
    other = status_of(stage, anne(stage), "wamid.anne", "read")
    stage.later(hours=1).webhook({"statuses": [read, other]}).turn()
    assert stage.rows("SELECT state FROM message WHERE id = ?", number) == [("read",)]
    assert stage.rows("SELECT state FROM message WHERE id = ?", anne(stage)) == [("read",)]
    publish(stage.home, stage.lease)
    stage.home.ledger.rewrite()
    stage.home.ledger.empty_journal()
    assert found_in(stage.path) == []
    assert "wamid.anne" in (stage.path / "landing/webhooks/log.ndjson").read_text().splitlines()[-1]
    assert stage.home.landing.pending(stage.wall) == []


def test_metas_details_of_a_failure_that_comes_late_are_not_kept(stage):
    number = stage.value("SELECT id FROM message WHERE wamid = ?", WAMID)
    with stage.home.ledger.write() as tx:  # nothing of it has come yet
        tx.exec_driver_sql(
            "UPDATE message SET sent_at = NULL, delivered_at = NULL, read_at = NULL WHERE id = ?", (number,)
        )
    error = {"code": 131026, "title": "Undeliverable", "error_data": {"details": f"{PHONE} has no WhatsApp"}}
    failed = status_of(stage, number, WAMID, "failed") | {"errors": [error]}
    forgotten(stage)
    stage.later(hours=1).webhook({"statuses": [failed]}).turn()
    assert stage.rows("SELECT state, error_title FROM message WHERE id = ?", number) == [("failed", "Undeliverable")]


def test_what_they_wrote_before_is_not_taken_in_again_and_what_they_write_anew_is_a_strangers(stage):
    forgotten(stage)
    says(stage.later(hours=1), "Bien le bonjour à tous", "wamid.in.7")  # Meta brings it once more
    stage.turn()
    assert stage.home.contacts.count() == 2
    says(stage, "Qui êtes-vous ?", "wamid.in.9")
    stage.turn()
    found = stage.home.contacts.frame(ids=[f"whatsapp:{PHONE}"]).row(0, named=True)
    assert found["opt_out_scope"] == "all"
    assert stage.rows("SELECT text FROM reply WHERE contact_id = ?", f"whatsapp:{PHONE}") == [("Qui êtes-vous ?",)]
    assert "bonjour" not in (stage.path / "landing/webhooks/gateway.ndjson").read_text()


# -- in the middle of things -----------------------------------------------------------------------------------------


def test_metas_words_about_an_error_go_and_what_it_is_called_stays(stage):
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE message SET error_title = 'Invalid parameter: +33600008841 is no phone'")
    ids = [row[0] for row in stage.rows("SELECT id FROM message WHERE contact_id = 'jeanne-8841'")]
    forgotten(stage)
    found = dict(stage.rows("SELECT id, error_title FROM message"))
    assert ids and {found[one] for one in ids} == {"Invalid parameter"}
    assert {title for one, title in found.items() if one not in ids} == {"Invalid parameter: +33600008841 is no phone"}


def test_what_is_planned_is_cancelled_and_an_audience_that_waits_lets_nobody_in(make_home):
    later = OFFER.replace(
        "{segment: everyone}", '{segment: everyone, when: {at: "2026-12-02 10:00", timezone: Europe/Paris}}'
    )
    stage = make_home(campaigns=[OFFER.replace("offer", "first"), later], contacts=[person(1), me()])
    stage.run("first")
    stage.at("2026-12-02T08:00:00+00:00").turn()
    done = forgotten(stage)
    assert done.cancelled == 1
    assert [one.id for one in stage.send()] == [1]
    stage.at("2026-12-02T09:30:00+00:00").turn()
    assert stage.rows("SELECT DISTINCT contact_id FROM participant WHERE campaign = 'offer'") == [("c1",)]


def test_what_somebody_wrote_to_them_by_hand_and_waits_is_cancelled_too(stage):
    with stage.home.ledger.write() as tx:  # as the inbox leaves it: nobody's passage
        tx.exec_driver_sql(
            "UPDATE message SET participant_id = 0, campaign = '', step = 'a2', state = 'planned', wamid = NULL"
            " WHERE id = (SELECT max(id) FROM message WHERE contact_id = 'jeanne-8841')"
        )
    assert forgotten(stage).cancelled == 1
    assert stage.value("SELECT count(*) FROM message WHERE state = 'planned' AND contact_id LIKE 'forgotten:%'") == 0


def test_a_request_for_a_segment_that_waits_for_a_yes_lets_everybody_else_in(make_home):
    asks = OFFER.replace("audience: {segment: everyone}", "api: {}")
    asks = asks.replace("steps:", "settings: {stop_if: {audience_above: 1}}\nsteps:")
    stage = make_home(campaigns=[asks], contacts=[person(1), person(2), me()])
    stage.turn()
    stage.asks("offer", segment="everyone").turn()
    assert stage.entered() == []
    forgotten(stage)
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE campaign SET stopped_at = NULL, resumed_at = ?", (stage.us,))
    stage.turn()
    assert sorted(stage.entered()) == ["c1", "c2"]
    assert stage.outcomes() == {"entered": 2, "unknown_contact": 1}


def test_an_answer_from_the_wire_after_it_names_nobody(stage):
    stage.home.ledger.take("send:main:0/1", "test", seconds=0)
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE message SET state = 'unknown', wamid = NULL WHERE wamid = ?", (WAMID,))
    number = stage.value("SELECT id FROM message WHERE contact_id = 'jeanne-8841' AND state = 'unknown'")
    late = status_of(stage, number, WAMID, "read")
    forgotten(stage)
    stage.webhook({"statuses": [late]}).turn()
    assert stage.rows("SELECT state FROM message WHERE id = ?", number) == [("read",)]
    assert stage.value("SELECT wamid FROM message WHERE id = ?", number).startswith("forgotten:")


def test_whoever_sends_meanwhile_is_not_held_up_and_the_file_is_written_anew_once_nobody_does(stage, monkeypatch):
    lane = stage.home.ledger.take("send:main:0/1", "test")
    rewritten, wrote = [], []
    rewrite, publishing = Ledger.rewrite, forgetting.publish

    def sends(*given: Any) -> Any:
        with stage.home.ledger.write(lane):
            wrote.append(True)
        return publishing(*given)

    monkeypatch.setattr(Ledger, "rewrite", lambda ledger: rewritten.append(rewrite(ledger)))
    monkeypatch.setattr(forgetting, "publish", sends)
    assert not forgotten(stage).emptied
    assert wrote
    assert not rewritten
    assert "written anew" in " ".join(line.found for line in _work(stage.home))
    assert not scrub(stage.home, stage.lease)
    stage.home.ledger.release(lane)
    assert scrub(stage.home, stage.lease)
    assert len(rewritten) == 1
    assert scrub(stage.home, stage.lease)
    assert len(rewritten) == 1, "it is done"
    assert "written anew" not in " ".join(line.found for line in _work(stage.home))
    assert found_in(stage.path) == []


def test_a_hash_of_what_was_asked_for_them_goes_and_others_requests_keep_theirs(stage):
    stage.asks("order", "r3", users=["c1"], attribute_values={"word": "x"}).turn()
    (stage.path / "landing/requests/log.ndjson").unlink()  # somebody tidied up
    more = {"phones": ["06 12 34 98 76"], "attribute_values": {"word": "z"}}
    stage.asks("order", "r4", file="later.ndjson", **more)  # no pass has read it
    with stage.home.ledger.write() as tx:
        keys = [(uuid, "0f" * 32, 5) for uuid in ("r1", "r2", "r3", "r4")]
        tx.exec_driver_sql("INSERT INTO idempotency (request_uuid, digest, met_at) VALUES (?, ?, ?)", keys)
    forgotten(stage)
    assert stage.rows("SELECT request_uuid FROM idempotency") == [("r3",)]


def test_each_of_the_forgotten_still_counts_for_metas_limit_also_where_people_are_counted_anew(make_home):
    stage = make_home(contacts=[person(number, contact_id=f"somebody-{number}") for number in range(4)])
    stage.turn()
    answers(stage, messaging_limit="10")
    stage.run()
    assert len(stage.send()) == 4
    for number in range(3):
        forget(stage.home, stage.lease, f"somebody-{number}")
    count = "SELECT count(*) FROM reached"
    assert (stage.value(count), stage.value("SELECT people FROM portfolio")) == (4, 4)
    assert stage.value(f"{count} WHERE phone LIKE '+%'") == 1
    with stage.home.ledger.write() as tx:
        miscounted(tx)
    stage.turn()
    assert (stage.value(count), stage.value("SELECT people FROM portfolio")) == (4, 4)


def test_a_file_that_cannot_be_written_anew_stays_due(stage, monkeypatch):
    def full(_: Ledger) -> None:
        raise sa.exc.OperationalError("VACUUM", None, Exception("database or disk is full"))

    with monkeypatch.context() as broken:
        broken.setattr(Ledger, "rewrite", full)
        assert not forgotten(stage).emptied
    assert scrub(stage.home, stage.lease)


STEPS = ("_quiet", "_lake", "publish")
MORE_STEPS = ("_write_down", "erase_from_landing", "Eraser.erase", "erase_from_kept")


@pytest.mark.parametrize("step", [*STEPS, *(pytest.param(one, marks=pytest.mark.slow) for one in MORE_STEPS)])
def test_a_crash_anywhere_is_made_good_by_running_it_again(stage, monkeypatch, step):
    before = counts(stage)
    target = forgetting
    name = step
    if "." in step:
        owner, name = step.split(".")
        target = getattr(forgetting, owner)
    whole = getattr(target, name)

    def dies(*given, **named):
        whole(*given, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(target, name, dies)
        with pytest.raises(KeyboardInterrupt):
            forgotten(stage)
    stage.turn()  # a pass goes on meanwhile
    begun = unfinished(stage.home)
    assert begun is not None
    assert begun.contact_id == "jeanne-8841"
    assert PHONE in begun.phones
    assert "half forgotten" in " ".join(line.found for line in _work(stage.home))
    forgotten(stage, "c2" if step == "publish" else "jeanne-8841")  # whoever is next finishes it too
    assert found_in(stage.path) == []
    if step != "publish":
        assert counts(stage) == before
    assert stage.value("SELECT count(*) FROM forgotten") == 1


def test_who_gave_the_phone_up_keeps_nothing_and_who_has_it_now_keeps_all(make_home):
    stage = make_home(contacts=[person(1), me()])
    stage.run()
    stage.send()
    stage.later(days=1).contacts([me(phone="0677000000")], "moved.csv").turn()
    stage.contacts([person(1, phone="0612349876")], "has.csv").turn()
    forgotten(stage)
    assert stage.home.contacts.frame()["phone"].to_list() == [PHONE]
    assert stage.home.contacts.frame()["contact_id"].to_list() == ["c1"]
    assert PHONE not in know(stage.home, "jeanne-8841").person.phones


def test_a_short_id_takes_nothing_of_others(make_home):
    stage = make_home(contacts=[person(1, size="1"), {**person(7), "contact_id": "1", "size": "2"}])
    stage.happens("visited", "c1", size="1").happens("visited", "1", size="2")
    stage.run()
    forgotten(stage, "1")
    assert stage.home.contacts.frame()["contact_id"].to_list() == ["c1"]
    assert (stage.path / "landing/contacts/people.csv").read_text().splitlines()[1] == "c1,0600000001,FR,1"
    assert [json.loads(one["properties"]) for one in stage.lake("events")] == [{"size": "1"}]


# -- export ----------------------------------------------------------------------------------------------------------


def test_an_export_tells_all_that_is_known_in_times_with_their_offset(stage):
    told = document(stage.home, "jeanne-8841", know(stage.home, find(stage.home, "06 12 34 98 76")))
    text = json.dumps(told, ensure_ascii=False)
    for secret in SECRETS:
        assert secret in text or secret == "6 12 34 98 76"
    assert told["contact"][0]["last_name"] == "Quilleriet"
    assert (
        told["replies"][0] | {"replied_at": "2026-12-01T13:01:00+01:00", "text": "Bien le bonjour à tous"}
        == told["replies"][0]
    )
    assert {one["campaign"] for one in told["participations"]} == {"offer", "order"}
    assert [one["code"] for one in told["coupons"]] == ["AAA"]
    assert [one["button"] for one in told["clicks"]] == ["Go"]
    assert told["consent"]["in_force"][0]["scope"] == "all"
    assert len(told["quarantine"]) >= 1
    assert "c2" not in {one.get("contact_id") for one in told["events"]}
    assert any("Jeanne" in json.dumps(one.get("body")) for one in told["messages"])
