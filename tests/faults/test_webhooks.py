"""Webhooks as they come in a year: twice, in any order, days late, before the send's own answer, with those of others
between them. What the ledger says in the end is what the ordered, unique sequence would have made of it."""

import itertools
import json
import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipelines.take_in import take_in
from resources.ledger import US
from resources.outbox import Outbox, Settled
from resources.retry import retry
from tests.stage import NOON, Stage, accepted, delivery, status_value, write_home

ASKS = """
name: asks
sender: main
entries:
  - audience: {segment: everyone}
steps:
  hello:
    message: {template: hello, language: fr}
    on_reply: {within: 24h, answers: {Oui: more, Non: end}, other: last, silence: reminder, full_wait: true}
    on_failure: last
  more:
    message: {template: order, language: fr}
  reminder:
    message: {template: reminder, language: fr}
    on_read: {within: 1d, read: end, not_read: last, full_wait: true}
  last:
    message: {template: last_call, language: fr}
"""
PEOPLE = 4
START = NOON + timedelta(minutes=10)
FACTS = (
    "SELECT id, state, sent_at, delivered_at, read_at, failed_at, accepted_at, error_code, wamid FROM message"
    " ORDER BY contact_id, step, visit",
    "SELECT wamid, contact_id, message_id, step, kind, text, payload, late, replied_at FROM reply ORDER BY 1",
    "SELECT contact_id, step, visit, state, reason, left_at IS NULL FROM participant ORDER BY id",
    "SELECT subject, scope, cause FROM suppression ORDER BY 1",
    "SELECT contact_id, change, cause, changed_at FROM consent_history ORDER BY 1, 4, 2",  # what each lifted may differ
    "SELECT phone, code FROM unreachable ORDER BY 1",
    "SELECT contact_id, campaign, step, visit, reason, detail FROM skip ORDER BY 1, 2, 3, 4",
    "SELECT contact_id, sender, max(attempted_at), max(delivered_at) FROM message GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT contact_id, sender, count(*), max(replied_at), sum(late) FROM reply GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT name, language, status FROM template_hold ORDER BY 1, 2",
    "SELECT name, messaging_limit, limit_at, paused_why, paused_at IS NULL FROM sender ORDER BY 1",
)
KNOWN = ["contact_id", "phone", "wa_id", "opted_in", "opted_in_at", "opted_out_at", "opt_out_scope", "opt_out_cause"]
REPORTED = ["wamid", "status", "status_at", "error_code"]


@dataclass(frozen=True)
class News:
    """One thing that Meta tells, as the value of a change, and the field that it is of."""

    value: dict
    field: str = "messages"
    time: int | None = None


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> Path:
    """A home in which four people are to get their first message; lanes have stamped all, and no answer has come."""
    folder = tmp_path_factory.mktemp("begun")
    stage = Stage(write_home(folder / "home", campaigns=[ASKS], contacts=PEOPLE), NOON)
    stage.run("asks")
    lease = stage.home.ledger.take("send:main:0/1", "test", seconds=10**7)
    outbox = Outbox(stage.home.ledger, lease, "main", 0, 1, 80.0)
    assert len(outbox.turn([], 100, stage.us, int(stage.wall * US)).claimed) == PEOPLE
    stage.home.close()
    return folder / "home"


def answers_come(stage: Stage, only=None) -> None:
    """Meta's answers to the POSTs, which a lane writes; of some messages they never come."""
    with stage.home.ledger.read() as tx:
        row = tx.exec_driver_sql("SELECT token, holder FROM lease WHERE name = 'send:main:0/1'").one()
    from resources.ledger import Lease

    outbox = Outbox(stage.home.ledger, Lease("send:main:0/1", row.holder, row.token), "main", 0, 1, 80.0)
    ids = [i for (i,) in stage.rows("SELECT id FROM message WHERE step = 'hello' ORDER BY id")]
    settled = [Settled(i, accepted(type("C", (), {"id": i}))) for i in ids if only is None or i in only]
    outbox.turn(settled, 0, stage.us, int(stage.wall * US))


