"""Everything by which a person is known here: their ids, phones, WhatsApp's ids, messages.

What belongs here: looking it up in the contacts (also as they were) and in the ledger. What is done with it is
`resources.person_export` and `pipelines.forgetting`.
"""

from collections import defaultdict
from dataclasses import dataclass, field

import polars as pl
import sqlalchemy as sa

from journey.campaign import TriggerEntry
from journey.person import Person
from journey.phones import is_stranger, stranger_id
from resources.home import Home
from resources.lake import parquet_schema
from resources.tables import consent_history, message, participant, reply

_NAMED = ("phone", "wa_id", "wa_user_id")


@dataclass(frozen=True)
class Known:
    """A person and what the ledger has of theirs: ids of `messages` and `participants`, and where the bodies of the
    messages are (`bodies`: file → rows)."""

    person: Person
    messages: tuple[int, ...] = ()
    participants: tuple[int, ...] = ()
    bodies: dict[int, list[int]] = field(default_factory=dict)


def know(home: Home, contact_id: str) -> Known:
    """All by which a contact is known. A phone (or id of WhatsApp's) that somebody else has now is not theirs."""
    named: dict[str, set[str]] = {name: set() for name in _NAMED}
    ids = {contact_id}
    if is_stranger(contact_id):
        own = contact_id.removeprefix(stranger_id(""))
        named["phone" if own.startswith("+") else "wa_user_id"].add(own)
    for _ in range(2):  # the contact of a phone alone, whom they took over, may have had ids of its own
        for file in (file for files in home.contacts.files() for file in files):
            columns = [name for name in _NAMED if name in parquet_schema(file)]
            theirs = pl.col("contact_id").is_in(sorted(ids))
            found = pl.scan_parquet(file, glob=False).filter(theirs).select(columns).collect(engine="streaming")
            for name in columns:
                named[name] |= set(found.get_column(name).drop_nulls())
        with home.ledger.read() as tx:
            for table in (message, consent_history):
                phones = sa.select(table.c.phone).where(table.c.contact_id.in_(ids)).distinct()
                named["phone"] |= {phone for phone in tx.execute(phones).scalars() if phone}
        _not_of_others(home, ids, named)
        ids |= {stranger_id(one) for one in named["phone"] | named["wa_user_id"]}
    with home.ledger.read() as tx:
        messages = tx.execute(
            sa.select(message.c.id, message.c.wamid, message.c.body_file, message.c.body_row).where(
                message.c.contact_id.in_(ids)
            )
        ).all()
        inside = tx.execute(sa.select(participant.c.id).where(participant.c.contact_id.in_(ids))).scalars().all()
        wamids = {row.wamid for row in messages}
        for table in (reply, consent_history):
            wamids |= set(tx.execute(sa.select(table.c.wamid).where(table.c.contact_id.in_(ids))).scalars())
    bodies: dict[int, list[int]] = defaultdict(list)
    for row in messages:
        if row.body_file is not None and row.body_row is not None:
            bodies[row.body_file].append(row.body_row)
    person = Person(
        frozenset(ids),
        frozenset(named["phone"]),
        frozenset(named["wa_id"] | named["wa_user_id"]),
        frozenset(one for one in wamids if one),
        home.project.settings.region,
        _naming(home),
    )
    return Known(person, tuple(row.id for row in messages), tuple(inside), dict(bodies))


def _not_of_others(home: Home, ids: set[str], named: dict[str, set[str]]) -> None:
    found = home.contacts.find(phones=named["phone"], wa_ids=named["wa_id"], wa_user_ids=named["wa_user_id"])
    others = found.filter(~pl.col("contact_id").is_in(sorted(ids)))
    for name in _NAMED:
        taken = others.filter(~pl.col("contact_id").is_in([stranger_id(one) for one in named[name]]))
        named[name] -= set(taken.get_column(name).drop_nulls())


def _naming(home: Home) -> frozenset[str]:
    """The properties of events that name people, in any campaign."""
    entries = [entry for campaign in home.project.campaigns.values() for entry in campaign.entries]
    return frozenset(one.contacts for one in entries if isinstance(one, TriggerEntry) and one.contacts is not None)
