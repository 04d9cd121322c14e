"""A whole campaign, turn by turn; and the same campaign with a crash between any two of its transactions."""

import shutil
import threading
from contextlib import contextmanager

import pytest

from pipelines.sending import Sending
from resources.lake import Lake
from resources.ledger import Ledger
from tests.stage import NOON, OFFER, TEMPLATES, Stage, accepted, in_parts, person, refused, unknown, write_home

JOURNEY = """
name: offer
sender: main
entries:
  - audience: {segment: everyone, when: {at: "2026-12-01 13:00"}}
settings: {when_unknown: {then: resend}}
steps:
  hello:
    message: {template: named, language: fr, variables: {first_name: {user: first_name}}}
    on_read: {within: 2d, read: last_call, not_read: reminder, undelivered: end}
    on_skip: {missing_variable: last_call, else: end}
    on_failure: reminder
  reminder:
    message: {template: reminder, language: fr}
  last_call:
    message: {template: last_call, language: fr}
"""


def people():
    rows = [person(number, first_name=f"Jean {number}", opted_in="true") for number in range(9)]
    rows[3]["first_name"] = ""
    rows[4]["opted_in"] = "false"
    return rows


def outcome(one):
    return {1: accepted, 2: refused(130472), 3: unknown}.get(one.id, accepted)(one)


def acts():
    """What happens, one act after the other; each may be cut short and done again."""
    day = 86_400

    def webhooks(stage):
        log = stage.path / "landing/webhooks/first.ndjson"
        if not log.exists():
            stage.webhook(
                stage.status_of(1, "read"),
                *(stage.status_of(i, "delivered") for i in (4, 5)),
                stage.status_of(6, "failed", code=131050),
                file="first.ndjson",
            ).says("+33600000007", "STOP")

    return [
        (0, None),
        (0, lambda stage: stage.send(outcome)),
        (60, webhooks),
        (day, None),
        (day + 1, lambda stage: stage.send()),
        (2 * day, None),
        (2 * day + 60, lambda stage: stage.send()),
    ]


def facts(stage):
    """What is true at the end, without the numbers that a crash may change (ids, files)."""
    sorts = "ORDER BY 1, 2, 3, 4"
    return {
        "messages": stage.rows(
            "SELECT contact_id, step, visit, copy, state, error_code, uid, held_why, template, category, phone"
            f" FROM message {sorts}"
        ),
        "participants": stage.rows(
            "SELECT contact_id, campaign, key, occurrence, step, state, reason, visit, version"
            f" FROM participant {sorts}"
        ),
        "waiting": stage.rows("SELECT contact_id, occurrence, until FROM waiting_entry ORDER BY 1, 2"),
        "requests": stage.rows("SELECT uuid, position, outcome, detail, done_at FROM request ORDER BY 1"),
        "skips": stage.rows(f"SELECT contact_id, step, reason, detail FROM skip {sorts}"),
        "consent": stage.rows(f"SELECT contact_id, change, scope, cause FROM consent_history {sorts}"),
        "replies": stage.rows("SELECT contact_id, text, step FROM reply"),
        "moves": stage.moves(),
        "entries": sorted((r["contact_id"] or "", r["occurrence"], r["outcome"]) for r in stage.lake("entries")),
        "events": sorted((r["wamid"], r["status"]) for r in stage.lake("message_events")),
        "bodies": sorted(
            (contact, stage.home.bodies.get(file, row))
            for contact, file, row in stage.rows("SELECT contact_id, body_file, body_row FROM message")
        ),
        "contacts": stage.home.contacts.frame(["contact_id", "opted_in", "opt_out_scope"]).sort("contact_id").rows(),
    }


class Crash(BaseException):
    pass


@contextmanager
def crash_at(target, method, nth):
    """The nth call of a method raises, before or (for writes) instead of doing anything."""
    real, calls = getattr(target, method), [0]

    def counted(self, *args, **more):
        calls[0] += 1
        if calls[0] == nth:
            raise Crash
        return real(self, *args, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, method, counted)
        yield calls


def play(path, moment, act):
    """One act, uncut; gives what is true after it."""
    stage = Stage(path, NOON).at(NOON).later(seconds=moment)
    try:
        if act is not None:
            act(stage)
        stage.turn()
        return facts(stage)
    finally:
        stage.home.close()


def cut_everywhere(start, moment, act, expected):
    """Do an act again and again from `start`, cut at each of its transactions and registered files in turn, and done
    again: in the end it must be as if never cut. Gives how often it was cut."""
    cut = 0
    for target, method in ((Ledger, "write"), (Lake, "register")):
        for nth in range(1, 80):
            again = start.parent / "again"
            shutil.copytree(start, again)
            stage = Stage(again, NOON).at(NOON).later(seconds=moment)
            if act is not None:
                act(stage)
            try:
                with crash_at(target, method, nth):
                    stage.turn()
            except Crash:
                ended = False
            else:
                ended = True
            stage.turn()
            assert facts(stage) == expected, (moment, method, nth)
            stage.home.close()
            shutil.rmtree(again)
            if ended:
                break
            cut += 1
    return cut