def status(stage: Stage, number: int, kind: str, second: int, code: int | None, *, bare: bool) -> News:
    """`bare`: it does not say what we sent along."""
    value = stage.status_of(number, kind, at=START + timedelta(seconds=second), code=code)
    if bare:
        del value["statuses"][0]["biz_opaque_callback_data"]
    return News(value)


def said(who: int, second: int, content: dict, quotes: str | None) -> News:
    phone = f"336{who:08d}"
    one = {"from": phone, "id": f"wamid.in.{second}", "timestamp": str(int(START.timestamp()) + second), **content}
    if quotes is not None:
        one["context"] = {"id": quotes, "from": "15550783881"}
    return News({"contacts": [{"profile": {"name": "Léa"}, "wa_id": phone}], "messages": [one]})


def text(body: str) -> dict:
    return {"type": "text", "text": {"body": body}}


@st.composite
def stories(draw):
    """What happens to four people, each thing once and in the order of time: tuples that `told` turns into News."""
    second = itertools.count(1)
    story = []
    for number in range(1, PEOPLE + 1):
        fate = draw(st.sampled_from(["nothing", "sent", "delivered", "read", "failed", "undeliverable", "stopped"]))
        known = {"delivered": ["sent", "delivered"], "read": ["sent", "delivered", "read"], "sent": ["sent"]}
        told = draw(st.sampled_from(["status", "bare"]))
        for kind in known.get(fate, []):
            story.append((told, number, kind, None))
        code = {"failed": 131000, "undeliverable": 131026, "stopped": 131050}.get(fate)
        if code is not None:
            story.append((told, number, "failed", code))
            continue
        words = draw(
            st.lists(st.sampled_from(["Oui", "Non", "Bonjour", "button", "image", "love", "STOP", "START"]), max_size=3)
        )
        for word in words:
            story.append(("said", number - 1, word, draw(st.booleans())))
        if draw(st.integers(0, 3)) == 0:
            story.append(("preference", number - 1, draw(st.sampled_from(["stop", "resume"])), None))
    for _ in range(draw(st.integers(0, 2))):
        story.append(("other", draw(st.integers(0, 3)), draw(st.integers(0, 4)), None))
    for event in draw(st.lists(st.sampled_from(["PAUSED", "DISABLED", "APPROVED", "FLAGGED"]), max_size=3)):
        story.append(("template", 0, event, None))
    for event in draw(st.lists(st.sampled_from(["FLAGGED", "UNFLAGGED", "TIER_2K", "TIER_250"]), max_size=3)):
        story.append(("number", 0, event, None))
    order = draw(st.permutations(range(len(story))))
    ranked = sorted(range(len(story)), key=lambda place: (order[place] // 3, place))  # people's stories interleave
    return [(*story[place], next(second)) for place in ranked]


def told(stage: Stage, story) -> list[News]:
    found = []
    for kind, who, what, more, second in story:
        if kind in ("status", "bare"):
            found.append(status(stage, who, what, second, more, bare=kind == "bare"))
        elif kind == "said":
            content = {
                "button": {"type": "button", "button": {"text": "Oui", "payload": "Oui"}},
                "image": {"type": "image", "image": {"id": "1", "mime_type": "image/jpeg", "caption": "Oui"}},
                "love": {"type": "reaction", "reaction": {"message_id": f"wamid.{who + 1}", "emoji": "❤"}},
            }.get(what, text(what))
            found.append(said(who, second, content, f"wamid.{who + 1}" if more else None))
        elif kind == "preference":
            one = {"wa_id": f"336{who:08d}", "category": "marketing_messages", "value": what, "detail": "…"}
            one["timestamp"] = int(START.timestamp()) + second
            found.append(News({"user_preferences": [one]}, "user_preferences"))
        elif kind == "template":
            about = {"message_template_name": "last_call", "message_template_language": "fr", "event": what}
            found.append(News(about, "message_template_status_update", int(START.timestamp()) + second))
        elif kind == "number":
            event = {"current_limit": what} if what.startswith("TIER") else {"event": what}
            about = {"display_phone_number": "15550783881", **event}
            found.append(News(about, "phone_number_quality_update", int(START.timestamp()) + second))
        else:
            found.append(other(stage, who, what, second))
    return found


def other(stage: Stage, number: int, what: int, second: int) -> News:
    """What is not for us, or what nobody knows yet."""
    at = START + timedelta(seconds=second)
    strange = status_value(f"wamid.s{second}", "read", at, callback=f"estafette:0badc0de:1:{number + 1}:12")
    return (
        News(strange),
        News(status_value(f"wamid.s{second}", "delivered", at, unheard_of={"of": [1]})),
        News(status_value(f"wamid.{number + 1}", "teleported", at)),
        News({"messages": [], "weather": {"is": "fine"}}),
        News({"whatever": second}, "account_tea_break"),
    )[what]


def lines(news: list[News], sizes: list[int]) -> list[str]:
    """Deliveries of so many changes each, one a line."""
    found, rest = [], list(news)
    for size in itertools.chain(sizes, itertools.repeat(1)):
        if not rest:
            return found
        some, rest = rest[:size], rest[size:]
        whole = delivery(some[0].value, some[0].field)
        whole["entry"] += [one for more in some[1:] for one in delivery(more.value, more.field)["entry"]]
        for entry, one in zip(whole["entry"], some, strict=True):
            entry |= {"time": one.time} if one.time is not None else {}
        found.append(json.dumps(whole))
    return found


def facts(stage: Stage):
    people = stage.home.contacts.frame(KNOWN).sort("contact_id").rows()
    reported = sorted(tuple(row[name] for name in REPORTED) for row in stage.lake("message_events"))
    return [stage.rows(query) for query in FACTS], stage.moves(), people, reported


def unread(stage: Stage) -> set[str]:
    return {raw for (raw,) in stage.rows("SELECT raw FROM quarantine")}


def play(begun: Path, path: Path, how):
    shutil.copytree(begun, path)
    stage = Stage(path, NOON).at(START + timedelta(minutes=10))
    try:
        how(stage)
        stage.turn()
        stage.later(hours=30).turn()
        return facts(stage)
    finally:
        stage.home.close()
        shutil.rmtree(path)


def write(stage: Stage, file: str, some: list[str]) -> None:
    with (stage.path / "landing/webhooks" / file).open("a") as log:
        log.write("".join(f"{one}\n" for one in some))


@st.composite
def deliveries(draw):
    """A story, and how it comes: in which order, what twice, how it is cut into deliveries, files and passes, after
    which pass the answers to the POSTs come, and which deliveries come torn before they come whole."""
    story = draw(stories())
    again = draw(st.lists(st.sampled_from(story), max_size=5)) if story else []
    shuffled = draw(st.permutations(story + again))
    passes = draw(st.integers(1, 3))
    torn = draw(st.lists(st.tuples(st.integers(0, 20), st.floats(0.01, 0.99)), max_size=3))
    sizes = draw(st.lists(st.integers(1, 4), max_size=8))
    return story, shuffled, sizes, passes, draw(st.integers(0, passes)), torn


def check(begun: Path, tmp: Path, drawn) -> None:
    story, shuffled, sizes, passes, answered, torn = drawn
    halves: set[str] = set()

    def in_order(stage: Stage) -> None:
        answers_come(stage)
        write(stage, "log.ndjson", lines(told(stage, story), []))

    def as_it_comes(stage: Stage) -> None:
        come = lines(told(stage, shuffled), sizes)
        for place, part in torn:
            if place < len(come):
                half = come[place][: max(1, int(len(come[place]) * part))].strip()
                halves.add(half)
                come.insert(place, half)
        for number in range(passes):
            if number == answered:
                answers_come(stage)
            write(stage, f"{number % 2}.ndjson", come[number::passes])
            take_in(stage.home, stage.lease, stage.now)
        if answered >= passes:
            answers_come(stage)
        kept = [i for (i,) in stage.rows("SELECT id FROM quarantine")]
        assert unread(stage) == halves
        assert all(one.reason is not None for one in retry(stage.home, stage.lease, kept, stage.now))
        assert unread(stage) == halves

    expected = play(begun, tmp / "ordered", in_order)
    assert play(begun, tmp / "shuffled", as_it_comes) == expected


FEW = settings(
    max_examples=12, derandomize=True, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)


@FEW
@given(drawn=deliveries())
def test_any_order_and_any_duplicates_end_as_the_ordered_unique_sequence(begun, tmp_path_factory, drawn):
    check(begun, tmp_path_factory.mktemp("play"), drawn)


@pytest.mark.slow
@settings(FEW, max_examples=120, derandomize=False, phases=list(Phase))
@given(drawn=deliveries())
def test_many_orders_and_duplicates_end_as_the_ordered_unique_sequence(begun, tmp_path_factory, drawn):
    check(begun, tmp_path_factory.mktemp("play"), drawn)


# -- consent, in any order ---------------------------------------------------------------------------------------------

WORDS = ("STOP", "START", "stop", "resume")


def say(stage: Stage, story) -> None:
    """Words of one person, each at its second, in the order of the list, a pass each."""
    for second, word in story:
        if word in ("STOP", "START"):
            one = said(0, second, text(word), None)
        else:
            about = {"wa_id": "33600000000", "category": "marketing_messages", "value": word, "detail": "…"}
            one = News(
                {"user_preferences": [{**about, "timestamp": int(START.timestamp()) + second}]}, "user_preferences"
            )
        write(stage, "words.ndjson", lines([one], []))
        take_in(stage.home, stage.lease, stage.now)


def in_force(begun: Path, path: Path, story):
    shutil.copytree(begun, path)
    stage = Stage(path, NOON).at(START + timedelta(minutes=10))
    try:
        say(stage, story)
        contact = stage.home.contacts.find(ids=["c0"]).select(
            "opted_in", "opt_out_scope", "opted_out_at", "opted_in_at"
        )
        return contact.rows(), stage.rows("SELECT subject, scope, cause, changed_at FROM suppression ORDER BY 1")
    finally:
        stage.home.close()
        shutil.rmtree(path)


@pytest.mark.parametrize(
    ("order", "scope"),
    [
        # STOP, START, STOP; the START comes last: whoever said STOP last is not messaged
        ([(1, "STOP"), (5, "STOP"), (3, "START")], "all"),
        # a stop of marketing that came while everything was stopped is still there when START lifts that
        ([(1, "STOP"), (5, "stop"), (3, "START")], "marketing"),
        # START is remembered where something newer is in force already
        ([(11, "stop"), (3, "START"), (2, "STOP")], "marketing"),
        ([(5, "resume"), (3, "stop"), (1, "STOP"), (2, "START")], None),
    ],
)
def test_words_that_come_in_another_order_end_with_what_was_said_last(begun, tmp_path, order, scope):
    found = in_force(begun, tmp_path / "shuffled", order)
    assert found == in_force(begun, tmp_path / "ordered", sorted(order))
    assert found[0][0][1] == scope


@pytest.mark.slow
@settings(FEW, max_examples=150, derandomize=False, phases=list(Phase))
@given(
    drawn=st.lists(st.sampled_from(WORDS), min_size=2, max_size=5).flatmap(
        lambda w: st.permutations(list(enumerate(w)))
    )
)
def test_words_in_any_order_end_with_what_was_said_last(begun, tmp_path_factory, drawn):
    folder = tmp_path_factory.mktemp("words")
    assert in_force(begun, folder / "a", drawn) == in_force(begun, folder / "b", sorted(drawn))
