"""Every kind of failure shows on the campaigns' pages, in `status` and in `/metrics`, each with what to do, and has an
entry in the runbook."""

import asyncio
import fcntl
import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from html import unescape
from typing import Any

import pytest
import yaml

from estafette.doctor import LOOKS, TOLD_HERE
from estafette.session import Session
from estafette.status import status
from gateway.metrics import ENTRIES, NUMBERS, exposition, families
from gateway.runbook import ROOT, anchors
from gateway.webhooks import PATH
from gateway.words import Words
from gateway.words_failures_fr import FAILURES
from journey.codes import Action
from journey.failures import KINDS, OF_ACTIONS, RUNBOOK, Failure, Found, entry_of
from journey.problems import EstafetteError
from journey.words import EntryOutcome, Held, LeaveReason, SkipReason
from pipelines.audiences import add_occurrence
from pipelines.run import run_pass
from pipelines.sending import recover_lost
from resources.definitions import _look_over
from resources.doing import Evaluating, noted
from resources.failures import failures, note_refused, note_requests
from resources.hold import Restored, begin
from resources.ledger import US
from resources.lock_holder import LockHolder
from resources.outbox import Outbox, Settled
from resources.present import DAEMONS, GATEWAYS
from resources.sender_trouble import note_unreached
from resources.sharing import OFTEN
from resources.vitals import FAILED, PASSED, note, note_pass, vitals
from tests.gateway.pages import browsing, make_user
from tests.gateway.test_campaigns import plain, publish
from tests.stage import OFFER, SETTINGS, TEMPLATES, Stage, accepted, person, refused, template, unknown

Make = Callable[..., Stage]

MANY = """
name: {name}
sender: {sender}
entries:
  - audience: {{segment: everyone}}
settings: {{re_entry: always}}
steps:
  hello:
    message: {{template: {template}, language: fr{more}}}
"""
SENDERS = "".join(
    f'\n  {name}: {{phone_number_id: "{number}", waba_id: "1", portfolio: {name}}}'
    for name, number in (("tired", 2), ("twin", 3), ("slow", 4))
)
WHOLE = SETTINGS.replace("consent:", SENDERS.removeprefix("\n") + "\nconsent:")
VOUCHER = template("voucher", body="Code {{voucher}}")
RUNBOOK_TEXT = (ROOT / RUNBOOK).read_text(encoding="utf-8")


def campaign(name: str, sender: str = "main", of: str = "hello", more: str = "") -> str:
    return MANY.format(name=name, sender=sender, template=of, more=more)


def well(make_home: Make, **files: Any) -> Stage:
    """A home in which all is well."""
    stage = make_home(**files)
    stage.turn()
    env = (stage.path / ".env").read_text()
    (stage.path / ".env").write_text(env + "WHATSAPP_APP_SECRET=a-secret\n")
    publish(stage)
    passes(stage)
    return stage


def passes(stage: Stage, ago: float = 0.0) -> None:
    """A pass came to its end; nobody makes one now."""
    with stage.home.ledger.write() as tx:
        note_pass(tx, time.time() - ago)
        tx.exec_driver_sql("UPDATE lease SET until = 0")


