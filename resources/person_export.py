"""All that is known of one person, as one document that they can read.

What belongs here: reading it from the contacts, the ledger and the lake. Times are ISO 8601 with an offset. Hashes,
cursors and prices are about the installation, not about them, and are left out.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any

import polars as pl
import sqlalchemy as sa

from journey.clock import from_us, zone
from resources.consents import contact_subject, phone_subject
from resources.home import Home
from resources.ledger import select_in
from resources.person import Known
from resources.tables import (
    answer,
    click,
    consent_history,
    goal,
    link,
    message,
    participant,
    quarantine,
    reply,
    request,
    skip,
    suppression,
    unreachable,
    waiting_entry,
)

_LEFT_OUT = frozenset(
    {
        "uid", "share", "version", "copy", "priority", "not_before", "tries", "pair_tries", "lane", "attempted_wall",
        "body_file", "body_row", "counted", "market", "price", "currency", "price_source", "coupon_id", "event_key",
        "file_tags", "gone", "batch", "since", "wake_at", "quiet_at", "window_until", "file", "digest",
    }
)  # fmt: skip


def document(home: Home, contact_id: str, known: Known) -> dict[str, Any]:
    """Everything of a person: one JSON document."""
    timezone = zone(home.project.settings.timezone)

    def told(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [_plain(row, timezone) for row in rows]

    ids, person = sorted(known.person.ids), known.person
    contacts = home.contacts.frame(ids=ids).to_dicts()
    with home.ledger.read() as tx:
        rows = {
            table.name: _rows(tx, table, ids)
            for table in (consent_history, participant, message, skip, reply, click, goal, waiting_entry, answer)
        }
        codes = select_in(tx, _COUPONS, list(known.messages))
        links = tx.execute(sa.select(link).where(link.c.message_id.in_(known.messages))).all()
        subjects = [*map(contact_subject, ids), *map(phone_subject, sorted(person.phones))]
        refused = tx.execute(sa.select(suppression).where(suppression.c.subject.in_(subjects))).all()
        dead = tx.execute(sa.select(unreachable).where(unreachable.c.phone.in_(person.phones))).all()
        aside = [row for row in tx.execute(sa.select(quarantine)) if person.is_named_in(row.raw.encode())]
        asked = [row for row in tx.execute(sa.select(request)) if _named(row, known)]
    bodies = _bodies(home, rows["message"])
    wamids = known.person.wamids
    statuses = _of(home, "message_events", pl.col("message_id").is_in(list(known.messages)))
    return {
        "contact_id": contact_id,
        "exported_at": _time(home.clock(), timezone),
        "timezone": str(timezone),
        "known_as": {
            "ids": ids,
            "phones": sorted(person.phones),
            "whatsapp": sorted(person.whatsapp),
        },
        "contact": told(contacts),
        "consent": {"in_force": told(_dicts(refused)), "history": told(rows["consent_history"])},
        "unreachable": told(_dicts(dead)),
        "events": told(_of(home, "events", pl.col("contact_id").is_in(ids))),
        "entries": told(_of(home, "entries", pl.col("contact_id").is_in(ids))),
        "waiting_to_enter": told(rows["waiting_entry"]),
        "requests": [
            {"request_uuid": row.uuid, "campaign": row.campaign, "taken_at": _time(from_us(row.taken_at), timezone)}
            for row in asked
        ],
        "participations": told(rows["participant"]),
        "steps": told(_of(home, "participant_steps", pl.col("contact_id").is_in(ids))),
        "messages": told({**row, "body": bodies.get(row["id"])} for row in rows["message"]),
        "statuses": told(statuses),
        "skips": told(rows["skip"]),
        "replies": told(rows["reply"]),
        "links": told(_dicts(links)),
        "clicks": told(rows["click"]),
        "coupons": told(_dicts(codes)),
        "goals": told(rows["goal"]),
        "inbox_answers": told(rows["answer"]),
        "quarantine": told(_dicts(aside)),
        "message_ids_at_meta": sorted(wamids),
    }


_COUPONS = (
    "SELECT pool, code, expires_at, state, message_id, claimed_at FROM coupon"
    " WHERE id IN (SELECT coupon_id FROM message WHERE id IN :ids)"
)


def _rows(tx: sa.Connection, table: sa.Table, ids: Sequence[str]) -> list[dict[str, Any]]:
    query = sa.select(table).where(table.c.contact_id.in_(ids)).order_by(table.c.id)
    return [dict(row._mapping) for row in tx.execute(query)]


def _dicts(rows: Iterable[sa.Row[Any]]) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in rows]


def _of(home: Home, name: str, theirs: pl.Expr) -> list[dict[str, Any]]:
    if not home.lake.files(name):
        return []
    return home.lake.scan(name).filter(theirs).collect(engine="streaming").to_dicts()


def _bodies(home: Home, messages: Sequence[Mapping[str, Any]]) -> dict[int, str | None]:
    found: dict[int, str | None] = {}
    for row in messages:
        if row["body_file"] is not None:
            try:
                found[row["id"]] = home.bodies.get(row["body_file"], row["body_row"])
            except (LookupError, OSError, sa.exc.NoResultFound, pl.exceptions.PolarsError):
                found[row["id"]] = None  # its file was lost
    return found


def _named(row: Any, known: Known) -> bool:
    return any(known.person.is_id(one) for one in json.loads(row.people))


# -- how it reads ----------------------------------------------------------------------------------------------------


def _plain(row: Mapping[str, Any], timezone: tzinfo) -> dict[str, Any]:
    """A row as a person reads it: without what is the installation's, times as times, JSON as what it says."""
    told: dict[str, Any] = {}
    for name, value in row.items():
        if name in _LEFT_OUT or value is None:
            continue
        if isinstance(value, int) and (name.endswith("_at") or name == "until"):
            value = from_us(value)
        told[name] = _time(value, timezone) if isinstance(value, datetime) else _json(name, value)
    return told


def _json(name: str, value: Any) -> Any:
    if name in ("body", "attributes", "properties", "content") and isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _time(at: datetime, timezone: tzinfo) -> str:
    return at.astimezone(timezone).isoformat()
