"""Holding: what is planned and may not go out now waits, goes on, or is skipped when it has waited too long.

What belongs here: what a pass decides of planned and held messages as sets. What a lane decides of a single message at
the moment of sending is `resources.outbox`.
"""

from datetime import datetime

import polars as pl

from journey.clock import to_us
from journey.words import MessageState, SkipReason
from resources.home import Home
from resources.ledger import US, Lease, chunks, mark_dirty
from resources.outbox import skip

_OF_TEMPLATE = "SELECT m.id FROM message m WHERE m.state IN ('planned', 'held') AND m.template = ? AND m.language = ?"


def hold_and_expire(home: Home, lease: Lease, now: datetime) -> int:
    """Hold what waits for a template, let go what no longer does, and skip what was held too long. Gives how many
    messages were skipped."""
    at = to_us(now)
    approved = [key for key, template in home.project.templates.items() if template.approved]
    with home.ledger.write(lease) as tx:
        for name, language in approved:  # holds of our own making end with the cached status
            tx.exec_driver_sql(
                "DELETE FROM template_hold WHERE name = ? AND language = ? AND code IS NULL", (name, language)
            )
        rows = tx.exec_driver_sql("SELECT name, language FROM template_hold").all()
    holds = {(str(row.name), str(row.language)) for row in rows}
    unapproved = SkipReason.template_not_approved.value
    for key in sorted(holds):
        _turn_over(home, lease, f"{_OF_TEMPLATE} AND m.state = 'planned'", key, MessageState.held, unapproved)
    for key in sorted(home.project.templates.keys() - holds):
        let_go = f"{_OF_TEMPLATE} AND m.state = 'held' AND m.held_why = '{unapproved}'"
        _turn_over(home, lease, let_go, key, MessageState.planned, None)
    media = SkipReason.media_unreachable.value
    again = "SELECT m.id FROM message m WHERE m.state = 'held' AND m.held_why = ? AND m.not_before <= ?"
    _turn_over(home, lease, again, (media, int(home.wall() * US)), MessageState.planned, media)
    over = home.ledger.frame(
        "SELECT m.id, m.held_why FROM message m JOIN campaign c ON c.name = m.campaign"
        " WHERE c.stopped_at IS NULL AND c.live AND m.state IN ('planned', 'held') AND m.expires_at < ?",
        {"id": pl.Int64, "held_why": pl.String},
        (at,),
    )
    for part in chunks(over.height):
        with home.ledger.write(lease) as tx:
            skip(tx, [(i, _cause(why), "held until it expired") for i, why in over[part].iter_rows()], at)
    disabled = home.ledger.frame(
        "SELECT m.id FROM template_hold h CROSS JOIN message m ON m.template = h.name AND m.language = h.language"
        " WHERE m.state IN ('planned', 'held') AND h.status IN ('DISABLED', 'REJECTED', 'DELETED')",
        {"id": pl.Int64},
    )
    for part in chunks(disabled.height):
        rejected = [(i, SkipReason.template_not_approved, "Meta no longer sends it") for (i,) in disabled[part].rows()]
        with home.ledger.write(lease) as tx:
            skip(tx, rejected, at)
    return over.height + disabled.height


def _turn_over(
    home: Home, lease: Lease, query: str, params: tuple[object, ...], state: MessageState, why: str | None
) -> None:
    """Give the messages of a query (ids) another state, held or planned, with why. What a lane has stamped meanwhile
    stays as it is."""
    ids = home.ledger.frame(query, {"id": pl.Int64}, params).to_series()
    for part in chunks(ids.len()):
        found = ids[part].to_list()
        with home.ledger.write(lease) as tx:
            tx.exec_driver_sql(
                "UPDATE message SET state = ?, held_why = ? WHERE id = ? AND state IN ('planned', 'held')",
                [(state.value, why, i) for i in found],
            )
            mark_dirty(tx, "message", found)


def _cause(why: str | None) -> SkipReason:
    return SkipReason(why) if why is not None and why in set(SkipReason) else SkipReason.too_late
