"""Sharing: whether something else sends with a number of ours, which nobody may have meant.

What belongs here: the two ways in which it shows. Statuses of a number tell whose messages it carries: another
installation of Estafette writes its name into every one. And Meta asks for slower sending (130429) although we send
less than is configured: two that share a number each believe that all of its throughput is theirs.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import polars as pl
import sqlalchemy as sa

from journey.clock import from_us, to_us
from journey.pacing import FORGET_SECONDS
from resources.home import Home
from resources.ledger import US
from resources.settings import Sender
from resources.tables import sender as senders
from resources.tables import shared_number

NOT_LONG_AGO = timedelta(days=1)
"""A number counts as shared so long after the last status that said so."""

OFTEN = 5
"""So often Meta has to ask for slower sending, of what was slowed already, before it is told."""

_SAW = """
INSERT INTO shared_number (phone_number_id, installation, statuses, first_at, last_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (phone_number_id, installation) DO UPDATE
SET statuses = statuses + excluded.statuses, last_at = excluded.last_at
"""


def note_others(tx: sa.Connection, statuses: pl.DataFrame, installation: str, now: datetime) -> None:
    """Remember whose messages the numbers carry: of statuses (`callback`, `phone_number_id`), each once, those that
    bear the name of another installation."""
    named = statuses.select("phone_number_id", whose=pl.col("callback").str.extract(r"^estafette:([0-9a-z]+):"))
    found = named.filter(pl.col("whose") != installation, pl.col("phone_number_id").is_not_null())
    at = to_us(now)
    for number, whose, count in found.group_by("phone_number_id", "whose").len().iter_rows():
        tx.exec_driver_sql(_SAW, (number, whose, count, at, at))


def sharing(home: Home, configured: Mapping[str, Sender]) -> dict[str, list[str]]:
    """By sender (of those `configured`), what says that something else sends with its number; each a sentence."""
    found: dict[str, list[str]] = {}
    since, wall = to_us(home.clock() - NOT_LONG_AGO), int(home.wall() * US)
    numbers = {one.phone_number_id: name for name, one in configured.items()}
    with home.ledger.read() as tx:
        others = tx.execute(sa.select(shared_number).where(shared_number.c.last_at > since)).all()
        slowed = tx.execute(sa.select(senders).where(senders.c.slowed_below >= OFTEN)).all()
    for row in others:
        if row.phone_number_id in numbers:
            text = (
                f"another installation of Estafette ({row.installation}) sends with its number: {row.statuses:,}"
                f" statuses of its messages came here, the last at {from_us(row.last_at):%Y-%m-%d %H:%M} UTC"
            )
            found.setdefault(numbers[row.phone_number_id], []).append(text)
    for row in slowed:
        if row.name in numbers.values() and 0 <= (wall - row.slowed_at) / US < FORGET_SECONDS:
            text = (
                f"Meta asked for slower sending {row.slowed_below} times although less than the configured"
                f" {row.ceiling:g} a second went out here"
            )
            found.setdefault(row.name, []).append(text)
    return found
