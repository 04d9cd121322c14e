"""Clicks on counted links: what the gateway records as events becomes rows by message and button.

What belongs here: the way from a code to the message that it was made for. Where a code leads and the redirect are the
gateway's; whom a click moves is decided where they stand.
"""

import polars as pl

from resources import statuses
from resources.ledger import Lease, Ledger, chunks, mark_dirty, select_in
from resources.matching import key_texts

CLICKED = "link_clicked"
CODE = "code"

_CLICK = """
INSERT INTO click (event_id, message_id, participant_id, campaign, step, contact_id, button, clicked_at)
SELECT ?, m.id, m.participant_id, m.campaign, m.step, m.contact_id, l.button, ?
FROM link l JOIN message m ON m.id = l.message_id WHERE l.code = ?
ON CONFLICT (event_id) DO NOTHING
"""


def take_in_clicks(ledger: Ledger, lease: Lease, events: pl.DataFrame, now: int) -> int:
    """Write events of the name CLICKED as clicks, each once, and have their people looked at `now` (microseconds).

    `events`: `event_id`, `happened_at` (microseconds), `properties`. One whose code is not ours is just an event. Gives
    how many codes were ours.
    """
    found = events.select("event_id", "happened_at", code=key_texts(events, CODE)).drop_nulls("code")
    ours = 0
    for part in chunks(found.height):
        rows = list(found[part].iter_rows())
        with ledger.write(lease) as tx:
            tx.exec_driver_sql(_CLICK, rows)
            clicked = select_in(tx, "SELECT id, message_id FROM click WHERE event_id IN :ids", [row[0] for row in rows])
            mark_dirty(tx, "click", [int(row.id) for row in clicked])
            statuses.wake(tx, sorted({int(row.message_id) for row in clicked}), now)
        ours += len(clicked)
    return ours
