"""A home with real stores for the tests of publishing, and short ways to put rows into them as the writers do."""

import contextlib
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa

from journey.contact_rows import contact_schema
from resources import tables
from resources.analyst_db import Published, connect, publish
from resources.contacts import Contacts
from resources.lake import Lake
from resources.ledger import US, Lease, Ledger, mark_dirty
from resources.project import Paths
from resources.settings import Settings

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def us(time: datetime | None) -> int | None:
    return None if time is None else int(time.timestamp()) * US + time.microsecond


class World:
    """A home with real stores, and short ways to put rows into them as the writers do."""

    def __init__(self, home: Path) -> None:
        self.paths, self.wall_now = Paths(home), 1_800_000_000.0
        self.ledger = Ledger.open(self.paths.ledger, self.wall)
        self.lake = Lake(self.paths.lake, self.ledger, self.wall)
        self.contacts = Contacts(self.lake, self.ledger)
        self.templates: dict[tuple[str, str], Any] = {}
        self.opted_in = "opted_in"
        self.timezone = "Europe/Paris"

    def wall(self) -> float:
        return self.wall_now

    def publish(self, lease: Lease | None = None, now: datetime = NOW, **options: Any) -> Published:
        settings = Settings.model_validate(
            {
                "region": "FR",
                "timezone": self.timezone,
                "senders": {"main": {"phone_number_id": "106540352242922", "waba_id": "102290129340398"}},
                "consent": {"default": self.opted_in},
            }
        )
        stores = (self.paths, self.ledger, self.lake, self.contacts, settings, self.templates)
        return publish(*stores, now=now, lease=lease, **options)

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        with connect(self.paths.analytics) as con:
            return con.execute(query).fetchall()

    def dicts(self, query: str) -> list[dict[str, Any]]:
        with connect(self.paths.analytics) as con:
            cursor = con.execute(query)
            names = [one[0] for one in cursor.description or []]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def insert(self, table: sa.Table, mark: bool = True, tx: sa.Connection | None = None, **values: Any) -> Any:
        """A row, with its mark in the same transaction (`tx`: in the caller's, which marks it itself)."""
        with contextlib.ExitStack() as stack:
            own = tx if tx is not None else stack.enter_context(self.ledger.write())
            key = own.execute(table.insert().values(**values)).inserted_primary_key
            assert key is not None
            if mark and tx is None:
                mark_dirty(own, table.name, [key[0]])
        return key[0]

    def participant(self, **values: Any) -> Any:
        given: dict[str, Any] = {
            "campaign": "autumn", "version": "0123456789ab", "contact_id": "u1", "key": str(random.getrandbits(60)),
            "entry": "audience", "occurrence": "run", "priority": 1, "entered_at": us(NOW), "since": us(NOW),
            "step": "offer", "visit": 1,
            "arrived_at": us(NOW), "state": "waiting",
        }  # fmt: skip
        return self.insert(tables.participant, **(given | values))

    def message(self, **values: Any) -> Any:
        given: dict[str, Any] = {
            "uid": random.getrandbits(40), "participant_id": random.getrandbits(40), "campaign": "autumn",
            "version": "0123456789ab", "step": "offer", "visit": 1, "contact_id": "u1", "phone": "+33612345678",
            "sender": "main", "share": 1, "kind": "template", "template": "autumn_offer", "language": "fr",
            "category": "MARKETING", "priority": 1, "state": "planned", "due_at": us(NOW), "expires_at": us(NOW),
            "planned_at": us(NOW),
        }  # fmt: skip
        return self.insert(tables.message, **(given | values))

    def skip(self, **values: Any) -> Any:
        given: dict[str, Any] = {
            "participant_id": random.getrandbits(40), "campaign": "autumn", "step": "offer", "visit": 1,
            "contact_id": "u1", "reason": "missing_variable", "detail": "first_name", "skipped_at": us(NOW),
        }  # fmt: skip
        return self.insert(tables.skip, **(given | values))

    def reply(self, **values: Any) -> Any:
        given: dict[str, Any] = {
            "wamid": f"wamid.{random.getrandbits(60)}", "campaign": "autumn", "step": "offer", "contact_id": "u1",
            "sender": "main", "kind": "text", "text": "Oui", "late": False, "replied_at": us(NOW),
            "received_at": us(NOW),
        }  # fmt: skip
        return self.insert(tables.reply, **(given | values))

    def click(self, mark: bool = False, **values: Any) -> Any:
        given: dict[str, Any] = {
            "event_id": f"e{random.getrandbits(60)}", "message_id": 1, "participant_id": 1, "campaign": "autumn",
            "step": "offer", "contact_id": "u1", "button": "Acheter", "clicked_at": us(NOW),
        }  # fmt: skip
        return self.insert(tables.click, mark, **(given | values))

    def goal(self, mark: bool = False, **values: Any) -> Any:
        given: dict[str, Any] = {
            "campaign": "autumn", "goal": "purchase", "participant_id": random.getrandbits(40), "contact_id": "u1",
            "arm": "treated", "event_id": "e1", "reached_at": us(NOW),
        }  # fmt: skip
        return self.insert(tables.goal, mark, **(given | values))

    def people(self, types: dict[str, Any], *rows: dict[str, Any]) -> None:
        frame = pl.DataFrame(list(rows), schema=contact_schema(types))
        file = self.contacts.put(frame, types)
        assert file is not None
        with self.ledger.write() as tx:
            self.contacts.settle(tx, types)
            self.lake.register(tx, file)

    def lake_rows(self, name: str, rows: list[dict[str, Any]], schema: dict[str, Any]) -> int:
        file = self.lake.put(name, pl.DataFrame(rows, schema=schema))
        with self.ledger.write() as tx:
            return self.lake.register(tx, file)

    def marks(self) -> set[tuple[str, int]]:
        with self.ledger.read() as tx:
            return {(row.name, row.bucket) for row in tx.execute(sa.select(tables.dirty))}

    def exported(self) -> dict[tuple[str, int], str]:
        with self.ledger.read() as tx:
            return {(row.name, row.bucket): row.path for row in tx.execute(sa.select(tables.export))}
