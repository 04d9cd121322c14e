"""What is read of people due: random ledgers against plain lists, and which indexes the statements walk."""

import random

import pytest

from journey.cohort import decide
from pipelines import happened, moving, plan, standing
from tests.stage import SETTINGS, TEMPLATES, template

HOUR = 3_600_000_000
CAMPAIGN = """
name: offer
sender: main
entries:
  - audience: {segment: everyone}
steps:
  asks:
    message: {template: shop, language: fr, buttons: {0: {link: https://shop.example.com/}}}
    on_reply: {within: 24h, answers: {Oui: bought, Non: end}, silence: last}
  bought:
    wait_for:
      within: 24h
      branches:
        - {event: purchase, next: last}
        - {read: asks, next: end}
        - {reply_to: asks, is: [Oui], next: again}
        - {reply_to: asks, next: end}
        - {click: asks, button: Acheter, next: again}
      else: again
  again: {delay: {for: 1h}, next: asks}
  last:
    message: {template: hello, language: fr}
"""
BUTTONS = [{"type": "URL", "text": "Acheter", "url": "https://example.com/r/{{1}}"}]
MESSAGE = (
    "INSERT INTO message (id, uid, participant_id, campaign, version, step, visit, copy, contact_id, phone, sender,"
    " share, kind, template, language, priority, state, due_at, expires_at, planned_at, attempted_at, accepted_at,"
    " read_at, attempted_wall) VALUES (?, ?, ?, 'offer', 'v', 'asks', ?, ?, ?, '+33', 'main', 0, 'template', 'shop',"
    " 'fr', 1, ?, 0, 0, 0, ?, ?, ?, 0)"
)
REPLY = (
    "INSERT INTO reply (wamid, message_id, contact_id, kind, text, late, replied_at, received_at)"
    " VALUES (?, ?, 'c', ?, ?, 0, ?, 0)"
)
CLICK = (
    "INSERT INTO click (event_id, message_id, participant_id, campaign, step, contact_id, button, clicked_at)"
    " VALUES (?, ?, ?, 'offer', 'asks', 'c', ?, ?)"
)
PERSON = (
    "INSERT INTO participant (id, campaign, version, contact_id, key, entry, occurrence, priority, entered_at, since,"
    " step, visit, arrived_at, wake_at, state, left_at)"
    " VALUES (?, ?, 'v', ?, '', 'audience', ?, 1, 0, 0, ?, ?, ?, ?, 'waiting', ?)"
)


@pytest.fixture
def stage(make_home):
    return make_home(
        campaigns=[CAMPAIGN],
        contacts=0,
        settings=SETTINGS + "links: {base_url: https://example.com}\n",
        templates=[*TEMPLATES, template("shop", buttons=BUTTONS)],
    )