def test_a_crash_between_any_two_transactions_changes_nothing_in_the_end(tmp_path):
    home = write_home(tmp_path / "plain", campaigns=[JOURNEY], contacts=people())
    before = Stage(home, NOON.replace(hour=11))
    before.turn()
    before.home.close()
    cut = 0
    for number, (moment, act) in enumerate(acts()):
        start = tmp_path / f"start{number}"
        shutil.copytree(home, start)
        expected = play(home, moment, act)
        if act is None or "send" not in act.__code__.co_names:
            # Sending has its own rule: what is cut between stamp and answer stays unknown.
            cut += cut_everywhere(start, moment, act, expected)
    assert cut > 40
    assert len(expected["messages"]) > 9


ORDERS = """
name: orders
sender: main
entries:
  - trigger: {event: order, where: {status: ready}, key: number}
  - trigger: {event: invited, contacts: {event: members}}
settings: {control_group: 50%}
steps:
  hello:
    message: {template: order, language: fr}
"""
SURVEY = """
name: survey
sender: main
entries:
  - api: {attributes: [code]}
steps:
  hello:
    message: {template: order, language: fr}
"""


def test_a_crash_doubles_no_event_and_no_request(tmp_path, monkeypatch):
    """Events of several batches, two triggers, keys, people who are not known yet, and requests that take several
    transactions."""

    def what_happens(stage):
        if (stage.path / "landing/events/0.ndjson").exists():
            return
        for number in range(6):
            batch = f"{number % 2}.ndjson"
            order = {"number": f"A{number % 4}", "status": "ready", "event_id": f"e{number}", "file": batch}
            stage.happens("order", f"c{number % 3}", **order)
            stage.happens("order", f"c{number}", number=1, status="lost", event_id=f"x{number}", file=batch)
        stage.happens("invited", "c0", members=["c1", "c4", "new1", "new2"], event_id="i1", file="1.ndjson")
        stage.asks("survey", "r1", users=["c0", "c1", "new1", "c2", "new3"], attribute_values={"code": 1})
        stage.asks("survey", "r2", phones=["0600000001", "0699999999", "x"], attribute_values={"code": 2})
        stage.asks("survey", "r3", segment="everyone", attribute_values={"code": 3})
        stage.asks("survey", "r4", users=["c0", "c1", "c2"], attribute_values={})

    def two_of_them_come(stage):
        stage.contacts([person(50, contact_id="new1"), person(51, contact_id="new3")])

    in_parts(monkeypatch, 2)
    home = write_home(tmp_path / "plain", campaigns=[ORDERS, SURVEY], contacts=5)
    before = Stage(home, NOON.replace(hour=11))
    before.turn()
    before.home.close()
    cut = 0
    for number, (moment, act) in enumerate([(0, what_happens), (3_600, two_of_them_come), (86_400, None)]):
        start = tmp_path / f"start{number}"
        shutil.copytree(home, start)
        expected = play(home, moment, act)
        cut += cut_everywhere(start, moment, act, expected)
    assert cut > 40
    outcomes = {entry[2] for entry in expected["entries"]}
    assert outcomes == {"entered", "control", "already_in", "unknown_contact", "refused"}
    assert not expected["waiting"]


def test_turns_are_at_rest_when_nothing_is_due(make_home):
    stage = make_home()
    assert stage.run().anything
    assert not stage.turn().anything


def test_everyone_gets_each_step_once_however_often_turns_are_made(make_home):
    plain = JOURNEY.replace("named, language: fr, variables: {first_name: {user: first_name}}", "hello, language: fr")
    stage = make_home(contacts=5, campaigns=[plain])
    for _ in range(3):
        stage.turn()
    stage.send()
    for _ in range(3):
        stage.turn()
    assert stage.rows("SELECT contact_id, count(*) FROM message GROUP BY 1") == [(f"c{i}", 1) for i in range(5)]


def test_everyone_gets_one_message_over_the_wire_and_what_they_do_with_it_comes_back(make_home, sandbox):
    sandbox.put_templates(*TEMPLATES)
    two = OFFER + "    on_read: {within: 2d, read: reminder, not_read: end}\n"
    two += "  reminder:\n    message: {template: reminder, language: fr}\n"
    stage = make_home(contacts=8, campaigns=[two])
    (stage.path / ".env").write_text(f"WHATSAPP_API_URL={sandbox.url}\nWHATSAPP_TOKEN={sandbox.token}\n")
    stage = Stage(stage.path, NOON)
    stage.run()
    send_over_the_wire(stage)
    assert stage.states() == {"accepted": 8}
    sandbox.act("+33600000003", "read")
    sandbox.act("+33600000005", "stop")
    log = stage.path / "landing/webhooks/log.ndjson"
    shutil.copy(sandbox.config.webhook_log, log)
    stage.turn()
    assert stage.rows("SELECT contact_id, step FROM participant WHERE step = 'reminder'") == [("c3", "reminder")]
    assert stage.rows("SELECT contact_id FROM participant WHERE reason = 'opted_out'") == [("c5",)]
    send_over_the_wire(stage)
    assert sorted(row["template"] for row in sandbox.accepted()) == ["hello"] * 8 + ["reminder"]
    assert sandbox.summary()["refused"] in (0, {})
    stage.home.close()


def send_over_the_wire(stage):
    with Sending(stage.home, threading.Event()) as sending:
        sending.start()
        sending.join()
    stage.wall += 2  # a lane gives its lease back a second after its last message
