"""Consent in the ledger: who may not be messaged now, and every change that led there.

What belongs here: writing `suppression` and `consent_history`. What a word or a file does to a contact's consent is
decided in `journey.consent`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from journey.clock import from_us
from journey.consent import CAUSE_FILE, CHANGES, STATE, Consent, by_person, changes_frame
from journey.contact_rows import CONTACT
from journey.words import Scope
from resources.contacts import Contacts
from resources.ledger import BULK, Lease, Ledger, chunks, select_in
from resources.tables import consent_history, suppression

_RANK = {str(Scope.file): 1, str(Scope.marketing): 2, str(Scope.all): 3}


def contact_subject(contact_id: str) -> str:
    """The subject of `suppression` that is a contact."""
    return f"contact:{contact_id}"


def phone_subject(phone: str) -> str:
    """The subject of `suppression` that is a phone, whoever has it."""
    return f"phone:{phone}"


def apply_consent(contacts: Contacts, lease: Lease | None, changes: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Puts what people said themselves (CHANGES: stop and start words, Meta's preference, error 131050) into force: the
    contacts, `suppression` and the history, in one transaction. Gives the changes that changed something.

    They count in the order of `changed_at`, never later than `now`; what is in force already, or older than what was
    said since, changes nothing. Unknown contacts are suppressed all the same.
    """
    changes = changes.with_columns(pl.min_horizontal("changed_at", pl.lit(now, CHANGES["changed_at"])))
    changes = changes.sort("changed_at", maintain_order=True)
    known = contacts.find(ids=changes["contact_id"])
    states = {row[0]: Consent(*row[1:]) for row in known.select("contact_id", *STATE).iter_rows()}
    resumed = _resumed(contacts.ledger, changes)
    touched: set[str] = set()
    effective: list[dict[str, Any]] = []
    for row in changes.iter_rows(named=True):
        who, change, scope, at = row["contact_id"], row["change"], Scope(row["scope"]), row["changed_at"]
        state = states.get(who, Consent())
        after, meant = by_person(state, change, scope, row["cause"], at, resumed.get(who))
        if change == "opted_in" and scope is Scope.marketing and (who not in resumed or at > resumed[who]):
            resumed[who] = at
            meant = meant or str(scope)  # remembered, in case the stop that it undoes comes later
        if meant is not None:
            states[who] = after
            touched.add(who)
            effective.append({**row, "scope": meant})
    found = changes_frame(effective)
    rows = [{"contact_id": one, **asdict(states[one])} for one in sorted(touched)]
    new = pl.DataFrame(rows, schema={name: CONTACT[name] for name in ("contact_id", *STATE)})
    delta = contacts.put(known.drop(STATE).join(new, on="contact_id", how="inner"), contacts.types())
    bulk = found.height > BULK
    if bulk:
        write_changes_in_bulk(contacts.ledger, lease, found)
    with contacts.ledger.write(lease) as tx:
        if delta is not None:
            contacts.lake.register(tx, delta)
        write_changes(tx, found.clear() if bulk else found)
    return found


def _resumed(ledger: Ledger, changes: pl.DataFrame) -> dict[str, datetime]:
    """When each of these people last resumed marketing."""
    ids = changes.filter(scope=str(Scope.marketing))["contact_id"].unique().to_list()
    newest = (
        "SELECT contact_id, max(changed_at) AS at FROM consent_history WHERE contact_id IN :ids"
        " AND change = 'opted_in' AND scope = 'marketing' AND cause <> 'file' GROUP BY 1"
    )
    with ledger.read() as tx:
        return {row.contact_id: from_us(row.at) for row in select_in(tx, newest, ids)}


def write_changes(tx: sa.Connection, changes: pl.DataFrame) -> None:
    """Puts changes of consent (CHANGES; at most 5,000) into force and into the history, in their order.

    Doing it again changes nothing: a change that is the newest of its contact already is not written twice.
    """
    rows = changes.with_columns(pl.col("changed_at").to_physical()).to_dicts()
    if not rows:
        return
    # Only the order of changes of one person matters: batches hold each subject once.
    for batch in _batches(rows):
        _suppress(tx, [row for row in batch if row["change"] == "opted_out"])
        _lift(tx, [row for row in batch if row["change"] == "opted_in"])
    _remember(tx, rows)