def wreck(make_home: Make, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """As much as can be wrong at once."""
    texts = [
        campaign("offer"), campaign("tired", "tired"), campaign("slow", "slow"),
        campaign("paused", "twin", "reminder"), campaign("vouchers", "twin", "voucher", ", coupons: {pool: autumn}"),
        campaign("gone"), campaign("halted"), campaign("broken", of="nothing"),
    ]  # fmt: skip
    people = [person(number) for number in range(3)] + [{"contact_id": "bad", "phone": "no phone"}]
    stage = well(make_home, settings=WHOLE, campaigns=texts, contacts=people, templates=(*TEMPLATES, VOUCHER))
    stage.run("gone")
    (stage.path / "campaigns/gone.yaml").unlink()
    stage.reload()
    stage.run("slow")
    sends(stage, "slow", refused(130429))
    stage.run("paused")
    sends(stage, "twin", refused(132015))
    stage.run("offer")
    sends(stage, "main", None)
    stage.run("halted")
    sends(stage, "main", refused(190))
    stage.later(minutes=30)
    us = stage.us
    with stage.home.ledger.write() as tx:
        begin(tx, Restored(us, us - US, lost=False), 2)
        tx.exec_driver_sql(
            "UPDATE sender SET paused_at = ?, paused_why = 'its quality is RED' WHERE name = 'tired'", (us,)
        )
        tx.exec_driver_sql(
            "UPDATE sender SET slowed_at = ?, slowed_below = ? WHERE name = 'slow'", (int(time.time() * US), OFTEN)
        )
        tx.exec_driver_sql("INSERT INTO shared_number VALUES ('3', 'another', 5, ?, ?)", (us, us))
        tx.exec_driver_sql("UPDATE campaign SET stopped_at = ?, stopped_why = 'too dear' WHERE name = 'halted'", (us,))
        for name in ("vouchers", ""):
            tx.exec_driver_sql("INSERT INTO trouble VALUES (?, 'planning', 'KeyError: x', ?, ?)", (name, us, us))
        note(tx, "forgetting", "{}")
        note_refused(tx, time.time() + 5, "The signature is not that of this body.", "signature")
    os.utime(stage.path / "landing/contacts/people.csv", (1, 1))
    (stage.path / "landing/events/late.ndjson").write_text("{}\n")
    os.utime(stage.path / "landing/events/late.ndjson", (1, 1))
    (stage.path / ".env").write_text("WHATSAPP_API_URL=http://127.0.0.1:9\n")
    [lost] = stage.rows("SELECT path FROM lake_file WHERE name = 'entries' AND dropped_at IS NULL LIMIT 1")
    (stage.home.paths.lake / lost[0]).unlink()
    stage.home.paths.analytics.unlink()
    monkeypatch.setattr("resources.disks.LOW", 1 << 60)
    monkeypatch.setattr("resources.disks._writable", lambda _: False)
    monkeypatch.setattr("resources.disks.lock_holder", lambda _: LockHolder(4711, "python", stopped=True))
    passes(stage, ago=3_600)
    with stage.home.ledger.write() as tx:
        note(tx, FAILED, json.dumps({"at": int(time.time() * US), "why": "the pass tripped"}))
        tx.exec_driver_sql("UPDATE lease SET until = ? WHERE name = 'pass'", (int((time.time() - 90) * US),))
    gateway(stage, "http://127.0.0.1:8000")
    return stage


def gateway(stage: Stage, address: str, *, alive: bool = False, of: str = GATEWAYS) -> None:
    """A gateway that ended without a word a minute ago, or one that lives."""
    folder = stage.path / "data" / of
    folder.mkdir(exist_ok=True)
    file = folder / f"here-{len(list(folder.iterdir()))}.json"
    file.write_text(json.dumps({"address": address, "began": time.time() - (3_600 if not alive else 120)}))
    if alive:
        fcntl.flock(os.open(file, os.O_RDONLY), fcntl.LOCK_EX)  # as long as the tests
    else:
        os.utime(file, (time.time() - 60, time.time() - 60))


def sends(stage: Stage, sender: str, outcome: Any) -> None:
    lease = stage.home.ledger.take(f"send:{sender}:0/1", "test")
    outbox, wall = Outbox(stage.home.ledger, lease, sender, 0, 1, 80.0), int(stage.wall * US)
    claimed = outbox.turn([], 10, stage.us, wall).claimed
    outbox.turn([Settled(one.id, (outcome or accepted)(one)) for one in claimed], 0, stage.us, wall)
    stage.home.ledger.release(lease)


def first_of_all(make_home: Make, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """No pass was ever made, and the disk is full."""
    stage = well(make_home)
    with stage.home.ledger.write() as tx:
        note_refused(tx, time.time() + 5, "No space left on device.", "not_kept")
        tx.exec_driver_sql("DELETE FROM meta WHERE name = ?", (PASSED,))
    (stage.path / "landing/events/late.ndjson").write_text("{}\n")
    os.utime(stage.path / "landing/events/late.ndjson", (1, 1))
    gateway(stage, "here:1", of=DAEMONS)
    monkeypatch.setattr("resources.present.GONE_SECONDS", 30)
    monkeypatch.setattr("resources.disks.VERY_LOW", 1 << 60)
    monkeypatch.setattr("resources.disks.LOW", 1 << 61)
    return stage


def set_back(make_home: Make, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """The clock was set back, a message is unknown, and the limit keeps the others."""
    stage = well(make_home, settings=SETTINGS.replace("messages_per_second: 80", "messaging_limit: 1"))
    stage.run()
    stage.send(unknown)
    publish(stage)
    passes(stage, ago=-7_200)
    return stage


def refusing(make_home: Make, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Meta refuses what one campaign sends, asks another one for patience, and then can't be reached at all."""
    stage = well(make_home, campaigns=[OFFER, campaign("patient")], contacts=30)
    stage.run()
    stage.send(refused(131047))
    stage.run("patient")
    with stage.home.ledger.write() as tx:
        note_unreached(tx, "main", int(time.time() * US), "Connect call failed")
    stage.send(refused(131056))
    publish(stage)
    passes(stage)
    return stage


def healed(make_home: Make, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A pass and a lane were killed, and others went on; so did a gateway."""
    stage = well(make_home)
    stage.wall = time.time()  # as the doors have it
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE lease SET until = 1, holder = 'here:4711:a' WHERE name = 'pass'")
    stage.lease = stage.home.ledger.take("pass", "here:4712:b", seconds=1e9)  # type: ignore[assignment]
    stage.run()
    dies(stage)
    stage.status(1, "delivered").turn()
    publish(stage)
    passes(stage)
    gateway(stage, "http://127.0.0.1:8000")
    gateway(stage, "http://127.0.0.1:8000", alive=True)
    for name in ("here:1", "here:2"):
        gateway(stage, name, alive=True, of=DAEMONS)
    with stage.home.ledger.write() as tx:
        note_requests(tx, {401: 30}, time.time())
    return stage


def dies(stage: Stage) -> None:
    """A lane is killed with messages on the wire, and another one takes over."""
    lease = stage.home.ledger.take("send:main:0/1", "here:4713:c")
    claimed = Outbox(stage.home.ledger, lease, "main", 0, 1, 80.0).turn([], 10, stage.us, int(stage.wall * US)).claimed
    assert claimed
    stage.wall += 60
    stage.home.ledger.release(stage.home.ledger.take("send:main:0/1", "here:4714:d"))
    assert recover_lost(stage.home) == len(claimed)


def overdue(make_home: Make, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Passes are made, and an audience does not come because its segment fails; one is at another segment."""
    stage = well(make_home)
    (stage.path / "segments/everyone.yaml").unlink()
    (stage.path / "segments/everyone.sql").write_text(
        "SELECT CAST(contact_id AS INTEGER) AS contact_id FROM contacts\n"
    )
    stage.reload()
    add_occurrence(stage.home, stage.home.project.campaigns["offer"], stage.now)
    stage.turn()
    stage.later(minutes=30)
    passes(stage)
    stage.wall = time.time()
    lease = stage.home.ledger.take("pass", "here:4711:a")
    assert lease is not None
    stage.home.ledger.renew(lease, note=noted("run 1", Evaluating.of("loyal", stage.wall - 120)))
    return stage


def unreadable(make_home: Make, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """estafette.yaml has an error."""
    stage = well(make_home)
    (stage.path / "estafette.yaml").write_text("region: [\n")
    return stage


HOMES: dict[Callable[..., Stage], dict[Failure, str]] = {
    wreck: {
        Failure.disk_closed: "offer", Failure.disk_low: "offer", Failure.ledger_blocked: "offer",
        Failure.inbox_trouble: "offer", Failure.lake_damaged: "offer",
        Failure.sends_held: "offer", Failure.pass_failed: "offer", Failure.no_pass: "offer",
        Failure.token_missing: "offer", Failure.app_secret_missing: "offer", Failure.webhooks_refused: "offer",
        Failure.no_webhooks: "offer", Failure.half_forgotten: "offer", Failure.not_published: "offer",
        Failure.quarantine: "offer", Failure.sender_stopped: "offer", Failure.sender_resting: "tired",
        Failure.sender_shared: "paused", Failure.sender_slowed: "slow",
        Failure.template_held: "paused", Failure.coupons_out: "vouchers", Failure.campaign_trouble: "vouchers",
        Failure.campaign_holes: "broken", Failure.campaign_stopped: "halted", Failure.campaign_stranded: "gone",
        Failure.gateway_down: "offer", Failure.work_dropped: "offer",
    },
    refusing: {
        Failure.sender_unreached: "offer", Failure.messages_refused: "offer", Failure.campaign_failing: "offer",
        Failure.messages_again: "patient",
    },
    healed: {
        Failure.pass_taken_over: "offer", Failure.sender_taken_over: "offer", Failure.gateway_back: "offer",
        Failure.messages_unknown: "offer", Failure.several_daemons: "offer", Failure.requests_refused: "offer",
    },
    first_of_all: {
        Failure.no_pass_yet: "offer", Failure.disk_full: "offer", Failure.not_kept: "offer",
        Failure.daemon_gone: "offer",
    },
    set_back: {Failure.clock_back: "offer", Failure.messages_unknown: "offer", Failure.limit_reached: "offer"},
    overdue: {Failure.campaign_overdue: "offer", Failure.segment_slow: "offer"},
    unreadable: {Failure.settings_broken: "offer"},
}  # fmt: skip
"""The kinds that a home shows, each with the campaign on whose page."""

OWN_BOX = {Failure.campaign_stopped: "Stopped since", Failure.campaign_holes: "Its file has an error"}
"""What a page says in a box of its own, with more about it."""


@dataclass
class Shown:
    """What the doors show of a home."""

    metrics: dict[str, float]
    status: list[dict[str, Any]]
    said: str
    pages: dict[tuple[str, str], str]
    entries: dict[str, float]


def look(stage: Stage, names: set[str], capsys: pytest.CaptureFixture[str]) -> Shown:
    make_user(stage)
    pages: dict[tuple[str, str], str] = {}

    async def visit() -> str:
        async with browsing(stage, address="127.0.0.1") as browser:
            await browser.log_in()
            for name in names:
                for language in ("en", "fr"):
                    await browser.get(f"/language/{language}")
                    pages[name, language] = (await browser.get(f"/campaigns/{name}")).text
            return (await browser.get("/metrics")).text

    text = asyncio.run(visit())
    samples = re.findall(r'^estafette_wrong\{what="(\w+)"\} (\S+)$', text, re.M)
    session = Session(str(stage.path), stage.now.isoformat(), json=True)
    told, said = [], ""
    if stage.home.project.settings_or_none is not None:
        capsys.readouterr()
        try:
            status(session, None)
            told = json.loads(capsys.readouterr().out)["failures"]
            status(Session(str(stage.path), stage.now.isoformat()), None)
        except EstafetteError:
            told = []
        said = capsys.readouterr().out
    entries = re.findall(r'^estafette_entries\{outcome="(\w+)"\} (\S+)$', text, re.M)
    wrong, outcomes = ({name: float(number) for name, number in found} for found in (samples, entries))
    return Shown(wrong, told, said, pages, outcomes)


def test_each_kind_is_made_to_happen_somewhere() -> None:
    assert {kind for home in HOMES.values() for kind in home} == set(Failure)


@pytest.mark.parametrize("home", HOMES, ids=lambda one: one.__name__)
def test_what_goes_wrong_shows_on_the_page_in_status_and_in_metrics(
    home: Callable[..., Stage], make_home: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stage, expected = home(make_home, monkeypatch), HOMES[home]
    shown = look(stage, set(expected.values()), capsys)
    assert set(shown.metrics) == set(Failure), "each kind is a sample, also where all is well"
    assert {kind for kind, number in shown.metrics.items() if number} == set(expected)
    for kind, name in expected.items():
        english, french = (unescape(shown.pages[name, language]) for language in ("en", "fr"))
        if kind == Failure.settings_broken:
            assert "estafette.yaml can't be used" in english and "/runbook" in english
            assert "estafette.yaml est inutilisable" in french
            continue
        [told, *_] = [one for one in shown.status if one["failure"] == kind]
        assert told["what"] and told["mend"] and told["runbook"].startswith(f"{RUNBOOK}#")
        assert told["runbook"].partition("#")[2] in anchors(RUNBOOK_TEXT)
        assert all(f"/runbook#{told['runbook'].partition('#')[2]}" in page for page in (english, french))
        if kind in OWN_BOX:
            assert OWN_BOX[kind] in plain(english)
            continue
        assert _bones(KINDS[kind].what) in plain(english).replace("`", ""), kind
        assert _bones(FAILURES[kind][0]) in plain(french).replace("\xa0", " "), kind


def _bones(sentence: str) -> str:
    """The longest part of a sentence that nothing fills."""
    return max(re.split(r"\{\w+\}|`", sentence), key=len).strip()


def test_where_all_is_well_nothing_is_said(make_home: Make, capsys: pytest.CaptureFixture[str]) -> None:
    shown = look(well(make_home), {"offer"}, capsys)
    assert (shown.status, [kind for kind, number in shown.metrics.items() if number]) == ([], [])
    assert 'class="wrong"' not in shown.pages["offer", "en"] and RUNBOOK not in shown.said


def test_a_kind_has_an_entry_in_the_runbook_french_words_and_a_rule_for_alerts() -> None:
    entries, text = set(anchors(RUNBOOK_TEXT)), RUNBOOK_TEXT
    rules = (ROOT / "docs/prometheus-alerts.yaml").read_text(encoding="utf-8")
    alerted = set(re.findall(r"\w+", " ".join(re.findall(r'what=~?"([^"]+)"', rules))))
    assert alerted == set(Failure)
    for kind in Failure:
        known = KINDS[kind]
        assert known.entry in entries and f"`{kind}`" in text and known.mend
        for english, french in zip((known.what, known.mend), FAILURES[kind], strict=True):
            assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", french)), kind


def test_every_reason_outcome_hold_code_look_and_metric_has_an_entry(make_home: Make) -> None:
    entries = set(anchors(RUNBOOK_TEXT))
    for reason in (*SkipReason, *Held, *EntryOutcome, *LeaveReason):
        assert entry_of(reason) in entries and f"`{reason}`" in RUNBOOK_TEXT, reason
    assert set(OF_ACTIONS) == set(Action) - {Action.accepted} and set(OF_ACTIONS.values()) <= entries
    assert set(LOOKS.values()) <= entries and set(TOLD_HERE) <= set(Failure)
    stage = make_home()
    names = {name for name, _, _ in families(vitals(stage.home, stage.now), 1)}
    assert names == set(ENTRIES) | NUMBERS and not set(ENTRIES) & NUMBERS
    assert set(ENTRIES.values()) <= entries
    text = exposition(families(vitals(stage.home, stage.now), 1))
    assert f"# HELP estafette_sends_held 1 while a restore holds all sends. What to do: {RUNBOOK}#all-sends" in text


def test_the_rules_for_alerts_and_the_table_of_the_runbook_lead_to_entries() -> None:
    entries = anchors(RUNBOOK_TEXT)
    assert len(entries) == len(set(entries))
    table = RUNBOOK_TEXT.partition("## What you see")[2].partition("\n## ")[0]
    headings = re.findall(r"^### (.+)$", RUNBOOK_TEXT, re.M)
    assert headings and set(re.findall(r"\| \[(.+?)\]\(#", table)) == set(headings)
    assert set(re.findall(r"\(#([\w-]+)\)", RUNBOOK_TEXT)) <= set(entries)
    rules = yaml.safe_load((ROOT / "docs/prometheus-alerts.yaml").read_text(encoding="utf-8"))
    for rule in rules["groups"][0]["rules"]:
        assert rule["expr"] and rule["annotations"]["runbook"].removeprefix(f"{RUNBOOK}#") in entries


def test_the_runbook_is_a_page_for_everybody(make_home: Make) -> None:
    async def visit() -> str:
        async with browsing(make_home()) as browser:
            return (await browser.get("/runbook")).text

    text = asyncio.run(visit())
    for entry in anchors(RUNBOOK_TEXT):
        assert f'id="{entry}"' in text
    assert ".md" not in "".join(re.findall(r'href="([^"]*)"', text))


def test_links_of_the_runbook_to_pages_that_are_not_served_name_their_files(make_home: Make) -> None:
    async def visit() -> str:
        async with browsing(make_home()) as browser:
            return plain((await browser.get("/runbook")).text)

    text = asyncio.run(visit())
    assert "to those who want it ( docs/limits.md )" in text and "more )" not in text
    assert "restore ( docs/backup-and-repair.md )" in text


def test_who_came_too_late_is_told_everywhere(make_home: Make, capsys: pytest.CaptureFixture[str]) -> None:
    late = OFFER.replace("{segment: everyone}", '{segment: everyone, when: {cron: "0 10 * * *", late: 1h}}')
    stage = well(make_home, campaigns=[late.replace("steps:", "settings: {re_entry: always}\nsteps:")])
    stage.at("2026-12-02T11:30:00+00:00").turn()
    publish(stage)
    passes(stage)
    shown = look(stage, {"offer"}, capsys)
    assert shown.entries == {"too_late": 3.0}
    assert "Did not enter: 3 too_late" in shown.said and RUNBOOK in shown.said
    assert "Their time to enter was over. See if_past" in plain(shown.pages["offer", "en"])
    assert "Leur moment d’entrer était passé. Voyez if_past" in plain(shown.pages["offer", "fr"])


def test_a_delivery_that_is_refused_is_counted_and_written_down(doors: Any) -> None:
    assert doors.post(PATH, content=b"{}", auth=None).status_code == 503
    home, now, found = doors.app.state.store.home(), doors.stage.now, list[str]()
    for _ in range(200):
        doors.run(lambda: asyncio.sleep(0.02))
        found = [one.detail for one in failures(home, None, now) if one.kind == Failure.webhooks_refused]
        if found:
            break
    assert found == ["WHATSAPP_APP_SECRET is not set, so no delivery can be verified."]
    text = doors.get("/metrics", auth=None).text
    assert 'estafette_refused_webhooks_total{why="no_secret"} 1' in text
    assert 'estafette_refused_answers_total{status="503"} 1' in text


def test_a_pass_that_fails_says_so_until_one_comes_to_its_end(make_home: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def trip(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def told() -> list[str]:
        return [one.detail for one in failures(stage.home, None, stage.now) if one.kind == Failure.pass_failed]

    stage = make_home(templates=())
    stage.turn()
    passes(stage)
    monkeypatch.setattr("pipelines.jobs.publish", trip)
    with pytest.raises(Exception, match="No space left"):
        run_pass(stage.path, stage.now)
    [why] = told()
    assert why == "the disk is full. Make room, then run it again: nothing is lost, and nobody gets a message twice"
    passes(stage)
    assert told() == []


def test_a_pass_that_may_not_begin_says_so(make_home: Make) -> None:
    stage = make_home()
    stage.turn()
    [[lost]] = stage.rows("SELECT path FROM lake_file WHERE name = 'contacts' AND dropped_at IS NULL LIMIT 1")
    (stage.home.paths.lake / lost).unlink()
    with pytest.raises(EstafetteError):
        _look_over(stage.home)
    [told] = [one for one in failures(stage.home, None, stage.now) if one.kind == Failure.pass_failed]
    assert "files of the lake are gone or damaged" in told.detail


def test_requests_that_are_refused_again_and_again_are_written_down(doors: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("gateway.refusals.GATHERED", 0.2)
    home, now = doors.app.state.store.home(), doors.stage.now

    def told() -> list[Found]:
        return [one for one in failures(home, None, now) if one.kind == Failure.requests_refused]

    def refuses(number: int) -> None:
        for _ in range(number):
            assert doors.post("/api/events", json={}, auth="Api wrong").status_code in (401, 429)
            assert doors.get("/not-there", auth=None).status_code == 404
        doors.run(lambda: asyncio.sleep(0.6))

    refuses(19)
    assert told() == [], "everybody errs, and who looks for doors that are not there is nobody's trouble"
    refuses(3)
    [found] = told()
    assert found.count == 22 and "401" in found.detail and "404" not in found.detail


def test_words_for_what_a_code_of_metas_brought_about_say_what_it_means() -> None:
    found = Found(Failure.sender_stopped, "main", {"since": "today"}, code=190)
    what, mend = Words("fr").failure(found)
    assert what.startswith("L’expéditeur main est arrêté depuis le today")
    assert "jeton" in mend and "estafette resume --sender main" in mend
