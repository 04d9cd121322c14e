"""What Meta says of templates by itself: what is planned with one that was paused or disabled waits, or is let go.

What belongs here: holds that begin and end by webhooks. News are applied in the order of their own times: when Meta
last spoke of a template is remembered, so that a pause that comes a second time, days after the template was approved
again, holds nothing. What Meta answers to a POST is `outbox`; asking for all templates is `template_cache`.
"""

from collections.abc import Iterable
from datetime import datetime

import polars as pl
import sqlalchemy as sa

from journey.clock import to_us
from resources.ledger import US, Lease, Ledger, select_in

WELL = ("APPROVED", "REINSTATED", "UNARCHIVED")
WARNED = "FLAGGED"
"""It may still be sent."""

_SPOKE = "template_news:"
_NOTE = "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
_LET_GO = "DELETE FROM template_hold WHERE name = ? AND language = ?"
_HOLD = """INSERT INTO template_hold (name, language, status, code, changed_at) VALUES (?, ?, ?, 0, ?)
  ON CONFLICT (name, language) DO UPDATE SET status = excluded.status, code = 0, changed_at = excluded.changed_at"""


def take_in_templates(ledger: Ledger, lease: Lease, said: pl.DataFrame, now: datetime) -> None:
    """What webhooks say of templates (`webhook_shapes.TEMPLATES`)."""
    known = pl.col("event").is_not_null() & pl.col("language").is_not_null()
    events = said.filter(pl.col("kind") == "status", known, pl.col("event") != WARNED)
    if events.is_empty():
        return
    at = pl.min_horizontal(pl.coalesce("changed_at", "received_at"), pl.lit(now, said.schema["changed_at"]))
    ordered = events.with_columns(at=at.to_physical()).sort("at", maintain_order=True)
    with ledger.write(lease) as tx:
        names = [_name(*key) for key in ordered.select("name", "language").unique().iter_rows()]
        found = select_in(tx, "SELECT name, value FROM meta WHERE name IN :ids", names)
        spoke = {str(row.name): _read(str(row.value)) for row in found}
        for name, language, event, when in ordered.select("name", "language", "event", "at").iter_rows():
            last, word = spoke.get(_name(name, language), (0, ""))
            if when < last or (when, event) == (last, word):
                continue
            spoke[_name(name, language)] = (when, event)
            if event in WELL:
                tx.exec_driver_sql(_LET_GO, (name, language))
            else:
                tx.exec_driver_sql(_HOLD, (name, language, event, when))
        tx.exec_driver_sql(_NOTE, [(name, f"{when} {event}") for name, (when, event) in spoke.items()])


def note_approved(tx: sa.Connection, approved: Iterable[tuple[str, str]], now: datetime) -> None:
    """Meta was asked, and has these templates (name, language) approved: what it said of them before is over."""
    keys = list(approved)
    if keys:
        tx.exec_driver_sql(_LET_GO, keys)
        at = to_us(now) // US * US  # Meta tells times in whole seconds
        tx.exec_driver_sql(_NOTE, [(_name(*key), f"{at} {WELL[0]}") for key in keys])


def _name(name: str, language: str) -> str:
    return f"{_SPOKE}{name}:{language}"


def _read(value: str) -> tuple[int, str]:
    when, _, event = value.partition(" ")
    return int(when), event
