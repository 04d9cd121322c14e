"""Advance: who is due moves on, as sets, until nothing moves.

What belongs here: the walk over campaigns and steps. Reading where people stand is `standing`, which way each of them
goes `journey.cohort`, writing it `moving`.
"""

from dataclasses import replace
from datetime import datetime, timedelta

import polars as pl

from journey.campaign import Campaign
from journey.clock import to_us
from journey.cohort import WAITS, Decision, decide
from journey.problems import SegmentError
from pipelines.moving import with_visits, write_moves, write_waits
from pipelines.portion import Portion
from pipelines.standing import DUE, Due, due, standing
from resources.ahead import ahead
from resources.home import Home
from resources.ledger import Lease

PAGE = 100_000
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
            # While some are written the next are looked at: what is written of one has no part in another's decision.
            pages = due(home, campaign, to_us(now), together=PAGE)
            for one, decided in ahead(lambda page: (page, _decided(home, page, now, portion)), pages):
                if decided is None:
                    break
                moved += _write(home, lease, one, decided, now)
    return moved


def _decided(home: Home, one: Due, now: datetime, portion: Portion) -> Decision | SegmentError | None:
    """Which way these people go, or why nobody can say; None where the portion is full."""
    if not portion.more(one.campaign.name):
        return None
    try:
        people = standing(home, one)
    except SegmentError as error:
        return error
    decided = decide(one.campaign, one.step, people, to_us(now))
    if decided.moves.height:
        decided = replace(decided, moves=with_visits(home, one, decided.moves))
    # Who stands where they stood is not counted: they would be in the way of whoever comes after them.
    portion.took(one.campaign.name, decided.moves.height + decided.waits.height)
    return decided


def _write(home: Home, lease: Lease, one: Due, decided: Decision | SegmentError, now: datetime) -> int:
    """Gives how many moved."""
    if isinstance(decided, SegmentError):
        home.say(f"{one.campaign.file}: people wait at the split `{one.step}`, whose segment fails: {decided}")
        _leave_standing(home, lease, one)
        return 0
    write_waits(home, lease, decided.waits)
    if decided.moves.height:
        write_moves(home, lease, one, decided.moves, now)
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