class World:
    """People, messages, answers, taps and events met, as lists."""

    def __init__(self, seed, now):
        chance = random.Random(seed)
        self.now, self.people, self.messages, self.replies, self.clicks, self.met = now, [], [], [], [], []
        ago = lambda: now - chance.randrange(0, 49) * HOUR  # noqa: E731
        for one in range(1, 121):
            step, visit = chance.choice(["asks", "bought"]), chance.randrange(1, 4)
            due = chance.choice([now, now - HOUR, now - 9 * HOUR, now + 1, None])
            left = now if chance.random() < 0.1 else None
            name = chance.choice(["offer"] * 9 + ["other"])
            self.people.append((one, name, f"c{one}", str(one), step, visit, ago(), due, left))
            for number in range(1, visit + (step == "asks")):
                for copy in range(1, chance.choice([2, 2, 2, 3])):
                    state = chance.choice(["accepted", "read", "sent", "unknown", "planned"])
                    sent = state in ("accepted", "read", "sent")
                    at = None if state == "planned" else ago()
                    read = ago() if state == "read" else None
                    key = len(self.messages) + 1
                    self.messages.append(
                        (key, key, one, number, copy, f"c{one}", state, at, at if sent else None, read)
                    )
                    for _ in range(chance.choice([0, 0, 1, 2]) if at else 0):
                        kind, text = chance.choice(["text", "button", "reaction"]), chance.choice(["Oui", "non", "?"])
                        self.replies.append((f"w{len(self.replies)}", key, kind, text, ago()))
                    for _ in range(chance.choice([0, 0, 0, 1]) if at else 0):
                        button = chance.choice(["Acheter", "Aide"])
                        self.clicks.append((f"e{len(self.clicks)}", key, one, button, ago()))
            if step == "bought" and chance.random() < 0.3:
                for number in {visit, max(1, visit - 1)}:
                    self.met.append((one, "bought", number, 1, "e", ago()))

    def write(self, stage):
        with stage.home.ledger.write() as tx:
            for statement, rows in (
                (PERSON, self.people),
                (MESSAGE, self.messages),
                (REPLY, self.replies),
                (CLICK, self.clicks),
                ("INSERT INTO met VALUES (?, ?, ?, ?, ?, ?)", self.met),
            ):
                tx.exec_driver_sql(statement, rows)

    def due(self, step):
        return [
            person
            for person in self.people
            if person[1] == "offer" and person[4] == step and person[8] is None and person[7] is not None
            if person[7] <= self.now
        ]

    def answers_to(self, keys):
        """(when, the how maniest, text) of each answer to these messages; reactions are none."""
        return sorted(
            (at, place, text)
            for place, (_, key, kind, text, at) in enumerate(self.replies)
            if key in keys and kind != "reaction"
        )

    def at_message(self, person):
        """The branch that somebody at the message step takes, or None."""
        mine = [row for row in self.messages if row[2] == person[0] and row[3] == person[5]]
        went = [row for row in mine if row[6] in ("accepted", "read", "sent")]
        message = max(went or mine, key=lambda row: row[4])
        attempts = [row[7] for row in mine if row[7] is not None]
        began = message[8] if message[8] is not None else max(attempts, default=None)
        if began is None:
            return None
        said = self.answers_to({row[0] for row in mine})
        if said and said[0][0] <= began + 24 * HOUR:
            return {"Oui": "Oui", "non": "Non"}.get(said[0][2], "other")
        unsure = message[6] == "unknown"
        through = bool(went) or (unsure and (bool(said) or began + 24 * HOUR <= self.now))
        return "silence" if through and began + 24 * HOUR <= self.now else None

    def at_wait(self, person):
        """The branch that somebody at the wait takes, or None."""
        mine = [row for row in self.messages if row[2] == person[0]]
        newest = max((row[3] for row in mine), default=0)
        keys = {row[0] for row in mine if row[3] == newest}
        happened = [(at, 1) for one, _, visit, _, _, at in self.met if (one, visit) == (person[0], person[5])]
        happened += [(row[9], 2) for row in mine if row[0] in keys and row[9] is not None]
        happened += [(at, 3) for at, _, text in self.answers_to(keys) if text == "Oui"]
        happened += [(at, 4) for at, _, _ in self.answers_to(keys)]
        happened += [(at, 5) for _, key, _, button, at in self.clicks if key in keys and button == "Acheter"]
        deadline = person[6] + 24 * HOUR
        in_time = sorted(one for one in happened if one[0] <= deadline)
        if in_time:
            return str(in_time[0][1])
        return "else" if deadline <= self.now else None


@pytest.mark.parametrize("seed", range(6))
def test_a_random_ledger_is_read_as_plain_lists_are(stage, seed):
    world = World(seed, stage.us)
    world.write(stage)
    campaign = stage.home.project.campaigns["offer"]
    assert not stage.home.project.holes
    for step, rule in (("asks", world.at_message), ("bought", world.at_wait)):
        people = world.due(step)
        moves, waits = {}, set()
        for one in standing.due(stage.home, campaign, stage.us, {step}, together=7):
            found = decide(campaign, step, standing.standing(stage.home, one), stage.us)
            moves |= dict(found.moves.select("participant_id", "branch").iter_rows())
            waits |= set(found.waits["participant_id"])
        want = {person[0]: rule(person) for person in people}
        assert moves == {one: branch for one, branch in want.items() if branch is not None}
        assert waits == {one for one, branch in want.items() if branch is None}
        assert len(people) > 14


STATEMENTS = {
    "ids": standing._IDS_SQL,
    "people": standing._PEOPLE_SQL,
    "messages": standing._MESSAGES_SQL.format(answer="r.replied_at, r.payload, r.text", join=standing._ANSWER_SQL),
    "events": happened._EVENTS_SQL.format(due=standing.DUE),
    "reads": happened._READS_SQL.format(due=standing.DUE),
    "answers": happened._ANSWERS_SQL.format(due=standing.DUE),
    "taps": happened._TAPS_SQL.format(due=standing.DUE),
    "visits": moving._VISITS_SQL,
    "arrived": plan.ARRIVED_SQL,
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_nobody_is_read_who_is_not_due(stage, name):
    """Each statement begins with the people asked for, and finds all else by keys: no table is read whole."""
    params = {
        "campaign": "offer",
        "step": "asks",
        "now": 1,
        "people": "[1]",
        "wall": 1,
        "of": "asks",
        "steps": "[]",
    }
    with stage.home.ledger.read() as tx:
        rows = tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {STATEMENTS[name]}", params).all()
    steps = [str(row[3]) for row in rows]
    people = any(step.startswith("SEARCH p USING INTEGER PRIMARY KEY (rowid=?)") for step in steps)
    ids = any(step.startswith("SEARCH p USING INDEX participant_due (campaign=? AND wake_at<?") for step in steps)
    assert ids if name == "ids" else people
    assert [step for step in steps if step.startswith("SCAN") and "json_each" not in step] == []
