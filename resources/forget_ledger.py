"""The ledger without one person: rows that are counted stay and say nothing of them, the others go.

What belongs here: which tables hold what of a person, and what is left of it. Everything is found by their ids, so
doing it again (or the rest of it, after a crash) changes only what is still theirs. An opt-out stays as a keyed hash.
"""

import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import polars as pl
import sqlalchemy as sa

from journey.person import Person
from resources.consents import contact_subject, phone_subject
from resources.forget_lake import Traces
from resources.forgotten import disguised, remember
from resources.ledger import BULK, Lease, Ledger, chunks, mark_dirty, select_in
from resources.tables import (
    answer,
    click,
    consent_history,
    coupon,
    early_status,
    event_cursor,
    goal,
    link,
    message,
    met,
    participant,
    quarantine,
    reached,
    reply,
    skip,
    suppression,
    trouble,
    unreachable,
    user_seen,
    waiting_entry,
)

UNSETTLED = ("attempted", "unknown")
"""States of messages that are still known by their `uid` alone."""

_REPEAT = "DELETE FROM idempotency WHERE request_uuid = (SELECT uuid FROM request WHERE id = ?)"


@dataclass(frozen=True, slots=True)
class Eraser:
    """One person, and the ledger that they are to be taken out of."""

    ledger: Ledger
    lease: Lease | None
    person: Person
    traces: Traces

    def erase(self, places: Collection[tuple[str, int]], requests: Collection[str]) -> None:
        """Take them out. `places`: lines of landing files that were theirs, whose quarantine goes too; `requests`:
        uuids of those that named them there."""
        ids = sorted(self.person.ids)
        for table, change in (
            (participant, self._participants),
            (message, self._messages),
            (reply, self._replies),
            (skip, self._skips),
            (click, self._events),
            (goal, self._events),
            (consent_history, self._history),
            (waiting_entry, self._waiting),
            (answer, self._answers),
        ):
            with self.ledger.read() as tx:
                found = [
                    int(row.id) for row in select_in(tx, f"SELECT id FROM {table.name} WHERE contact_id IN :ids", ids)
                ]
            self._in_parts(found, table, change)
        self._links_and_waits()
        self._opt_outs(ids)
        self._quarantine(places)
        self._mentions()
        self._repeats(sorted(requests))

    def _in_parts(
        self, rows: Sequence[int], table: sa.Table, change: Callable[[sa.Connection, sa.Table, list[int]], None]
    ) -> None:
        for part in chunks(len(rows)):
            some = list(rows[part])
            with self.ledger.write(self.lease) as tx:
                change(tx, table, some)
                mark_dirty(tx, table.name, some)

    # -- rows that are counted -----------------------------------------------------------------------------------------

    def _participants(self, tx: sa.Connection, _: sa.Table, ids: list[int]) -> None:
        """What tells passages apart must stay different: the passage's own number says no more than that."""
        tx.exec_driver_sql(
            "UPDATE participant SET contact_id = ?, key = 'forgotten:' || id, key_name = NULL, attributes = NULL,"
            " occurrence = CASE entry WHEN 'audience' THEN occurrence ELSE 'forgotten:' || id END WHERE id = ?",
            [(self.traces.label, number) for number in ids],
        )

    def _messages(self, tx: sa.Connection, _: sa.Table, ids: list[int]) -> None:
        """`uid` and `share` are made of the contact and the phone; a late status finds its message by the disguised
        wamid, one that has none yet by the `uid`."""
        coupons = select_in(tx, "SELECT coupon_id AS id FROM message WHERE coupon_id IS NOT NULL AND id IN :ids", ids)
        given = [int(row.id) for row in coupons]
        tx.execute(coupon.update().where(coupon.c.id.in_(given)).values(contact_id=self.traces.label, tag=None))
        mark_dirty(tx, coupon.name, given)
        rows = select_in(tx, "SELECT id, wamid, state, uid FROM message WHERE id IN :ids", ids)
        values = [
            (
                self.traces.label,
                row.uid if row.state in UNSETTLED and row.wamid is None else secrets.randbits(62),
                None if row.wamid is None else disguised(self.traces.key, row.wamid),
                row.id,
            )
            for row in rows
        ]
        tx.exec_driver_sql(
            "UPDATE message SET contact_id = ?, phone = '', share = 0, uid = ?, wamid = ?, body_file = NULL,"
            " body_row = NULL, error_title = CASE WHEN instr(error_title, ': ') > 0"
            " THEN substr(error_title, 1, instr(error_title, ': ') - 1) ELSE error_title END WHERE id = ?",
            values,  # Meta's words about an error may repeat what it was sent
        )
        tx.execute(link.delete().where(link.c.message_id.in_(ids)))

    def _replies(self, tx: sa.Connection, _: sa.Table, ids: list[int]) -> None:
        rows = select_in(tx, "SELECT id, wamid FROM reply WHERE id IN :ids", ids)
        tx.exec_driver_sql(
            "UPDATE reply SET contact_id = ?, wamid = ?, payload = NULL, text = NULL, quoted = NULL WHERE id = ?",
            [(self.traces.label, disguised(self.traces.key, row.wamid), row.id) for row in rows],
        )

    def _skips(self, tx: sa.Connection, table: sa.Table, ids: list[int]) -> None:
        tx.execute(table.update().where(table.c.id.in_(ids)).values(contact_id=self.traces.label, detail=None))

    def _events(self, tx: sa.Connection, table: sa.Table, ids: list[int]) -> None:
        tx.exec_driver_sql(
            f"UPDATE {table.name} SET contact_id = ?, event_id = 'forgotten:' || id WHERE id = ?",
            [(self.traces.label, number) for number in ids],
        )

    def _answers(self, tx: sa.Connection, table: sa.Table, ids: list[int]) -> None:
        values = {"contact_id": self.traces.label, "content": "{}"}
        tx.execute(table.update().where(table.c.id.in_(ids)).values(**values))

    # -- rows that go --------------------------------------------------------------------------------------------------

    def _history(self, tx: sa.Connection, table: sa.Table, ids: list[int]) -> None:
        tx.execute(table.delete().where(table.c.id.in_(ids)))

    def _waiting(self, tx: sa.Connection, table: sa.Table, ids: list[int]) -> None:
        tx.execute(table.delete().where(table.c.id.in_(ids)))

    def _links_and_waits(self) -> None:
        for start in range(0, len(self.traces.participants), BULK):
            some = list(self.traces.participants)[start : start + BULK]
            with self.ledger.write(self.lease) as tx:
                tx.execute(met.delete().where(met.c.participant_id.in_(some)))
        wamids = sorted(self.person.wamids)
        with self.ledger.write(self.lease) as tx:
            tx.execute(user_seen.delete().where(user_seen.c.contact_id.in_(self.person.ids)))
            for start in range(0, len(wamids), BULK):
                tx.execute(early_status.delete().where(early_status.c.wamid.in_(wamids[start : start + BULK])))
            for one in self.person.in_wamids:
                tx.execute(early_status.delete().where(early_status.c.wamid.contains(one, autoescape=True)))

    def _opt_outs(self, ids: Sequence[str]) -> None:
        phones = sorted(self.person.phones)
        with self.ledger.write(self.lease) as tx:
            subjects = [*map(contact_subject, ids), *map(phone_subject, phones)]
            rows = tx.execute(sa.select(suppression).where(suppression.c.subject.in_(subjects))).all()
            for row in rows:  # whichever of them is opted out: the person is
                remember(tx, self.traces.key, phones or sorted(self.person.whatsapp), row)
            tx.execute(suppression.delete().where(suppression.c.subject.in_(subjects)))
            tx.execute(unreachable.delete().where(unreachable.c.phone.in_(phones)))
            label = self.traces.label + ":" + sa.cast(reached.c.message_id, sa.Text)  # a place of the limit is taken
            tx.execute(reached.update().where(reached.c.phone.in_(phones)).values(phone=label))

    def _quarantine(self, places: Collection[tuple[str, int]]) -> None:
        columns = {"id": pl.Int64, "file": pl.String, "line": pl.Int64, "raw": pl.String}
        query = "SELECT id, file, line, raw FROM quarantine WHERE id > ? ORDER BY id LIMIT ?"
        gone: list[int] = []
        last = -1
        while (rows := self.ledger.frame(query, columns, (last, BULK))).height:  # a row may have 10,000 characters
            last = int(rows["id"][-1])
            gone += [
                number
                for number, file, line, raw in rows.iter_rows()
                if (file, line) in places or self.person.is_named_in(raw.encode("utf-8", "surrogatepass"))
            ]
        self._in_parts(gone, quarantine, self._history)

    # -- rows of others ------------------------------------------------------------------------------------------------

    def _mentions(self) -> None:
        """Requests that named them among others, and what events told of them to somebody else's passage."""
        people: list[tuple[str, str, int]] = []
        columns = {"id": pl.Int64, "people": pl.String, "attributes": pl.String}
        for number, named, attributes in self.ledger.frame(
            "SELECT id, people, attributes FROM request", columns
        ).iter_rows():
            if not self.person.anywhere.search(f"{named} {attributes}".encode("utf-8", "surrogatepass")):
                continue
            left = msgspec.json.encode([self._label(one) for one in msgspec.json.decode(named)]).decode()
            told = self.person.relabelled(attributes, self.traces.label)
            if (left, told) != (named, attributes):
                people.append((left, told, number))
        for part in chunks(len(people)):
            with self.ledger.write(self.lease) as tx:
                tx.exec_driver_sql("UPDATE request SET people = ?, attributes = ? WHERE id = ?", people[part])
                tx.exec_driver_sql(_REPEAT, [(number,) for *_, number in people[part]])
        with self.ledger.write(self.lease) as tx:
            for row in tx.execute(sa.select(trouble.c.campaign, trouble.c.error)).all():
                error = self.person.renamed(row.error, self.traces.label)
                tx.execute(trouble.update().where(trouble.c.campaign == row.campaign).values(error=error))
        words = [*self.person.words, *(f'"{one}"' for one in sorted(self.person.ids) if self.person.lists)]
        for table in (participant, waiting_entry):
            told_of = self._telling(table, words)
            for part in chunks(len(told_of)):
                with self.ledger.write(self.lease) as tx:
                    tx.exec_driver_sql(f"UPDATE {table.name} SET attributes = ? WHERE id = ?", told_of[part])
                    mark_dirty(tx, table.name, [number for _, number in told_of[part]])

    def _repeats(self, uuids: Sequence[str]) -> None:
        """What keys of the API were used for is kept as a hash, which trying every phone would undo."""
        for part in chunks(len(uuids)):
            with self.ledger.write(self.lease) as tx:
                tx.exec_driver_sql("DELETE FROM idempotency WHERE request_uuid = ?", [(one,) for one in uuids[part]])

    def _telling(self, table: sa.Table, words: Sequence[str]) -> list[tuple[str, int]]:
        some = sa.or_(*(table.c.attributes.contains(one, autoescape=True) for one in words)) if words else sa.false()
        with self.ledger.read() as tx:
            rows = tx.execute(sa.select(table.c.id, table.c.attributes).where(some)).all()
        told = [
            (self.person.relabelled(row.attributes, self.traces.label), int(row.id), row.attributes) for row in rows
        ]
        return [(text, number) for text, number, before in told if text != before]

    def _label(self, one: Any) -> Any:
        return self.traces.label if self.person.is_id(one) else one


def keep_places(tx: sa.Connection, before: pl.DataFrame, after: pl.DataFrame, entries: pl.DataFrame) -> None:
    """Events went that a trigger had dealt with already, in a batch that it has not finished: it counts how far it is,
    and must not pass over others. `entries`: who was met for these events (campaign, event_id)."""
    gone = before.join(after.select("event_id"), on="event_id", how="anti")
    for row in tx.execute(sa.select(event_cursor).where(event_cursor.c.position > 0)).all():
        parts = row.name.split(":")
        if len(parts) != 3:
            continue
        mine = gone.filter(pl.col("batch") > row.batch)
        met_before = entries.filter(pl.col("campaign") == parts[1]).join(mine, on="event_id", how="semi").height
        position = max(0, row.position - met_before)
        tx.execute(event_cursor.update().where(event_cursor.c.name == row.name).values(position=position))
