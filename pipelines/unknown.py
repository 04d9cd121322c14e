"""Messages that stayed unknown: whether they went out, nobody can say.

What belongs here: what a campaign's `when_unknown` makes of them in time. A lane's part in it is `lane`; what a
participant does meanwhile, `journey.cohort_message`.
"""

from datetime import datetime, timedelta

import polars as pl

from journey.campaign import Campaign
from journey.clock import to_us
from pipelines.standing import UNKNOWN_WALL
from resources.home import Home
from resources.leaving import cancel
from resources.ledger import US, Lease, chunks, mark_dirty, select_in
from resources.outbox import send_again
from resources.statuses import wake

_UNKNOWN_SQL = """
SELECT m.id
FROM message m INDEXED BY message_in_flight
JOIN participant p ON p.id = m.participant_id AND p.step = m.step AND p.visit = m.visit AND p.left_at IS NULL
WHERE m.state IN ('attempted', 'unknown') AND m.state = 'unknown' AND m.held_why IS NULL AND m.campaign = ?
  AND m.attempted_at <= ? AND m.attempted_wall <= ?
  AND NOT EXISTS (SELECT 1 FROM message c WHERE c.participant_id = m.participant_id AND c.step = m.step
                  AND c.visit = m.visit AND c.copy > m.copy)
"""
_NEEDLESS_SQL = """
SELECT m.id
FROM message m INDEXED BY message_again
WHERE m.state IN ('planned', 'held') AND m.copy > 1 AND m.campaign = ? AND EXISTS (
  SELECT 1 FROM message o
  WHERE o.participant_id = m.participant_id AND o.step = m.step AND o.visit = m.visit AND o.copy < m.copy
    AND (o.state IN ('accepted', 'sent', 'delivered', 'read')
      OR EXISTS (SELECT 1 FROM reply r WHERE r.message_id = o.id AND r.kind <> 'reaction')))
"""


def settle_unknown(home: Home, lease: Lease, now: datetime) -> int:
    """Messages that stayed unknown as long as their campaign waits: failed, or sent again as a copy of their own. A
    copy that still waits when the first turns out to have arrived is taken back. Gives how many were settled."""
    settled = 0
    for campaign in home.moving_campaigns().values():
        with home.troubles.contained(lease, campaign.name, "settling unknown messages", now):
            settled += _settle_of(home, lease, campaign, now)
    return settled


def _settle_of(home: Home, lease: Lease, campaign: Campaign, now: datetime) -> int:
    needless = home.ledger.frame(_NEEDLESS_SQL, {"id": pl.Int64}, (campaign.name,)).to_series()
    for part in chunks(needless.len()):
        with home.ledger.write(lease) as tx:
            cancel(tx, needless[part].to_list())
    rule = campaign.settings.when_unknown
    if rule.then == "assume_sent":  # the participant goes on; the message stays what it is
        return 0
    over = to_us(now) - rule.after // timedelta(microseconds=1)
    wall = int((home.ledger.wall() - UNKNOWN_WALL) * US)
    found = home.ledger.frame(_UNKNOWN_SQL, {"id": pl.Int64}, (campaign.name, over, wall)).to_series()
    return sum(_settle(home, lease, rule.then, found[part].to_list(), now) for part in chunks(found.len()))


def _settle(home: Home, lease: Lease, then: str, found: list[int], now: datetime) -> int:
    with home.ledger.write(lease) as tx:  # one of which news came meanwhile is no longer unknown
        rows = select_in(tx, "SELECT id FROM message WHERE state = 'unknown' AND id IN :ids", found)
        ids = [int(row.id) for row in rows]
        if ids:
            if then == "fail":
                tx.exec_driver_sql(
                    "UPDATE message SET state = 'failed', failed_at = ?, error_title = 'no answer, taken as failed'"
                    " WHERE id = ?",
                    [(to_us(now), i) for i in ids],
                )
            else:
                send_again(tx, ids, to_us(now))
            wake(tx, ids, to_us(now))
            mark_dirty(tx, "message", ids)
    return len(ids)
