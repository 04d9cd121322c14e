"""What campaigns cost so far, by the estimated prices of the messages that Meta accepted, and what they may cost.

What belongs here: the running sum of each campaign, kept in the transaction in which a message becomes accepted, so
that nobody adds up a million messages to see whether `stop_if` is reached. `resume` begins it anew. Whoever claims a
message asks for the campaign's budget first: what is on its way counts too, so that a campaign stops with the message
that takes it over the sum and not with whatever else left in the same second.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from journey.pricing import MILLION
from resources.ledger import select_in
from resources.tables import campaign as campaigns

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


@dataclass
class Budget:
    """What a campaign may cost, in millionths: `most` by the file, `sure` accepted or unknown, `flying` on its way."""

    currency: str
    most: int
    sure: int
    flying: int

    @property
    def overspent(self) -> str | None:
        """Why the campaign stops; None: it may go on."""
        if self.sure <= self.most:
            return None
        amount = Decimal(self.most) / MILLION
        cost = f"it cost {self.sure / MILLION:,.2f} {self.currency}"
        return f"{cost}, more than the {amount:,f} {self.currency} of stop_if (cost_above)"

    @property
    def spent(self) -> bool:
        """Whether no further message may go: with what is on its way the sum is above `most`."""
        return self.sure + self.flying > self.most

    def take(self, price: int | None, currency: str | None) -> None:
        """Count one more message that goes."""
        self.flying += int(price or 0) if currency == self.currency else 0


# By the index of what is in flight, never through all that a campaign has attempted.
_ON_THE_WAY = """SELECT state, sum(price) AS amount FROM message WHERE state IN ('attempted', 'unknown')
  AND campaign || '' = ? AND currency = ? AND attempted_at + 0 >= ? AND accepted_at IS NULL GROUP BY state"""


def budget_of(tx: sa.Connection, row: sa.Row[Any]) -> Budget | None:
    """The budget of a campaign (its row in the ledger) since it was last resumed; None: it may cost anything."""
    if row.cost_above is None:
        return None
    asked = (row.name, row.cost_currency, row.resumed_at or 0)
    out = {str(one.state): int(one.amount or 0) for one in tx.exec_driver_sql(_ON_THE_WAY, asked).all()}
    sure = spent(tx, row.name, row.cost_currency) + out.get("unknown", 0)
    return Budget(row.cost_currency, int(row.cost_above), sure, out.get("attempted", 0))


def stop_overspent(tx: sa.Connection, row: sa.Row[Any], budget: Budget, now: int) -> bool:
    """Stop a running campaign that has cost more than it may. Gives whether it has."""
    why = budget.overspent
    if why is None:
        return False
    running = (campaigns.c.name == row.name) & campaigns.c.stopped_at.is_(None)
    tx.execute(campaigns.update().where(running).values(stopped_at=now, stopped_why=why))
    return True


def begin_anew(tx: sa.Connection, campaign: str) -> None:
    """Whoever resumes a campaign has said yes to what it cost until then."""
    tx.exec_driver_sql("DELETE FROM spent WHERE campaign = ?", (campaign,))
