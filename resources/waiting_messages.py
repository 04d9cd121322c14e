"""Why messages do not go out now: those of one campaign that wait, by cause.

What belongs here: a look into the ledger that is fresh, for the pages. What causes mean is said where they are shown;
what is wrong around them is `failures`.
"""

from dataclasses import dataclass

import sqlalchemy as sa


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
