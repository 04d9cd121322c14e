"""What stays of people who were forgotten: keyed hashes, by which an opt-out and a message that comes late are known.

What belongs here: the key of the installation, the table `forgotten`, and bringing an opt-out back when its phone comes
in again. Who is forgotten, and how, is `pipelines.forgetting`.

A bare hash of a phone can be undone by trying every phone there is; without the key (random, in the ledger, and so in
its backups too) this one can't. Nobody is found by it, only recognised when they come back.
"""

import hmac
import secrets
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from journey.clock import from_us
from journey.contact_rows import CONTACT
from journey.person import FORGOTTEN
from journey.phones import stranger_id
from journey.webhook import Parsed
from journey.words import Scope
from resources.contacts import Contacts
from resources.ledger import Lease, Ledger, mark_dirty, select_in
from resources.tables import consent_history, forgotten, meta, suppression

_KEY = "forget_key"
_RANK = {Scope.file.value: 1, Scope.marketing.value: 2, Scope.all.value: 3}


def make_key(tx: sa.Connection) -> bytes:
    """The installation's key; made when the first person is forgotten."""
    key = key_of(tx)
    if key is None:
        key = secrets.token_bytes(32)
        tx.execute(meta.insert().values(name=_KEY, value=key.hex()))
    return key


def key_of(tx: sa.Connection) -> bytes | None:
    """The installation's key; None: nobody was ever forgotten."""
    value = tx.execute(sa.select(meta.c.value).where(meta.c.name == _KEY)).scalar_one_or_none()
    return None if value is None else bytes.fromhex(value)


def hashed(key: bytes, text: str) -> str:
    """A keyed hash: 32 hexadecimal digits."""
    return hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256").hex()[:32]


def disguised(key: bytes, wamid: str) -> str:
    """What stands in the place of the id of a message from or to somebody who was forgotten."""
    return wamid if wamid.startswith(FORGOTTEN) else FORGOTTEN + hashed(key, wamid)


def apart(ledger: Ledger, prefix: str, parsed: Parsed) -> tuple[Parsed, set[str]]:
    """What came late of messages from or to somebody who was forgotten: statuses bear the disguised id of their
    message, and what they wrote before is not taken in again. With the ids that were disguised. `prefix`: of callback
    ids. Where nobody was ever forgotten, one small query."""
    with ledger.read() as tx:
        key = key_of(tx)
    if key is None:
        return parsed, set()
    mine = parsed.statuses.filter(pl.col("callback").str.starts_with(prefix + ":"))
    numbers = mine.select(
        "wamid",
        number=pl.col("callback")
        .str.strip_prefix(prefix + ":")
        .str.split(":")
        .list.first()
        .cast(pl.Int64, strict=False),
    ).drop_nulls()
    query = "SELECT id FROM message WHERE id IN :ids AND contact_id LIKE 'forgotten:%'"
    with ledger.read() as tx:
        theirs = [row.id for row in select_in(tx, query, numbers["number"].unique().to_list())]
    late = set(numbers.filter(pl.col("number").is_in(theirs))["wamid"])
    late |= set(disguise_known(ledger, parsed.statuses["wamid"], "message"))
    again = disguise_known(ledger, parsed.inbound["wamid"], "reply")
    if not late and not again:
        return parsed, set()
    names = {one: disguised(key, one) for one in late}
    statuses = parsed.statuses.with_columns(pl.col("wamid").replace(names))
    inbound = parsed.inbound.filter(~pl.col("wamid").is_in(list(again)))
    return replace(parsed, statuses=statuses, inbound=inbound), late | set(again)


def disguise_known(ledger: Ledger, wamids: pl.Series, table: str) -> dict[str, str]:
    """Those of these ids of messages that stand disguised in `message` or `reply`: as they are → as they stand."""
    with ledger.read() as tx:
        key = key_of(tx)
        if key is None:
            return {}
        by_disguise = {disguised(key, one): one for one in wamids.drop_nulls().unique()}
        rows = select_in(tx, f"SELECT wamid FROM {table} WHERE wamid IN :ids", sorted(by_disguise))
    return {by_disguise[row.wamid]: str(row.wamid) for row in rows}


def remember(tx: sa.Connection, key: bytes, subjects: Iterable[str], opt_out: sa.Row[tuple[object, ...]]) -> None:
    """Keep an opt-out (`scope`, `cause`, `changed_at`) under hashes of phones or of Meta's user ids; the strongest
    stays."""
    values = {"scope": opt_out.scope, "cause": opt_out.cause, "changed_at": opt_out.changed_at}
    weaker = sa.case(_RANK, value=forgotten.c.scope, else_=0) < _RANK.get(str(opt_out.scope), 0)
    for subject in subjects:
        statement = insert(forgotten).values(hash=hashed(key, subject), **values)
        tx.execute(statement.on_conflict_do_update(index_elements=["hash"], set_=values, where=weaker))


def bring_back(
    contacts: Contacts, lease: Lease | None, phones: pl.Series, user_ids: pl.Series | None = None
) -> int:  # fmt: skip
    """Whoever comes in with a phone (or an id of Meta's) whose opt-out is remembered is a contact of that phone, opted
    out, from now on; whatever a file says of them meets that. Gives how many came back. Nearly always one small query.
    """
    with contacts.ledger.read() as tx:
        key = key_of(tx)
        if key is None or tx.execute(sa.select(forgotten.c.hash).limit(1)).first() is None:
            return 0
        by_hash = {hashed(key, one): (one, None) for one in phones.drop_nulls().unique()}
        for one in [] if user_ids is None else user_ids.drop_nulls().unique():
            by_hash[hashed(key, one)] = (None, one)
        query = "SELECT hash, scope, cause, changed_at FROM forgotten WHERE hash IN :ids"
        rows = select_in(tx, query, sorted(by_hash))
    if not rows:
        return 0
    people = [_person(*by_hash[row.hash], row.scope, row.cause, from_us(row.changed_at)) for row in rows]
    file = contacts.put(pl.DataFrame(people, schema=dict(CONTACT)), contacts.types())
    with contacts.ledger.write(lease) as tx:
        if file is not None:
            contacts.lake.register(tx, file)
        for person, row in zip(people, rows, strict=True):
            values = {"scope": row.scope, "cause": row.cause, "changed_at": row.changed_at}
            subjects = [f"contact:{person['contact_id']}", *([f"phone:{person['phone']}"] if person["phone"] else [])]
            for subject in subjects:
                tx.execute(insert(suppression).values(subject=subject, **values).on_conflict_do_nothing())
            made = tx.execute(
                consent_history.insert().values(
                    contact_id=person["contact_id"], phone=person["phone"], change="opted_out", source="forgotten",
                    **values,
                )
            )  # fmt: skip
            assert made.inserted_primary_key is not None
            mark_dirty(tx, "consent_history", [int(made.inserted_primary_key[0])])
            tx.execute(forgotten.delete().where(forgotten.c.hash == row.hash))
    return len(people)


def _person(phone: str | None, user_id: str | None, scope: str, cause: str, at: datetime) -> dict[str, object]:
    return {
        "contact_id": stranger_id(phone or user_id or ""),
        "phone": phone,
        "wa_user_id": user_id,
        "tags": [],
        "file_tags": [],
        "opted_in": None if scope == Scope.marketing else False,
        "opted_out_at": at,
        "opt_out_scope": scope,
        "opt_out_cause": cause,
        "gone": False,
    }
