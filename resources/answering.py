"""Answers in the ledger: each is written with its message, and whoever waits for it is looked at.

What belongs here: reading who waits for an answer and what was answered before, and writing `reply`. Whose an answer is
and whether it is late is `journey.attribution`; reading what came in is `inbound`.

An answer may come after another that was said later, or before the wamid that it quotes is known. So what a contact
said to messages that still wait is looked at together each time, and what quotes an unknown message again for a day.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from journey.attribution import SECOND, Passage, Said, Sent, Waiting, attribute
from journey.campaign import Campaign
from journey.clock import to_us
from journey.steps import MessageStep, WaitForStep
from journey.stop_words import is_one_of
from journey.words import MessageState
from resources.containing import line_by_line, unforeseen
from resources.home import Home
from resources.ledger import US, Lease, chunks, mark_dirty, select_in

REACTION = "reaction"
SAID = ("text", "button", "list")
"""Kinds that can be a stop or start word as a whole; the caption of a picture is not."""
DAY = 24 * 3600 * US

_ARRIVED = (MessageState.accepted, MessageState.sent, MessageState.delivered, MessageState.read)
_NEVER_CAME = (MessageState.failed, MessageState.skipped, MessageState.cancelled)

_SENT = "m.id, m.participant_id, m.campaign, m.step, m.visit, m.sender, m.attempted_at"
# What each contact was sent last before they wrote; `asked`: (contact, sender, time) each.
_NEWEST = f"""
SELECT a.key AS place, {_SENT} FROM json_each(?) a CROSS JOIN message m ON m.id = (
  SELECT l.id FROM message l WHERE l.contact_id = a.value ->> 0 AND l.sender = a.value ->> 1
    AND l.attempted_at < a.value ->> 2 AND l.state NOT IN ('failed', 'skipped', 'cancelled')
  ORDER BY l.attempted_at DESC, l.id DESC LIMIT 1)
"""
_KNOWN = f"""
SELECT r.id AS reply_id, r.wamid, r.contact_id, r.sender AS number, r.kind, r.payload, r.text, r.quoted, r.late,
  r.replied_at, r.received_at, {_SENT}
FROM message t JOIN message m ON m.participant_id = t.participant_id AND m.step = t.step AND m.visit = t.visit
JOIN reply r ON r.message_id = m.id AND r.kind <> 'reaction'
WHERE t.id IN :ids
"""
_UNMATCHED = """
SELECT r.id AS reply_id, r.wamid, r.contact_id, r.sender AS number, r.kind, r.payload, r.text, r.quoted, r.late,
  r.replied_at, r.received_at
