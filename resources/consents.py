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
from journey.consent import CAUSE_FILE, CHANGES, STATE, Consent, Said, Word, by_person, changes_frame, word_of
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

    They count in the order of `changed_at`, never later than `now`, whenever they come: the history remembers when each
    person said each word, also where that changed nothing then. Unknown contacts are suppressed all the same.
    """
    changes = changes.with_columns(pl.min_horizontal("changed_at", pl.lit(now, CHANGES["changed_at"])))
    changes = changes.sort("changed_at", maintain_order=True)
    known = contacts.find(ids=changes["contact_id"])
    before = {row[0]: Consent(*row[1:]) for row in known.select("contact_id", *STATE).iter_rows()}
    states, told = dict(before), _told(contacts.ledger, changes["contact_id"].unique().to_list())
    said = {who: _last(words) for who, words in told.items()}
    enforced: list[dict[str, Any]] = []
    remembered: list[dict[str, Any]] = []
    effective: list[dict[str, Any]] = []
    for row in changes.iter_rows(named=True):
        who, word = row["contact_id"], word_of(row["change"], row["scope"], row["cause"])
        state, what = states.get(who, Consent()), Said(row["changed_at"], row["cause"])
        theirs = said.setdefault(who, {})
        after = by_person(state, theirs, word, what)
        if after is None:  # told already, or said before what is known of this word, and told later
            if not told.get(who, {}).get(word, {}).get(what.at):
                told.setdefault(who, {}).setdefault(word, {})[what.at] = what
                remembered.append(row)
            continue
        told.setdefault(who, {}).setdefault(word, {})[what.at] = what
        theirs[word], states[who] = what, after
        scope = row["scope"]
        if word is Word.start and after.opt_out_scope is None:
            scope = state.opt_out_scope or str(Scope.all)
        remembered.append({**row, "scope": scope})
        enforced += _enforced(row, word, after)
        if after.opt_out_scope != state.opt_out_scope or (word is Word.start and after != state):
            effective.append({**row, "scope": scope})
    touched = sorted(who for who, state in states.items() if state != before.get(who, Consent()))
    rows = [{"contact_id": one, **asdict(states[one])} for one in touched]
    new = pl.DataFrame(rows, schema={name: CONTACT[name] for name in ("contact_id", *STATE)})
    delta = contacts.put(known.drop(STATE).join(new, on="contact_id", how="inner"), contacts.types())
    # More than one transaction may hold: the contacts first, and the history last. What it does not remember after a
    # crash is said once more, and comes to the same.
    many = max(len(enforced), len(remembered)) > BULK
    with contacts.ledger.write(lease) as tx:
        if delta is not None:
            contacts.lake.register(tx, delta)
        if not many:
            _enforce(tx, enforced)
            _write_down(tx, remembered)
    for what_, write in ((enforced, _enforce), (remembered, _write_down)) if many else ():
        for part in chunks(len(what_)):
            with contacts.ledger.write(lease) as tx:
                write(tx, what_[part])
    return changes_frame(effective)


Told = dict[Word, dict[datetime, Said]]
"""Each time at which a person said each word."""


def _told(ledger: Ledger, ids: Sequence[str]) -> dict[str, Told]:
    """What the history remembers of the words of each of these people."""
    query = (
        "SELECT DISTINCT contact_id, change, scope, cause, changed_at AS at FROM consent_history"
        " WHERE contact_id IN :ids AND cause <> 'file'"
    )
    found: dict[str, Told] = {}
    with ledger.read() as tx:
        for row in select_in(tx, query, ids):
            word, what = word_of(row.change, row.scope, row.cause), Said(from_us(row.at), row.cause)
            found.setdefault(row.contact_id, {}).setdefault(word, {})[what.at] = what
    return found


def _last(words: Told) -> dict[Word, Said]:
    return {word: times[max(times)] for word, times in words.items()}


def _enforced(row: Mapping[str, Any], word: Word, after: Consent) -> list[dict[str, Any]]:
    """What a word does to `suppression`, as changes (CHANGES); doing it again changes nothing."""
    out = after.opt_out_scope in (str(Scope.all), str(Scope.marketing))
    stop = {"change": "opted_out", "scope": after.opt_out_scope, "cause": after.opt_out_cause}
    stopping = [{**row, **stop, "changed_at": after.opted_out_at}] if out else []
    if word in (Word.stop, Word.stop_marketing) or after.opt_out_scope == Scope.all:
        return stopping
    lifted = {**row, "scope": str(Scope.all if word is Word.start else Scope.marketing)}
    return [lifted, *stopping]


def _enforce(tx: sa.Connection, changes: Sequence[Mapping[str, Any]]) -> None:
    rows = changes_frame(list(changes)).with_columns(pl.col("changed_at").to_physical()).to_dicts()
    # Only the order of changes of one person matters: batches hold each subject once.
    for batch in _batches(rows) if rows else ():
        _suppress(tx, [row for row in batch if row["change"] == "opted_out"])
        _lift(tx, [row for row in batch if row["change"] == "opted_in"])


def _write_down(tx: sa.Connection, changes: Sequence[Mapping[str, Any]]) -> None:
    rows = changes_frame(list(changes)).with_columns(pl.col("changed_at").to_physical()).to_dicts()
    if rows:
        tx.execute(consent_history.insert(), rows)


def write_changes(tx: sa.Connection, changes: pl.DataFrame) -> None:
    """Puts changes of consent (CHANGES; at most 5,000) into force and into the history, in their order.

    Doing it again changes nothing: a change that is the newest of its contact already is not written twice.
    """
    rows = changes.with_columns(pl.col("changed_at").to_physical()).to_dicts()
    if not rows:
        return
    _enforce(tx, changes.to_dicts())
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
            # What a person said himself is never made weaker by a file; a word that was said again counts from then.
            where=(rank[0] > rank[1]) | ((rank[0] == rank[1]) & (new.changed_at > suppression.c.changed_at)),
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
