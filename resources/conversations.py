"""Conversations in the ledger: with whom, newest first, whose word was the last, and what somebody has not read yet.

What belongs here: the list of conversations, how far a user has read, and the marks by which a change is noticed. What
one conversation holds is `thread`. Times are microseconds since 1970.

A conversation stands where its newest message or reply stands. Both are walked by index from the newest down (messages
campaign by campaign, because so their index is), and an entry that is not its contact's newest is passed over. No page
looks at more than `LOOKED` entries, whatever is asked for: one that finds little says where to go on.
"""

import heapq
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from resources.ledger import US
from resources.tables import user_seen

WINDOW = 24 * 3600 * US
"""How long free text may be sent after a contact's last message (Meta's customer service window)."""
LOOKED = 5_000
CHUNK = 200

_MESSAGES = """
SELECT attempted_at AS at, id, contact_id FROM message
WHERE campaign = :campaign AND attempted_at IS NOT NULL AND (attempted_at, id) < (:at, :id)
  AND contact_id NOT LIKE 'forgotten:%'
ORDER BY attempted_at DESC, id DESC LIMIT :chunk
"""
_REPLIES = """
SELECT replied_at AS at, id, contact_id FROM reply
WHERE replied_at > :since AND (replied_at, id) < (:at, :id)
  AND contact_id NOT LIKE 'forgotten:%'
ORDER BY replied_at DESC, id DESC LIMIT :chunk
"""
# A `+` keeps the planner from an index by time or campaign: a contact's own rows are few.
_HEADS = """
SELECT p.value AS contact_id, m.id AS message_id, m.attempted_at AS message_at, r.id AS reply_id,
  r.replied_at AS reply_at, w.id AS word_id, w.replied_at AS word_at, c.id AS campaign_id,
  c.attempted_at AS campaign_at,
  EXISTS (SELECT 1 FROM suppression s WHERE s.subject = 'contact:' || p.value AND s.scope = 'all') AS refused
FROM json_each(:contacts) p
LEFT JOIN message m ON m.id = (SELECT o.id FROM message o WHERE o.contact_id = p.value
  AND o.attempted_at IS NOT NULL ORDER BY +o.attempted_at DESC, o.id DESC LIMIT 1)
LEFT JOIN reply r ON r.id = (SELECT o.id FROM reply o WHERE o.contact_id = p.value
  ORDER BY +o.replied_at DESC, o.id DESC LIMIT 1)
LEFT JOIN reply w ON w.id = (SELECT o.id FROM reply o WHERE o.contact_id = p.value AND o.kind <> 'reaction'
  ORDER BY +o.replied_at DESC, o.id DESC LIMIT 1)
LEFT JOIN message c ON c.id = (SELECT o.id FROM message o WHERE o.contact_id = p.value AND +o.campaign = :campaign
  AND o.attempted_at IS NOT NULL ORDER BY +o.attempted_at DESC, o.id DESC LIMIT 1)
"""
_LAST = """
SELECT p.value ->> 0 AS contact_id, m.kind, m.template, m.language, m.state, m.phone, m.body_file,
  m.body_row, r.kind AS reply_kind, r.text, r.payload,
  (SELECT count(*) FROM reply u WHERE u.contact_id = p.value ->> 0 AND +u.received_at > coalesce(
    (SELECT s.seen_at FROM user_seen s WHERE s.user = :user AND s.contact_id = p.value ->> 0),
    (SELECT a.created_at FROM user a WHERE a.name = :user), 0)) AS unread
FROM json_each(:contacts) p
LEFT JOIN message m ON m.id = p.value ->> 1 LEFT JOIN reply r ON r.id = p.value ->> 2
"""
_STAMP = """
SELECT (SELECT coalesce(max(id), 0) FROM reply),
  (SELECT coalesce(max((SELECT max(m.attempted_at) FROM message m WHERE m.campaign = c.name
    AND m.attempted_at IS NOT NULL)), 0) FROM (SELECT name FROM campaign UNION ALL SELECT '') c),
  (SELECT count(*) FROM message WHERE state IN ('attempted', 'unknown')),
  (SELECT coalesce(sum("offset"), 0) FROM landing_file WHERE kind = 'webhooks')
"""
_STAMPS = """
SELECT p.value,
  (SELECT count(*) || '.' || count(m.attempted_at) || '.' || count(m.accepted_at) || '.' || count(m.sent_at) || '.'
    || count(m.delivered_at) || '.' || count(m.read_at) || '.' || count(m.failed_at) || '.'
    || count(nullif(m.state, 'unknown')) || '.' || count(nullif(m.state, 'held'))
    FROM message m WHERE m.contact_id = p.value),
  (SELECT count(*) || '.' || count(r.message_id) FROM reply r WHERE r.contact_id = p.value),
  (SELECT count(*) FROM skip s WHERE s.contact_id = p.value),
  (SELECT count(*) FROM click k WHERE k.contact_id = p.value)
FROM json_each(?) p
"""

