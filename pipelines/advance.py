"""Advance: who is due moves on, as sets, until nothing moves.

What belongs here: the walk over campaigns and steps. Reading where people stand is `standing`, which way each of them
goes `journey.cohort`, writing it `moving`.
"""

from datetime import datetime, timedelta

import polars as pl

from journey.campaign import Campaign
from journey.clock import to_us
from journey.cohort import WAITS, decide
from journey.problems import SegmentError
from pipelines.moving import write_moves, write_waits
from pipelines.portion import Portion
from pipelines.standing import DUE, Due, due, standing
from resources.home import Home
from resources.ledger import Lease

PAGE = 200_000
"""People looked at together."""

AGAIN = timedelta(minutes=1)
"""After so long people at a split whose segment fails are looked at again, while time goes on."""


def advance(home: Home, lease: Lease, now: datetime, portion: Portion | None = None) -> int:
    """Move everyone due (of each campaign a portion), once round. Gives how many moved; call it again until nobody
    does."""
    moved, portion = 0, portion or Portion(None)
    for campaign in _due_campaigns(home, now):
        if not portion.more(campaign.name):
            continue
        with home.troubles.contained(lease, campaign.name, "moving people on", now):
            for one in due(home, campaign, to_us(now), together=PAGE):
                if not portion.more(campaign.name):
                    break
                moved += _advance(home, lease, one, now, portion)
    return moved


def _advance(home: Home, lease: Lease, one: Due, now: datetime, portion: Portion) -> int:
    campaign = one.campaign
    try:
        people = standing(home, one)
    except SegmentError as error:
        home.say(f"{campaign.file}: people wait at the split `{one.step}`, whose segment fails: {error}")
        _leave_standing(home, lease, one)
        return 0
    decided = decide(campaign, one.step, people, to_us(now))
    write_waits(home, lease, decided.waits)
    if decided.moves.height:
        write_moves(home, lease, one, decided.moves, now)
    # Who stands where they stood is not counted: they would be in the way of whoever comes after them.
    portion.took(campaign.name, decided.moves.height + decided.waits.height)
    return decided.moves.height


def _due_campaigns(home: Home, now: datetime) -> list[Campaign]:
    some = "SELECT 1 FROM participant WHERE left_at IS NULL AND campaign = ? AND wake_at <= ? LIMIT 1"
    with home.ledger.read() as tx:
        return [
            campaign
            for name, campaign in home.moving_campaigns().items()
            if tx.exec_driver_sql(some, (name, to_us(now))).one_or_none() is not None
        ]


def _leave_standing(home: Home, lease: Lease, one: Due) -> None:
    """People who cannot be asked now stay due: the next pass looks again. Where time goes on that is in a minute, so
    that a segment that fails does not keep passes coming."""
    if home.clock.turned:
        return
    ids = home.ledger.frame(f"SELECT p.id FROM participant p WHERE {DUE}", {"participant_id": pl.Int64}, one.params())
    later = one.now + AGAIN // timedelta(microseconds=1)
    waits = ids.with_columns(wake_at=pl.lit(later), message_state=pl.lit(None, pl.String))
    write_waits(home, lease, waits.select(pl.col(name).cast(dtype) for name, dtype in WAITS.items()))
