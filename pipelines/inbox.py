"""Answers of the inbox: what people wrote by hand becomes messages, or skips with the reason.

What belongs here: planning each answer that was taken in, once. It goes the way of every message (`plan`, the outbox,
the lanes), under a campaign without a name and without a participant; its step is the answer's uuid, by which it is
known. Silent hours and frequency caps are for campaigns: a person answers a person at once, before everything else.
"""

from datetime import datetime
from typing import Any

import msgspec
import polars as pl
import sqlalchemy as sa

from journey.campaign import Campaign, CampaignSettings
from journey.clock import to_us
from journey.inbox_answer import read_answer
from journey.rows import bad_frame
from journey.steps import MessageStep
from pipelines.plan import decided, write
from pipelines.rendering import ARRIVED
from resources.claim import INBOX
from resources.containing import reaches_further, unforeseen
from resources.home import Home
from resources.ledger import BULK, Lease
from resources.quarantine import put_aside
from resources.tables import answer as answers

FIRST = -1
"""The priority of what a person sends: before what events and requests (0) and audiences (1) bring."""

PLANNED, FAILED = "planned", "failed"
_BY_HAND = CampaignSettings(silent_hours="none", frequency_cap="ignore")


def answer(home: Home, lease: Lease, now: datetime) -> int:
    """Plan every answer that was taken in. Without any, one small query. Gives how many."""
    with home.ledger.read() as tx:
        open_ = sa.select(answers).where(answers.c.done_at.is_(None)).order_by(answers.c.id).limit(BULK)
        rows = tx.execute(open_).all()
    for row in rows:
        try:
            _plan(home, lease, row, now)
        except Exception as error:
            if reaches_further(error):
                raise
            _give_up(home, lease, row, error, now)
    return len(rows)


def _give_up(home: Home, lease: Lease, row: Any, error: Exception, now: datetime) -> None:
    """An answer that Estafette itself failed on is put aside, and keeps nobody else's from going out."""
    line = {"request_uuid": row.uuid, "inbox": {"contact_id": row.contact_id, "author": row.author}}
    bad = bad_frame([(0, unforeseen(error), msgspec.json.encode(line).decode())])
    with home.ledger.write(lease) as tx:
        put_aside(tx, "requests", row.source, bad, now)
        tx.execute(answers.update().where(answers.c.id == row.id).values(done_at=to_us(now), outcome=FAILED))


def _plan(home: Home, lease: Lease, row: Any, now: datetime) -> None:
    who = {"contact_id": row.contact_id, "sender": row.sender, "author": row.author}
    step = MessageStep(message=read_answer({**who, **msgspec.json.decode(row.content)}).message())
    campaign = Campaign(
        name=INBOX, sender=row.sender, entries=(), steps={row.uuid: step}, settings=_BY_HAND, version="", file=""
    )
    group = pl.DataFrame(
        [(0, row.contact_id, row.uuid, 1, "", row.uuid, FIRST, None, None)], schema=ARRIVED, orient="row"
    )
    people = decided(home, campaign, step, group, now)
    reason = people.get_column("skip_reason").item()

    def done(tx: sa.Connection) -> None:
        tx.execute(answers.update().where(answers.c.id == row.id).values(done_at=to_us(now), outcome=reason or PLANNED))

    write(home, lease, campaign, step, people, now, row.author, done)