Place = tuple[int, int, int]
"""Where an entry stands in the order: its time, 0 for a message and 1 for a reply, its id."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which conversations: those of `contacts` (None: all), in a `campaign`, `open` (the contact wrote within 24 h),
    `waiting` (the last word is theirs, and they may be answered); those after `before`. `user` is who reads."""

    user: str
    campaign: str | None = None
    open: bool = False
    waiting: bool = False
    contacts: Sequence[str] | None = None
    before: Place | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation as the list has it. `last` is its last message or reply: `theirs` says which. `said_at` is when
    the contact last wrote, `unread` how many of theirs the user has not seen. `refused`: they want nothing any more."""

    contact_id: str
    at: int
    theirs: bool
    waiting: bool
    said_at: int | None
    unread: int
    refused: bool
    last: Any


@dataclass(frozen=True, slots=True)
class Conversations:
    """One page of them. `after`: where the next page begins (None: this is the end)."""

    rows: tuple[Conversation, ...]
    after: Place | None


def conversations(tx: sa.Connection, asked: Asked, now: int, limit: int = 40) -> Conversations:
    """A page of conversations, newest first. `open` and `waiting` are ordered by what the contact said last, a
    campaign's by what it last sent."""
    found: list[tuple[Place, Any]] = []
    entries = _of_contacts(tx, asked, now) if asked.contacts is not None else _walk(tx, asked, now)
    looked, after = 0, None
    while part := list(islice(entries, CHUNK)):
        heads = {row.contact_id: row for row in _heads(tx, [contact for _, contact in part], asked.campaign)}
        for place, contact in part:
            if _place(heads[contact], asked, now) == place:
                found.append((place, heads[contact]))
                if len(found) > limit:
                    return _page(tx, asked, found[:limit], found[limit - 1][0])
            looked, after = looked + 1, place
        if looked >= LOOKED:
            return _page(tx, asked, found, after)
    return _page(tx, asked, found, None)


def note_seen(tx: sa.Connection, user: str, contact_id: str) -> None:
    """Write down that a user has read all that a contact has said."""
    newest = "SELECT max(received_at) FROM reply WHERE contact_id = ?"
    seen_at = tx.exec_driver_sql(newest, (contact_id,)).scalar()
    if seen_at is None:
        return
    statement = insert(user_seen).values(user=user, contact_id=contact_id, seen_at=seen_at)
    tx.execute(
        statement.on_conflict_do_update(
            index_elements=["user", "contact_id"],
            set_={"seen_at": sa.func.max(statement.excluded.seen_at, user_seen.c.seen_at)},
        )
    )


def unread(tx: sa.Connection, user: str, contact_id: str) -> int:
    """How many of a contact's messages a user has not seen."""
    keys = json.dumps([[contact_id, None, None]])
    return int(tx.execute(sa.text(_LAST), {"user": user, "contacts": keys}).one().unread)


