"""Statuses that came before anybody knew their message: the lake has them with it afterwards.

What belongs here: writing files of `message_events` anew in which a status has no message although its wamid has one by
now. Such a status bore nothing of ours, or came for a message that a restored ledger planned later. What it says was
folded into the message when that became known (`statuses.join_early`, `join_by_uid`); here it gets its place in what
analysts see.
"""

import polars as pl
import sqlalchemy as sa

from resources.home import Home
from resources.lake import LakeFile
from resources.ledger import Lease
from resources.status_intake import MESSAGE_EVENTS, messages_of
from resources.statuses import JOINED

NAME = "message_events"


def name_joined(home: Home, lease: Lease) -> None:
    """Write the files anew in which statuses that were joined since the last time stand without their message. Mostly
    there are none, and it is one small look."""
    since = home.ledger.meta(JOINED)
    if since is None:
        return
    for row in home.lake.rows(NAME):
        if row.max_at is None or int(str(row.max_at)) >= int(since):
            _name(home, lease, row)
    with home.ledger.write(lease) as tx:  # a lane may have joined others meanwhile
        tx.exec_driver_sql("DELETE FROM meta WHERE name = ? AND value = ?", (JOINED, since))


def _name(home: Home, lease: Lease, row: sa.Row[tuple[object, ...]]) -> None:
    file = pl.scan_parquet(home.lake.root / str(row.path), schema=MESSAGE_EVENTS, glob=False)
    open_ = file.filter(pl.col("message_id").is_null()).select("wamid").unique().collect(engine="streaming")["wamid"]
    known = messages_of(home, open_)
    if known.is_empty():
        return
    named = file.join(known.lazy(), on="wamid", how="left", maintain_order="left")
    whole = named.with_columns(message_id=pl.coalesce("message_id", "by_wamid")).select(list(MESSAGE_EVENTS))
    made = home.lake.put(NAME, whole)
    low, high = (None if one is None else int(str(one)) for one in (row.min_at, row.max_at))
    with home.ledger.write(lease) as tx:
        home.lake.register(tx, LakeFile(NAME, made.path, made.rows, made.bytes, low, high))
        home.lake.drop(tx, [int(str(row.id))])
