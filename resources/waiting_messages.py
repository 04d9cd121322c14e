"""Why messages do not go out now: those of one campaign that wait, by cause, and senders that are stopped.

What belongs here: looks into the ledger that are fresh, for the pages. What causes mean is said where they are shown.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from resources.hold import held, restored
from resources.tables import sender as senders


@dataclass(frozen=True, slots=True)
class Waiting:
    """Messages that wait for one cause: a skip reason that holds, `silent_hours`, `restored`, `template_hold` (Meta's,
    with the template in `what`), `resting` (bulk, of a number of low quality), `due` (its time has not come), `again`
    (tried again), `next`. Times in microseconds: `due_at`, when the first may go out where that is known; `expires_at`,
    when the first is given up."""

    why: str
    what: str | None
    messages: int
    due_at: int | None
    expires_at: int


@dataclass(frozen=True, slots=True)
class StoppedSender:
    """A sender that nothing goes out from, or no bulk (`resting`); or every sender, held since a restore (`restored`,
    without a name). `code` is Meta's, where one stopped it; `stopped_at` in microseconds."""

    name: str
    code: int | None
    why: str
    stopped_at: int
    resting: bool = False
    restored: bool = False


_WAITING = """
SELECT
    CASE
        WHEN h.name IS NOT NULL THEN 'template_hold'
        WHEN m.held_why IS NOT NULL THEN m.held_why
        WHEN s.paused_at IS NOT NULL AND m.priority > 0 THEN 'resting'
        WHEN m.due_at > :now THEN 'due'
        WHEN m.tries > 0 THEN 'again'
        ELSE 'next'
    END AS why,
    CASE WHEN h.name IS NOT NULL OR m.held_why = 'template_not_approved'
        THEN m.template || ' (' || m.language || ')' END AS what,
    count(*) AS messages,
    CASE WHEN m.held_why = 'silent_hours' OR m.due_at > :now THEN min(m.due_at) END AS due_at,
    min(m.expires_at) AS expires_at
FROM message m
LEFT JOIN template_hold h ON h.name = m.template AND h.language = m.language
LEFT JOIN sender s ON s.name = m.sender
WHERE m.state IN ('planned', 'held') AND m.campaign = :campaign
GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2
"""


def waiting(tx: sa.Connection, campaign: str, now: int) -> list[Waiting]:
    """A campaign's messages that wait, by cause, the most first. Reads each of them: a million take a second or two."""
    rows = tx.execute(sa.text(_WAITING), {"campaign": campaign, "now": now}).all()
    return [Waiting(row.why, row.what, int(row.messages), row.due_at, row.expires_at) for row in rows]


def stopped_senders(tx: sa.Connection) -> list[StoppedSender]:
    """The senders that are stopped, or whose bulk rests, by name; first, that a restore holds them all."""
    held_back = sa.or_(senders.c.stopped_at.is_not(None), senders.c.paused_at.is_not(None))
    rows = tx.execute(sa.select(senders).where(held_back).order_by(senders.c.name)).all()
    why, found = held(tx), restored(tx)
    whole = [] if why is None or found is None else [StoppedSender("", None, why, found.at, restored=True)]
    return whole + [
        StoppedSender(row.name, row.stopped_code, row.stopped_why or "", row.stopped_at)
        if row.stopped_at is not None
        else StoppedSender(row.name, None, row.paused_why or "", row.paused_at, resting=True)
        for row in rows
    ]
