"""Expiring: what has waited too long is skipped, for what kept it.

What belongs here: which messages have expired, the reason of each, and that a message whose time runs out in the night
is held to the morning. What makes them wait is `holding`.
"""

from datetime import datetime

import polars as pl

from journey.clock import to_us
from journey.words import Held, SkipReason
from pipelines.media import still_unreachable
from pipelines.silence import expiry, rule_of, times_of
from resources.containing import Of
from resources.home import Home
from resources.ledger import Lease, chunks, mark_dirty
from resources.skipping import skip

# What a sender's rest keeps is `planned`, and nothing in its row says so.
OVER = """
SELECT m.id, m.body_file, m.body_row, CASE WHEN m.held_why IS NULL AND m.priority > 0 AND s.paused_at IS NOT NULL
  THEN 'resting' ELSE m.held_why END, m.contact_id, m.campaign, m.expires_at, m.expires_at, m.quiet_at, p.not_after
FROM (SELECT name FROM campaign WHERE stopped_at IS NULL AND live UNION ALL SELECT '') c
CROSS JOIN message m ON m.campaign = c.name LEFT JOIN sender s ON s.name = m.sender
LEFT JOIN participant p ON p.id = m.participant_id
WHERE m.state IN ('planned', 'held') AND m.expires_at < ? AND NOT EXISTS (SELECT 1 FROM meta WHERE name = 'hold')
"""
_OVER = {
    "id": pl.Int64,
    "body_file": pl.Int64,
    "body_row": pl.Int64,
    "held_why": pl.String,
    "contact_id": pl.String,
    "campaign": pl.String,
    "moment": pl.Int64,
    "expires_at": pl.Int64,
    "quiet_at": pl.Int64,
    "not_after": pl.Int64,
}


def skip_expired(home: Home, lease: Lease, now: datetime, of: Of, which: str = "") -> int:
    """Skip what has expired, each for what kept it. `which`: a further condition. Gives how many."""
    at = to_us(now)
    over = home.ledger.frame(f"{OVER}{which}{of.sql}", _OVER, (at, of.names))
    over = over.join(_to_the_morning(home, lease, over, now), on="id", how="anti", maintain_order="left")
    held = still_unreachable(home, over.filter(pl.col("held_why") == SkipReason.media_unreachable))
    urls = dict(held.select("id", "detail").iter_rows())
    for part in chunks(over.height):
        with home.ledger.write(lease) as tx:
            skip(tx, [(i, *_cause(why, urls.get(i))) for i, why in over[part].select("id", "held_why").iter_rows()], at)
    return over.height


def _to_the_morning(home: Home, lease: Lease, over: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Give those of these messages (_OVER) whose time ran out in silent hours until the first minute after them, where
    that is still to come. Gives them (id)."""
    longer = [pl.DataFrame(schema={"id": pl.Int64, "expires_at": pl.Int64})]
    silent = over.filter(pl.col("quiet_at") <= pl.col("expires_at"), pl.col("held_why") != Held.silent_hours)
    for (name,), mine in silent.partition_by("campaign", as_dict=True, maintain_order=True).items():
        times = times_of(home, rule_of(home, home.project.campaigns.get(str(name))), mine, now)
        timed = mine.with_columns(times.get_column("due_at"))
        until = expiry(pl.col("expires_at"), pl.col("due_at"), pl.col("moment"), pl.col("not_after"))
        longer.append(timed.select("id", expires_at=until).filter(pl.col("expires_at") >= to_us(now)))
    found = pl.concat(longer)
    for part in chunks(found.height):
        with home.ledger.write(lease) as tx:
            tx.exec_driver_sql(
                "UPDATE message SET expires_at = ? WHERE id = ? AND state IN ('planned', 'held')",
                found[part].select("expires_at", "id").rows(),
            )
            mark_dirty(tx, "message", found[part].get_column("id").to_list())
    return found


def _cause(why: str | None, detail: str | None) -> tuple[SkipReason, str]:
    """The reason of what has expired, and how it came to that."""
    if why == "resting":
        return SkipReason.too_late, "held until it expired: the sender's bulk rests for its quality at Meta"
    if why == SkipReason.messaging_limit:
        return SkipReason.messaging_limit, "held until it expired: Meta's limit of people in 24 hours was used up"
    if why is not None and why in set(SkipReason):
        return SkipReason(why), f"held until it expired: {detail}" if detail else "held until it expired"
    if why == Held.silent_hours:
        return SkipReason.too_late, "held by silent hours until it expired"
    return SkipReason.too_late, "not sent before it expired"
