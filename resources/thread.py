"""One conversation in the ledger: messages with what became of them, replies, and the skips in between.

What belongs here: reading it, a page at a time from the newest back. Times are microseconds since 1970. Which
conversations there are is `conversations`.

A message stands where it was attempted, one that waits where it was planned. A message that was planned and then
skipped is its skip only. Reactions are with the message that they are of; one of an unknown message stands alone.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from resources.consents import contact_subject, phone_subject
from resources.ledger import select_in
from resources.tables import suppression

KINDS = ("skip", "message", "reply")
"""The kinds of entries, in their order at one moment."""

Place = tuple[int, int, int]
"""Where an entry stands: its time, its kind's place in `KINDS`, its id."""

# `+` keeps the planner from an index by time: a contact's own rows are few.
_ENTRIES = {
    "skip": (
        "SELECT id, skipped_at AS at, campaign, step, reason, detail,"
        " CASE WHEN campaign = '' THEN (SELECT a.author FROM answer a WHERE a.uuid = skip.step) END AS author FROM skip"
        " WHERE contact_id = :contact AND (+skipped_at, id) < (:at, :id) ORDER BY +skipped_at DESC, id DESC LIMIT :most"
    ),
    "message": (
        "SELECT id, coalesce(attempted_at, planned_at) AS at, campaign, version, step, sender, kind, template,"
        " language, state, held_why, due_at, attempted_at, accepted_at, sent_at, delivered_at, read_at, failed_at,"
        " error_code, error_title, wamid, body_file, body_row, author, phone FROM message"
        " WHERE contact_id = :contact AND +state <> 'skipped'"
        " AND (coalesce(attempted_at, planned_at), id) < (:at, :id)"
        " ORDER BY coalesce(attempted_at, planned_at) DESC, id DESC LIMIT :most"
    ),
    "reply": (
        "SELECT id, replied_at AS at, campaign, step, sender, kind, payload, text, quoted, late, message_id, wamid"
        " FROM reply r WHERE contact_id = :contact AND (+replied_at, id) < (:at, :id) AND (kind <> 'reaction' OR"
        " (NOT EXISTS (SELECT 1 FROM message m WHERE m.wamid = r.quoted)"
        " AND NOT EXISTS (SELECT 1 FROM reply o WHERE o.wamid = r.quoted)))"
        " ORDER BY +replied_at DESC, id DESC LIMIT :most"
    ),
}
_REACTIONS = (
    "SELECT quoted, text FROM reply WHERE contact_id = :contact AND kind = 'reaction' AND quoted IS NOT NULL"
    " ORDER BY +replied_at, id"
)
_PRESSED = "SELECT message_id, payload, text FROM reply WHERE message_id IN :ids AND kind IN ('button', 'list')"
_TAPPED = "SELECT message_id, button, count(*) AS taps FROM click WHERE message_id IN :ids GROUP BY 1, 2"
_LINKS = "SELECT message_id, button, url FROM link WHERE message_id IN :ids"
_SAID = "SELECT sender, max(replied_at) AS at FROM reply WHERE contact_id = :contact GROUP BY sender ORDER BY 2 DESC"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: `kind` of `KINDS`, the columns of its row, and what belongs to it: `reaction` (an emoji), and of a
    message the texts and payloads that were `pressed`, `taps` and addresses (`links`) by the label of a button."""

    kind: str
    row: Any
    reaction: str | None = None
    pressed: frozenset[str] = frozenset()
    taps: Mapping[str, int] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)

    @property
    def place(self) -> Place:
        return self.row.at, KINDS.index(self.kind), self.row.id


@dataclass(frozen=True, slots=True)
class Thread:
    """Entries, oldest first. `before`: where older ones begin (None: there are none). `said_at`: when the contact last
    wrote to each sender. `refused`: the scope in force for the contact or the phone, and its cause and time."""

    entries: tuple[Entry, ...]
    before: Place | None
    said_at: Mapping[str | None, int]
    refused: tuple[str, str, int] | None


def thread(
    tx: sa.Connection, contact_id: str, phone: str | None, before: Place | None = None, limit: int = 50
) -> Thread:
    """The newest entries of a conversation, or those before a place."""
    found: list[tuple[Place, str, Any]] = []
    for rank, (kind, query) in enumerate(_ENTRIES.items()):
        at, id = _below(before, rank)
        values = {"contact": contact_id, "at": at, "id": id, "most": limit + 1}
        found += [((row.at, rank, row.id), kind, row) for row in tx.execute(sa.text(query), values)]
    found.sort(key=lambda one: one[0], reverse=True)
    page = found[:limit]
    more = _belongings(tx, contact_id, [row.id for _, kind, row in page if kind == "message"])
    said = {row.sender: row.at for row in tx.execute(sa.text(_SAID), {"contact": contact_id})}
    entries = tuple(more.of(kind, row) for _, kind, row in reversed(page))
    return Thread(entries, page[-1][0] if len(found) > limit else None, said, _refused(tx, contact_id, phone))


@dataclass(frozen=True, slots=True)
class _More:
    reactions: Mapping[str, str | None]
    pressed: Mapping[int, set[str]]
    taps: Mapping[int, dict[str, int]]
    links: Mapping[int, dict[str, str]]

    def of(self, kind: str, row: Any) -> Entry:
        if kind == "skip":
            return Entry(kind, row)
        reaction = self.reactions.get(row.wamid)
        if kind == "reply":
            return Entry(kind, row, reaction)
        pressed = frozenset(self.pressed.get(row.id, ()))
        return Entry(kind, row, reaction, pressed, self.taps.get(row.id, {}), self.links.get(row.id, {}))


def _belongings(tx: sa.Connection, contact_id: str, ids: Sequence[int]) -> _More:
    reactions = {row.quoted: row.text for row in tx.execute(sa.text(_REACTIONS), {"contact": contact_id})}
    pressed: dict[int, set[str]] = defaultdict(set)
    for row in select_in(tx, _PRESSED, ids):
        pressed[row.message_id] |= {one for one in (row.text, row.payload) if one}
    taps: dict[int, dict[str, int]] = defaultdict(dict)
    for row in select_in(tx, _TAPPED, ids):
        taps[row.message_id][row.button] = row.taps
    links: dict[int, dict[str, str]] = defaultdict(dict)
    for row in select_in(tx, _LINKS, ids):
        links[row.message_id][row.button] = row.url
    return _More(reactions, pressed, taps, links)


def _refused(tx: sa.Connection, contact_id: str, phone: str | None) -> tuple[str, str, int] | None:
    """What is in force against messaging them; the strongest of contact and phone."""
    subjects = [contact_subject(contact_id), *([phone_subject(phone)] if phone else [])]
    rows = tx.execute(sa.select(suppression).where(suppression.c.subject.in_(subjects))).all()
    order = ("file", "marketing", "all")
    known = [row for row in rows if row.scope in order]
    strongest = max(known, key=lambda row: order.index(row.scope), default=None)
    return (strongest.scope, strongest.cause, strongest.changed_at) if strongest is not None else None


def _below(before: Place | None, rank: int) -> tuple[int, int]:
    if before is None:
        return 2**62, 0
    at, other, id = before
    return (at, id) if rank == other else (at, 2**62) if rank < other else (at, -1)