def stamps(tx: sa.Connection, contacts: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Marks that change when something does: of the list (the newest reply, and after a dot how far was sent, how many
    are in flight, and how far Meta's reports were read), and of each of these conversations."""
    reply, *sent = tx.exec_driver_sql(_STAMP).one()
    rows = tx.exec_driver_sql(_STAMPS, (json.dumps(list(contacts)),)).all() if contacts else []
    return f"{reply}.{'-'.join(map(str, sent))}", {row[0]: "-".join(str(one) for one in row[1:]) for row in rows}


def campaigns_sent(tx: sa.Connection) -> list[str]:
    """The names of the campaigns that there ever were."""
    return [row.name for row in tx.exec_driver_sql("SELECT name FROM campaign ORDER BY name")]


# the walk


def _walk(tx: sa.Connection, asked: Asked, now: int) -> Iterator[tuple[Place, str]]:
    """Entries from the newest down: (place, contact)."""
    since = now - WINDOW if asked.open else -1
    if asked.open or asked.waiting:
        return _stream(tx, _REPLIES, 1, asked.before, since=since)
    names = [asked.campaign] if asked.campaign is not None else ["", *campaigns_sent(tx)]
    streams = [_stream(tx, _MESSAGES, 0, asked.before, campaign=name) for name in names]
    if asked.campaign is None:
        streams.append(_stream(tx, _REPLIES, 1, asked.before, since=since))
    return heapq.merge(*streams, key=lambda entry: entry[0], reverse=True)


def _stream(
    tx: sa.Connection, query: str, rank: int, before: Place | None, **params: object
) -> Iterator[tuple[Place, str]]:
    at, id = _below(before, rank)
    chunk, statement = 50, sa.text(query)
    while True:
        rows = tx.execute(statement, {**params, "at": at, "id": id, "chunk": chunk}).all()
        for row in rows:
            yield (row.at, rank, row.id), row.contact_id
        if len(rows) < chunk:
            return
        at, id, chunk = rows[-1].at, rows[-1].id, 2 * CHUNK


def _below(before: Place | None, rank: int) -> tuple[int, int]:
    """The (time, id) below which the entries of one kind come after a place."""
    if before is None:
        return 2**62, 0
    at, other, id = before
    return (at, id) if rank == other else (at, 2**62) if rank < other else (at, -1)


def _of_contacts(tx: sa.Connection, asked: Asked, now: int) -> Iterator[tuple[Place, str]]:
    """Where each of these contacts stands, in order."""
    places = []
    for row in _heads(tx, asked.contacts or (), asked.campaign):
        place = _place(row, asked, now)
        if place is not None and (asked.before is None or place < asked.before):
            places.append((place, row.contact_id))
    return iter(sorted(places, reverse=True))


def _place(head: Any, asked: Asked, now: int) -> Place | None:
    """Where a contact's conversation stands in what is asked for; None: it is not in it."""
    message = (head.message_at, 0, head.message_id) if head.message_id is not None else None
    reply = (head.reply_at, 1, head.reply_id) if head.reply_id is not None else None
    word = (head.word_at, 1, head.word_id) if head.word_id is not None else None
    if asked.campaign is not None and head.campaign_id is None:
        return None
    if asked.open and (reply is None or reply[0] <= now - WINDOW):
        return None
    if asked.waiting:
        return word if word is not None and not head.refused and (message is None or word > message) else None
    if asked.open:
        return reply
    if asked.campaign is not None:
        return head.campaign_at, 0, head.campaign_id
    return max((one for one in (message, reply) if one is not None), default=None)


def _heads(tx: sa.Connection, contacts: Sequence[str], campaign: str | None) -> Sequence[Any]:
    listed = json.dumps(list(dict.fromkeys(contacts)))
    return tx.execute(sa.text(_HEADS), {"contacts": listed, "campaign": campaign}).all()


def _page(tx: sa.Connection, asked: Asked, found: list[tuple[Place, Any]], after: Place | None) -> Conversations:
    keys = []
    for _, head in found:
        theirs = _is_theirs(head)
        keys.append([head.contact_id, None if theirs else head.message_id, head.reply_id if theirs else None])
    values = {"user": asked.user, "contacts": json.dumps(keys)}
    last = {row.contact_id: row for row in tx.execute(sa.text(_LAST), values)} if keys else {}
    rows = []
    for _, head in found:
        theirs, one = _is_theirs(head), last[head.contact_id]
        word = head.word_at is not None and (head.message_at is None or head.word_at >= head.message_at)
        at, refused = head.reply_at if theirs else head.message_at, bool(head.refused)
        waiting = word and not refused
        rows.append(Conversation(head.contact_id, at, theirs, waiting, head.reply_at, one.unread, refused, one))
    return Conversations(tuple(rows), after)


def _is_theirs(head: Any) -> bool:
    return head.reply_at is not None and (head.message_at is None or head.reply_at >= head.message_at)
