"""Holding: what is planned and may not go out now waits, goes on, or is skipped when it has waited too long.

What belongs here: what a pass decides of planned and held messages as sets. What a lane decides of a single message at
the moment of sending is `resources.outbox`; when silent hours begin and end is `silence`; what has waited too long is
`expiring`.

It is decided of all campaigns at once. Where that fails it is done again for one after the other, so that an error
costs the campaign in which it came up, and nobody else.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import polars as pl
import sqlalchemy as sa

from journey.clock import to_us
from journey.words import Held, MessageState, SkipReason
from pipelines.expiring import OVER, skip_expired
from pipelines.media import still_unreachable
from pipelines.messaging_limit import keep_messaging_limit, place_is_free
from pipelines.silence import AWAKE, expiry, rule_of, times_of
from resources.containing import Of, reaches_further
from resources.home import Home
from resources.ledger import US, Lease, chunks, mark_dirty
from resources.skipping import skip

MEDIA_AGAIN = 60 * US
"""Microseconds (wall) after which media that could not be fetched are looked at again."""

_OF_TEMPLATE = "SELECT m.id FROM message m WHERE m.state IN ('planned', 'held') AND m.template = ? AND m.language = ?"
_DUE = "SELECT m.id FROM message m WHERE m.state = 'held' AND m.held_why = 'silent_hours' AND m.due_at <= ?"
_BODIES = {"id": pl.Int64, "body_file": pl.Int64, "body_row": pl.Int64}
_MEDIA = """SELECT m.id, m.body_file, m.body_row FROM message m
  WHERE m.state = 'held' AND m.held_why = ? AND m.not_before NOT BETWEEN ? + 1 AND ? + 600000000"""
_TIMED = {
    "id": pl.Int64,
    "contact_id": pl.String,
    "campaign": pl.String,
    "moment": pl.Int64,
    "expires_at": pl.Int64,
    "not_after": pl.Int64,
}
# What expired while it could still go out is not held once more.
_SILENT = """
SELECT m.id, m.contact_id, m.campaign, m.quiet_at, m.expires_at, p.not_after
FROM message m LEFT JOIN participant p ON p.id = m.participant_id
WHERE m.state = 'planned' AND m.quiet_at IS NOT NULL AND m.quiet_at <= :now AND m.expires_at >= m.quiet_at
"""
# From who has written to what is held for them, never through all that is held.
_AWAKE = """
SELECT DISTINCT m.id, m.contact_id, m.campaign, :now, m.expires_at, p.not_after
FROM reply r CROSS JOIN message m ON m.contact_id = r.contact_id LEFT JOIN participant p ON p.id = m.participant_id
WHERE r.replied_at > :since AND m.state || '' = 'held' AND m.held_why = 'silent_hours' AND m.due_at > :now
"""
_RETIME = """UPDATE message SET state = ?, held_why = CASE WHEN ? THEN 'silent_hours' WHEN held_why = 'silent_hours'
  THEN NULL ELSE held_why END, due_at = ?, quiet_at = ?, expires_at = ? WHERE id = ? AND state IN ('planned', 'held')"""
_DISABLED = """
SELECT m.id FROM template_hold h CROSS JOIN message m ON m.template = h.name AND m.language = h.language
WHERE m.state IN ('planned', 'held') AND h.status IN ('DISABLED', 'REJECTED', 'DELETED')
"""


def wait_is_over(tx: sa.Connection, now: int, wall: int) -> bool:
    """Whether a pass has something to hold, to let go or to skip: the first row of a few indexes says so. `now` and
    `wall` in microseconds since 1970."""
    asked: list[tuple[str, Any]] = [
        (_DUE, (now,)),
        (_SILENT, {"now": now}),
        (_MEDIA, (SkipReason.media_unreachable.value, wall, wall)),
        (OVER, (now,)),
    ]
    if any(tx.exec_driver_sql(f"{query} LIMIT 1", params).first() is not None for query, params in asked):
        return True
    return place_is_free(tx, now)


Decides = Callable[[Home, Lease, datetime, set[tuple[str, str]], Of], int]


def hold_and_expire(home: Home, lease: Lease, now: datetime) -> int:
    """Hold what must wait for a template or for the end of silent hours, let go what need not, and skip what was held
    too long. Gives how many messages were skipped."""
    on_hold = _templates_on_hold(home, lease)
    skipped = _contained(home, lease, now, on_hold, _give_up)
    skipped += _contained(home, lease, now, on_hold, _let_go)
    keep_messaging_limit(home, lease, now)
    return skipped + _contained(home, lease, now, on_hold, _hold_and_skip)


def _contained(home: Home, lease: Lease, now: datetime, on_hold: set[tuple[str, str]], decide: Decides) -> int:
    """`decide` for all campaigns at once; where that fails, for one after the other."""
    try:
        return decide(home, lease, now, on_hold, Of.all_but(home.troubles.resting()))
    except Exception as error:
        if reaches_further(error):
            raise
    waiting = "SELECT DISTINCT campaign FROM message WHERE state IN ('planned', 'held') ORDER BY 1"
    with home.ledger.read() as tx:
        names = [str(name) for name in tx.exec_driver_sql(waiting).scalars() if not home.troubles.rests(str(name))]
    skipped = 0
    for name in names:
        with home.troubles.contained(lease, name, "holding and letting go its messages", now):
            skipped += decide(home, lease, now, on_hold, Of.one(name))
    return skipped


def _give_up(home: Home, lease: Lease, now: datetime, on_hold: set[tuple[str, str]], of: Of) -> int:
    """Skip what something held until it expired, for that reason, also where by now nothing would hold it any more."""
    return skip_expired(home, lease, now, of, " AND m.state = 'held' AND m.held_why <> 'silent_hours'")


def _let_go(home: Home, lease: Lease, now: datetime, on_hold: set[tuple[str, str]], of: Of) -> int:
    unapproved = SkipReason.template_not_approved.value
    for key in sorted(home.project.templates.keys() - on_hold):
        let_go = f"{_OF_TEMPLATE} AND m.state = 'held' AND m.held_why = '{unapproved}'{of.sql}"
        _turn_over(home, lease, let_go, (*key, of.names), MessageState.planned, None, now)
    return _try_media_again(home, lease, now, of)


def _hold_and_skip(home: Home, lease: Lease, now: datetime, on_hold: set[tuple[str, str]], of: Of) -> int:
    _keep_silent_hours(home, lease, now, of)
    unapproved = SkipReason.template_not_approved.value
    for key in sorted(on_hold):
        held_now = f"{_OF_TEMPLATE} AND m.state = 'planned'{of.sql}"
        _turn_over(home, lease, held_now, (*key, of.names), MessageState.held, unapproved, now)
    skipped = skip_expired(home, lease, now, of)
    disabled = home.ledger.frame(f"{_DISABLED}{of.sql}", {"id": pl.Int64}, (of.names,))
    for part in chunks(disabled.height):
        rejected = [(i, SkipReason.template_not_approved, "Meta no longer sends it") for (i,) in disabled[part].rows()]
        with home.ledger.write(lease) as tx:
            skip(tx, rejected, to_us(now))
    return skipped + disabled.height


def _keep_silent_hours(home: Home, lease: Lease, now: datetime, of: Of) -> None:
    """Let go what silent hours held to this moment, and whose person is awake; hold what has not gone out by the time
    they begin. A pass that comes days late does it for every night between."""
    at = to_us(now)
    _turn_over(home, lease, f"{_DUE}{of.sql}", (at, of.names), MessageState.planned, None, now)
    named = of.sql.replace("?", ":names")
    since = to_us(now - AWAKE)
    awake = home.ledger.frame(f"{_AWAKE}{named}", _TIMED, {"now": at, "since": since, "names": of.names})
    _retime(home, lease, awake, now)
    while True:
        silent = home.ledger.frame(f"{_SILENT}{named}", _TIMED, {"now": at, "names": of.names})
        if silent.is_empty():
            return
        _retime(home, lease, silent, now)


def _retime(home: Home, lease: Lease, messages: pl.DataFrame, now: datetime) -> None:
    """Give messages (_TIMED) new times, looked at from their `moment`."""
    for (name,), mine in messages.partition_by("campaign", as_dict=True, maintain_order=True).items():
        rule = rule_of(home, home.project.campaigns.get(str(name)))
        timed = mine.with_columns(times_of(home, rule, mine, now).get_columns())
        timed = timed.with_columns(
            silent=pl.col("due_at") > to_us(now),
            expires_at=expiry(pl.col("expires_at"), pl.col("due_at"), pl.col("moment"), pl.col("not_after")),
        )
        for part in chunks(timed.height):
            rows = [
                ((MessageState.held if silent else MessageState.planned).value, silent, due, quiet, expires, i)
                for silent, due, quiet, expires, i in timed[part]
                .select("silent", "due_at", "quiet_at", "expires_at", "id")
                .iter_rows()
            ]
            with home.ledger.write(lease) as tx:
                tx.exec_driver_sql(_RETIME, rows)
                mark_dirty(tx, "message", timed[part].get_column("id").to_list())


def _templates_on_hold(home: Home, lease: Lease) -> set[tuple[str, str]]:
    """The templates (name, language) that nothing is sent with now."""
    approved = [key for key, template in home.project.templates.items() if template.approved]
    with home.ledger.write(lease) as tx:
        for name, language in approved:  # holds of our own making end with the cached status
            tx.exec_driver_sql(
                "DELETE FROM template_hold WHERE name = ? AND language = ? AND code IS NULL", (name, language)
            )
        rows = tx.exec_driver_sql("SELECT name, language FROM template_hold").all()
    return {(str(row.name), str(row.language)) for row in rows}


def _turn_over(
    home: Home,
    lease: Lease,
    query: str,
    params: tuple[object, ...],
    state: MessageState,
    why: str | None,
    now: datetime,
) -> None:
    """`_change` for the messages of a query (ids)."""
    _change(home, lease, home.ledger.frame(query, {"id": pl.Int64}, params).to_series(), state, why, now)


def _change(home: Home, lease: Lease, ids: pl.Series, state: MessageState, why: str | None, now: datetime) -> None:
    """Give messages another state, held or planned, with why. What a lane has stamped meanwhile stays as it is; what is
    let go before its silent hours are over stays held for those."""
    for part in chunks(ids.len()):
        found = ids[part].to_list()
        with home.ledger.write(lease) as tx:
            tx.exec_driver_sql(
                "UPDATE message SET state = ?, held_why = ? WHERE id = ? AND state IN ('planned', 'held')",
                [(state.value, why, i) for i in found],
            )
            if state is MessageState.planned:
                tx.exec_driver_sql(
                    "UPDATE message SET state = 'held', held_why = ? WHERE id = ? AND state = 'planned' AND due_at > ?",
                    [(Held.silent_hours.value, i, to_us(now)) for i in found],
                )
            mark_dirty(tx, "message", found)


def _try_media_again(home: Home, lease: Lease, now: datetime, of: Of) -> int:
    """Let go what media held, where they can be fetched by now (or are not ours to check: Meta then says); the others
    are looked at again in a minute. Gives how many were skipped, because their address can never be fetched."""
    media, wall = SkipReason.media_unreachable, int(home.wall() * US)
    # Where the clock is turned, hours pass in a second of wall: what we hold ourselves each pass looks at again.
    query, params = f"{_MEDIA}{of.sql}", [media.value, wall, wall, of.names]
    if home.clock.turned:
        query += f" OR (m.state = 'held' AND m.held_why = ? AND m.error_code IS NULL{of.sql})"
        params += [media.value, of.names]
    held = home.ledger.frame(query, _BODIES, params)
    if held.is_empty():
        return 0
    found = still_unreachable(home, held)
    skips = [(int(i), media, str(why)) for i, why in found.filter("private").select("id", "detail").iter_rows()]
    waiting = found.filter(~pl.col("private")).get_column("id")
    for part in chunks(waiting.len()):
        with home.ledger.write(lease) as tx:
            rows = [(wall + MEDIA_AGAIN, i) for i in waiting[part].to_list()]
            tx.exec_driver_sql("UPDATE message SET not_before = ? WHERE id = ? AND state = 'held'", rows)
    for part in chunks(len(skips)):
        with home.ledger.write(lease) as tx:
            skip(tx, skips[part], to_us(now))
    free = held.filter(~pl.col("id").is_in(found.get_column("id").implode())).get_column("id")
    _change(home, lease, free, MessageState.planned, media.value, now)
    for part in chunks(free.len()):  # the wait was for the media alone
        with home.ledger.write(lease) as tx:
            tx.exec_driver_sql("UPDATE message SET not_before = 0 WHERE id = ?", [(i,) for i in free[part].to_list()])
    return len(skips)