def write_changes_in_bulk(ledger: Ledger, lease: Lease | None, changes: pl.DataFrame) -> None:
    """`write_changes` in transactions of their own, for more of them than one may hold. A crash before the contacts
    are written does no harm: the next try finds them changed still, and writes nothing twice here."""
    for part in chunks(changes.height):
        with ledger.write(lease) as tx:
            write_changes(tx, changes[part])


def suppressed(tx: sa.Connection, subjects: Iterable[str]) -> dict[str, str]:
    """The scope in force for each of these subjects that has one."""
    found: dict[str, str] = {}
    listed = list(subjects)
    for start in range(0, len(listed), 500):
        part = listed[start : start + 500]
        query = sa.select(suppression.c.subject, suppression.c.scope).where(suppression.c.subject.in_(part))
        found |= {row.subject: row.scope for row in tx.execute(query)}
    return found


def _batches(rows: Sequence[Mapping[str, Any]]) -> Iterable[list[Mapping[str, Any]]]:
    batch: list[Mapping[str, Any]] = []
    seen: set[str] = set()
    for row in rows:
        subjects = set(_subjects(row))
        if subjects & seen:
            yield batch
            batch, seen = [], set()
        batch.append(row)
        seen |= subjects
    yield batch


def _subjects(row: Mapping[str, Any]) -> list[str]:
    found = [contact_subject(row["contact_id"])]
    return [*found, phone_subject(row["phone"])] if row["phone"] is not None else found


def _suppress(tx: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    values = [
        {"subject": subject, "scope": row["scope"], "cause": row["cause"], "changed_at": row["changed_at"]}
        for row in rows
        for subject in _subjects(row)
    ]
    if not values:
        return
    statement = insert(suppression)
    new = statement.excluded
    rank = [sa.case(_RANK, value=scope, else_=0) for scope in (new.scope, suppression.c.scope)]
    tx.execute(
        statement.on_conflict_do_update(
            index_elements=["subject"],
            set_={"scope": new.scope, "cause": new.cause, "changed_at": new.changed_at},
            where=rank[0] > rank[1],  # what a person said himself is never made weaker by a file
        ),
        values,
    )


def _lift(tx: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    values = [
        {"b_subject": subject, "b_scope": scope}
        for row in rows
        for subject in _subjects(row)
        for scope in _lifted(row["scope"], row["cause"])
    ]
    if values:
        where = (suppression.c.subject == sa.bindparam("b_subject")) & (suppression.c.scope == sa.bindparam("b_scope"))
        tx.execute(suppression.delete().where(where), values)


def _lifted(scope: str, cause: str) -> tuple[str, ...]:
    if scope == str(Scope.all):
        return tuple(_RANK)
    return (scope, str(Scope.file)) if cause == CAUSE_FILE else (scope,)


def _remember(tx: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    table = consent_history.c
    ids = sorted({row["contact_id"] for row in rows})
    newest: dict[str, tuple[Any, ...]] = {}
    for start in range(0, len(ids), 500):
        part = ids[start : start + 500]
        last = sa.select(sa.func.max(table.id)).where(table.contact_id.in_(part)).group_by(table.contact_id)
        for one in tx.execute(sa.select(consent_history).where(table.id.in_(last))):
            newest[one.contact_id] = (one.change, one.scope, one.cause, one.source, one.wamid)
    fresh = []
    for row in rows:
        what = (row["change"], row["scope"], row["cause"], row["source"], row["wamid"])
        if newest.get(row["contact_id"]) != what:
            fresh.append(row)
            newest[row["contact_id"]] = what
    if fresh:
        tx.execute(consent_history.insert(), [dict(row) for row in fresh])