FROM reply r JOIN message m ON m.wamid = r.quoted
WHERE r.message_id IS NULL AND r.quoted IS NOT NULL AND r.received_at > ? ORDER BY r.id
"""
_INSERT = """
INSERT INTO reply (message_id, participant_id, campaign, step, late, replied_at, wamid, contact_id, sender, kind,
  payload, text, quoted, received_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
_UPDATE = """
UPDATE reply SET message_id = ?, participant_id = ?, campaign = ?, step = ?, late = ?, replied_at = ? WHERE id = ?
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """One inbound message. `quoted` is the wamid that it quotes; `id` its row, where it is in the ledger already, with
    the message (if any) and `late` as they stand there. Times in microseconds since 1970."""

    wamid: str
    contact_id: str
    sender: str | None
    kind: str
    payload: str | None
    text: str | None
    quoted: str | None
    replied_at: int
    received_at: int
    id: int | None = None
    message: Sent | None = None
    late: bool | None = None


def stops(home: Home, kind: str, text: str | None, payload: str | None) -> bool:
    """Whether what somebody said is a stop word."""
    return kind in SAID and is_one_of((text, payload), home.project.settings.stop_words.all)


def write_answers(tx: sa.Connection, home: Home, new: Sequence[Answer], now: int) -> None:
    """Write inbound messages (at most `BULK`), each with the message that it belongs to, and have whoever waits for
    them looked at `now`. Those with a row already are matched anew."""
    campaigns = {name: one for name, one in home.project.campaigns.items() if name not in home.project.holes}
    quoted = _quoted(tx, new)
    waiting = _waiting(tx, campaigns, new, quoted.values())
    open_ = {wait.passage: wait for waits in waiting.values() for wait in waits}
    known = _known(tx, [message.id for wait in open_.values() for message in wait.messages])
    free = [one for one in (*new, *known.values()) if _is_free(one, open_)]
    newest = _newest(tx, free)
    known |= _known(tx, [message.id for message in (*quoted.values(), *newest.values())])
    again = {one.id for one in new}
    by_contact: dict[str, list[Answer]] = defaultdict(list)
    for one in (*(one for one in known.values() if one.id not in again), *new):
        if _is_answer(one, quoted):
            by_contact[one.contact_id].append(one)
    found = [(one, quoted.get(one.quoted or ""), False) for one in new if not _is_answer(one, quoted)]
    for contact_id, theirs in by_contact.items():
        said = []
        for one in theirs:
            is_free = _is_free(one, open_)
            message = None if is_free else quoted.get(one.quoted or "") or one.message
            last = newest.get(one.wamid) if is_free else None
            stop = stops(home, one.kind, one.text, one.payload)
            said.append(Said(one.replied_at, one.sender or "", one.payload, one.text, message, last, stop, one.late))
        waits = {wait.passage: wait for wait in waiting.get(contact_id, [])}
        waits |= {one.message.passage: open_[one.message.passage] for one in said
                  if one.message is not None and one.message.passage in open_}  # fmt: skip
        decided = attribute(said, waits.values(), lambda message: _had_on_reply(campaigns, message))
        found += [(one, *what) for one, what in zip(theirs, decided, strict=True)]
    _write(tx, found)
    woken = {
        message.participant_id
        for one, message, _ in found
        if message is not None and one.late is None and one.kind != REACTION
    }
    wake = [participant for participant, _, _ in open_ if participant in woken]
    rows = select_in(
        tx, "UPDATE participant SET wake_at = :now WHERE left_at IS NULL AND id IN :ids RETURNING id", wake, now=now
    )
    mark_dirty(tx, "participant", [int(row.id) for row in rows])


def match_again(home: Home, lease: Lease, now: datetime) -> int:
    """Match what quoted a message whose wamid has become known since: Meta's answer, or a status, came later. Gives
    how many were matched."""
    with home.ledger.read() as tx:
        rows = tx.exec_driver_sql(_UNMATCHED, (to_us(now) - DAY,)).all()

    def match(some: Sequence[tuple[int, Any]]) -> None:
        with home.ledger.write(lease) as tx:
            write_answers(tx, home, [_answer(row) for _, row in some], to_us(now))

    for part in chunks(len(rows)):
        for one in line_by_line(list(enumerate(rows[part])), match):
            if one is not None:  # it stays without its message; the others have theirs
                home.say(f"the answer {one[0][1].wamid} could not be matched: {unforeseen(one[1])}")
    return len(rows)


def _is_answer(one: Answer, quoted: Mapping[str, Sent]) -> bool:
    """Whether an inbound message answers one of ours, or may: it is no reaction and quotes nothing unknown."""
    return one.kind != REACTION and (one.quoted is None or one.quoted in quoted or one.message is not None)


def _is_free(one: Answer, open_: Collection[Passage]) -> bool:
    """Whether an answer may belong to whatever waits: it quotes nothing, and is new or with something that waits."""
    settled = one.message is not None and one.message.passage not in open_
    return one.kind != REACTION and one.quoted is None and not settled


def _had_on_reply(campaigns: Mapping[str, Campaign], message: Sent) -> bool:
    campaign = campaigns.get(message.campaign)
    step = campaign.steps.get(message.step) if campaign is not None else None
    return isinstance(step, MessageStep) and step.on_reply is not None


# -- reading -----------------------------------------------------------------------------------------------------------


def _quoted(tx: sa.Connection, answers: Iterable[Answer]) -> dict[str, Sent]:
    wamids = sorted({one.quoted for one in answers if one.quoted is not None})
    return {
        str(row.wamid): _sent(row)
        for row in select_in(tx, f"SELECT m.wamid, {_SENT} FROM message m WHERE m.wamid IN :ids", wamids)
    }


def _known(tx: sa.Connection, message_ids: Sequence[int]) -> dict[int, Answer]:
    """Answers to these messages and their copies, by id."""
    rows = select_in(tx, _KNOWN, sorted(set(message_ids)))
    return {int(row.reply_id): _answer(row, _sent(row)) for row in sorted(rows, key=lambda row: row.reply_id)}


def _newest(tx: sa.Connection, answers: Sequence[Answer]) -> dict[str, Sent]:
    """What each contact was sent last by the sender whom they wrote to, by the answer's wamid."""
    asked = [(one.contact_id, one.sender, one.replied_at + SECOND) for one in answers]
    rows = tx.exec_driver_sql(_NEWEST, (msgspec.json.encode(asked).decode(),)).all() if asked else []
    return {answers[row.place].wamid: _sent(row) for row in rows}


def _waiting(
    tx: sa.Connection, campaigns: Mapping[str, Campaign], answers: Iterable[Answer], quoted: Iterable[Sent]
) -> dict[str, list[Waiting]]:
    """Who of these contacts, and of those whose messages they quote, waits for an answer, or waited until they said
    stop: what they said before may come later. By contact."""
    columns = "SELECT id, contact_id, campaign, step, visit, entered_at, arrived_at, left_at FROM participant WHERE"
    contacts = sorted({one.contact_id for one in answers if one.kind != REACTION})
    people = {row.id: row for row in select_in(tx, f"{columns} left_at IS NULL AND contact_id IN :ids", contacts)}
    others = sorted({one.participant_id for one in quoted} - set(people))
    people |= {row.id: row for row in select_in(tx, f"{columns} left_at IS NULL AND id IN :ids", others)}
    stopped = select_in(tx, f"{columns} reason = 'opted_out' AND contact_id IN :ids", contacts)
    people |= {row.id: row for row in stopped}
    over = _stopped_at(tx, stopped)
    steps = {number: step for number, row in people.items() if (step := _answerable(campaigns, row)) is not None}
    sent: dict[int, list[Any]] = defaultdict(list)
    query = f"SELECT {_SENT}, m.copy, m.state, m.accepted_at FROM message m WHERE m.participant_id IN :ids"
    for row in select_in(tx, f"{query} AND m.attempted_at IS NOT NULL", sorted(steps)):
        sent[row.participant_id].append(row)
    found: dict[str, list[Waiting]] = defaultdict(list)
    for number, messages in sent.items():
        waits = _waits(steps[number], people[number], messages)
        until = over.get(number)
        found[people[number].contact_id] += (
            waits if until is None else [replace(one, until=min(one.until, until)) for one in waits]
        )
    return found


def _stopped_at(tx: sa.Connection, ended: Sequence[Any]) -> dict[int, int]:
    """When the people of these passages, which a stop word ended, said it; by passage."""
    said: dict[str, list[int]] = defaultdict(list)
    query = "SELECT contact_id, changed_at FROM consent_history WHERE change = 'opted_out' AND scope = 'all'"
    for row in select_in(tx, f"{query} AND contact_id IN :ids", sorted({row.contact_id for row in ended})):
        said[row.contact_id].append(int(row.changed_at))
    return {
        row.id: min((at for at in said[row.contact_id] if at >= row.entered_at), default=int(row.left_at))
        for row in ended
    }


def _answerable(campaigns: Mapping[str, Campaign], participant: Any) -> MessageStep | WaitForStep | None:
    campaign = campaigns.get(participant.campaign)
    step = campaign.steps.get(participant.step) if campaign is not None else None
    if isinstance(step, WaitForStep):
        return step
    return step if isinstance(step, MessageStep) and step.on_reply is not None else None


def _waits(step: MessageStep | WaitForStep, participant: Any, sent: Sequence[Any]) -> Iterator[Waiting]:
    """What a participant waits for, of what they were sent: answers to the message of their step, or to the newest ones
    of the steps that their `wait_for` names."""
    if isinstance(step, MessageStep):
        here = [row for row in sent if (row.step, row.visit) == (participant.step, participant.visit)]
        if here and step.on_reply is not None:
            counts = max(here, key=lambda row: (row.state in _ARRIVED, row.copy))
            since = counts.accepted_at or max(row.attempted_at for row in here)
            yield _wait(here, since, step.on_reply.within, None)
        return
    asked: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for branch in step.branches:
        if branch.kind == "reply" and branch.step is not None:
            asked[branch.step].append(branch.answers)
    for name, answers in asked.items():
        there = [row for row in sent if row.step == name]
        newest = [row for row in there if row.visit == max(row.visit for row in there)]
        if newest:
            yield _wait(newest, participant.arrived_at, step.within, tuple(answers))


def _wait(rows: Sequence[Any], since: int, within: timedelta, asked: tuple[tuple[str, ...], ...] | None) -> Waiting:
    until = since + within // timedelta(microseconds=1)
    messages = tuple(_sent(row) for row in rows if row.state not in _NEVER_CAME)
    return Waiting(_sent(rows[0]).passage, messages, until, asked)


def _sent(row: Any) -> Sent:
    return Sent(row.id, row.participant_id, row.campaign, row.step, row.visit, row.sender, row.attempted_at or 0)


def _answer(row: Any, message: Sent | None = None) -> Answer:
    return Answer(
        row.wamid,
        row.contact_id,
        row.number,
        row.kind,
        row.payload,
        row.text,
        row.quoted,
        row.replied_at,
        row.received_at,
        row.reply_id,
        message,
        bool(row.late) if message is not None else None,
    )


# -- writing -----------------------------------------------------------------------------------------------------------


def _about(message: Sent) -> tuple[Any, ...]:
    """The message, its passage and place; one that a person sent by hand has only itself."""
    if not message.campaign:
        return message.id, None, None, None
    return message.id, message.participant_id, message.campaign, message.step


def _write(tx: sa.Connection, found: Iterable[tuple[Answer, Sent | None, bool]]) -> None:
    made: list[tuple[Any, ...]] = []
    changed: list[tuple[Any, ...]] = []
    for one, message, late in found:
        about = _about(message) if message else (None,) * 4
        at = max(one.replied_at, message.attempted_at) if message else one.replied_at
        if one.id is None:
            row = (one.wamid, one.contact_id, one.sender, one.kind, one.payload, one.text, one.quoted, one.received_at)
            made.append((*about, late, at, *row))
        elif (message, late) != (one.message, one.late):
            changed.append((*about, late, at, one.id))
    if made:
        tx.exec_driver_sql(_INSERT, made)
    if changed:
        tx.exec_driver_sql(_UPDATE, changed)
    rows = select_in(tx, "SELECT id FROM reply WHERE wamid IN :ids", [row[6] for row in made])
    mark_dirty(tx, "reply", [int(row.id) for row in rows] + [int(row[-1]) for row in changed])
