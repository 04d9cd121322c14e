"""A journey through steps of every kind, cut at any transaction: done again it ends as if it had never been cut."""

import shutil

from resources.lake import Lake
from resources.ledger import Ledger
from tests.pipelines.test_turn import crash_at
from tests.stage import NOON, Stage, person, write_home

JOURNEY = """
name: offer
sender: main
entries:
  - audience: {segment: everyone, when: {at: "2026-12-01 13:00"}}
steps:
  pause: {delay: {until: "18:00"}, next: half}
  half: {experiment: {a: {weight: 1, next: mark}, b: {weight: 1, next: mark}}}
  mark: {update: {set: {status: warm, score: 7}, add_tags: [autumn], remove_tags: [cold]}, next: asks}
  asks:
    message: {template: order, language: fr}
    on_reply: {within: 1d, answers: {Oui: bought}, other: who, silence: end}
  who: {split: {branches: [{segment: warm, next: bought}], else: end}}
  bought:
    wait_for:
      within: 3d
      branches: [{event: purchase, next: pause}, {read: asks, next: half}]
      else: end
"""
SEGMENTS = {
    "everyone.yaml": "all:\n  - {user: {country: FR}}\n",
    "warm.sql": "select contact_id from contacts where country = 'FR' and list_contains(tags, 'autumn')\n",
}
DAY = 86_400


def answer(stage):
    if not (stage.path / "landing/webhooks/answers.ndjson").exists():
        stage.says("+33600000001", "oui").says("+33600000002", "peut-être")
        (stage.path / "landing/webhooks/log.ndjson").rename(stage.path / "landing/webhooks/answers.ndjson")


def buy(stage):
    if not (stage.path / "landing/events/log.ndjson").exists():
        stage.happens("purchase", "c1").happens("purchase", "c3")


#: When, what happens before the turn, and whether everything goes out after it.
ACTS = [
    (0, None, False),
    (6 * 3600, None, True),
    (7 * 3600, answer, False),
    (8 * 3600, buy, False),
    (DAY + 6 * 3600, None, True),
    (5 * DAY, None, False),
]


def facts(stage):
    sorts = "ORDER BY 1, 2, 3, 4"
    contacts = stage.home.contacts.frame()
    known = [name for name in ("contact_id", "status", "score", "tags", "file_tags") if name in contacts.columns]
    columns = "p.contact_id, m.step, m.visit"
    return {
        "messages": stage.rows(f"SELECT contact_id, step, visit, state, uid FROM message {sorts}"),
        "people": stage.rows(
            f"SELECT contact_id, step, visit, state, reason, arrived_at, wake_at FROM participant {sorts}"
        ),
        "moves": sorted(
            (row["contact_id"], row["from_step"], row["branch"], row["to_step"], row["visit"], row["moved_at"])
            for row in stage.lake("participant_steps")
        ),
        "met": stage.rows(
            f"SELECT {columns}, m.branch FROM met m JOIN participant p ON p.id = m.participant_id {sorts}"
        ),
        "visited": stage.rows(
            "SELECT p.contact_id, v.step, v.visits, 1 FROM visited v JOIN participant p ON p.id = v.participant_id"
            f" {sorts}"
        ),
        "contacts": contacts.select(known).sort("contact_id").rows(),
        "replies": stage.rows(f"SELECT contact_id, text, step, late FROM reply {sorts}"),
    }


def play(path, moment, act, send, cut=None):
    """One act; gives whether it was cut short, and what is true after it. `cut`: (class, method, the how maniest)."""
    stage = Stage(path, NOON).at(NOON).later(seconds=moment)
    ended = True
    try:
        if act is not None:
            act(stage)
        if cut is not None:
            try:
                with crash_at(*cut):
                    stage.turn()
            except BaseException as error:
                assert type(error).__name__ == "Crash"
                ended = False
        stage.turn()
        found = facts(stage)
        if send:
            stage.send()
        return ended, found
    finally:
        stage.home.close()


def test_a_crash_between_any_two_transactions_changes_nothing_in_the_end(tmp_path):
    people = [person(number, opted_in="true", tags="cold") for number in range(5)]
    home = write_home(tmp_path / "plain", campaigns=[JOURNEY], contacts=people, segments=SEGMENTS)
    before = Stage(home, NOON.replace(hour=11))
    before.turn()
    before.home.close()
    cuts = 0
    for number, (moment, act, send) in enumerate(ACTS):
        start, again = tmp_path / f"start{number}", tmp_path / "again"
        shutil.copytree(home, start)
        _, expected = play(home, moment, act, send)
        for target, method in ((Ledger, "write"), (Lake, "register")):
            for nth in range(1, 60):
                shutil.copytree(start, again)
                ended, found = play(again, moment, act, send, (target, method, nth))
                shutil.rmtree(again)
                assert found == expected, (number, method, nth)
                cuts += not ended
                if ended:
                    break
    assert cuts > 40
    assert {visits for _, _, visits, _ in expected["visited"]} == {1, 2}
    assert expected["met"]
    assert {branch for _, _, branch, _, _, _ in expected["moves"]} >= {"Oui", "other", "silence", "next", "1", "else"}
