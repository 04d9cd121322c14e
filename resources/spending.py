"""What campaigns cost so far, by the estimated prices of the messages that Meta accepted.

What belongs here: the running sum of each campaign, kept in the transaction in which a message becomes accepted, so
that nobody adds up a million messages to see whether `stop_if` is reached. `resume` begins it anew.
"""

from collections.abc import Iterable

import sqlalchemy as sa

from resources.ledger import select_in

_ADD = """INSERT INTO spent (campaign, currency, amount) VALUES (?, ?, ?)
  ON CONFLICT (campaign, currency) DO UPDATE SET amount = amount + excluded.amount"""


def note_accepted(tx: sa.Connection, message_ids: Iterable[int]) -> None:
    """Count the prices of messages that are about to become accepted; those that are already count no more."""
    rows = select_in(
        tx,
        "SELECT campaign, currency, sum(price) AS amount FROM message WHERE id IN :ids AND accepted_at IS NULL"
        " AND price IS NOT NULL GROUP BY campaign, currency",
        list(message_ids),
    )
    if rows:
        tx.exec_driver_sql(_ADD, [(row.campaign, row.currency, int(row.amount)) for row in rows])


def spent(tx: sa.Connection, campaign: str, currency: str) -> int:
    """What a campaign's accepted messages cost since it was last resumed, in millionths of a currency."""
    query = "SELECT amount FROM spent WHERE campaign = ? AND currency = ?"
    return int(tx.exec_driver_sql(query, (campaign, currency)).scalar_one_or_none() or 0)


def begin_anew(tx: sa.Connection, campaign: str) -> None:
    """Whoever resumes a campaign has said yes to what it cost until then."""
    tx.exec_driver_sql("DELETE FROM spent WHERE campaign = ?", (campaign,))
