"""Plan: everyone who stands at a message step gets a message, or a skip with its reason.

What belongs here: finding who has arrived, and what becomes of each. What a body looks like is `rendering`, who may not
be messaged `refusals` and `limits`, when it may go out `silence`, which codes are in it `codes`, how all of it is
written down `writing`, what waits `holding`. A message is keyed by (participant, step, visit): planning twice plans
nothing new. 5,000 people a transaction.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

import polars as pl
import sqlalchemy as sa

from journey.campaign import Campaign
from journey.clock import civil_time, to_us
from journey.pricing import prices
from journey.steps import MessageStep
from journey.words import Held, SkipReason
from pipelines.codes import with_codes
from pipelines.limits import limited
from pipelines.portion import Portion
from pipelines.rendering import ARRIVED, rendered_for
from pipelines.silence import expiry, rule_of, times_of
from pipelines.standing import DUE, Due, due
from pipelines.writing import chunk_of, write_chunk
from resources.ahead import ahead
from resources.coupons import ClaimLost
from resources.hold import recall
from resources.home import Home
from resources.leaving import cancel_of_left
from resources.ledger import Lease, chunks

ARRIVED_SQL = f"""
SELECT p.id, p.contact_id, p.step, p.visit, p.key, p.occurrence, p.priority, p.attributes, p.not_after
FROM participant p
WHERE {DUE}
  AND NOT EXISTS (SELECT 1 FROM message m WHERE m.participant_id = p.id AND m.step = p.step AND m.visit = p.visit)
  AND NOT EXISTS (SELECT 1 FROM skip s WHERE s.participant_id = p.id AND s.step = p.step AND s.visit = p.visit)
ORDER BY p.priority, p.id
"""

TOGETHER = 25_000
"""So many people are a page: while one is written, the next is read and rendered."""


def plan(home: Home, lease: Lease, now: datetime, portion: Portion | None = None) -> int:
    """Plan a message, or a skip, for everyone who has arrived at a message step (of each campaign a portion). Gives how
    many people."""
    planned, portion = 0, portion or Portion(None)
    for campaign in home.moving_campaigns().values():
        with home.troubles.contained(lease, campaign.name, "planning messages", now):
            for people in _planned(home, lease, campaign, now, portion):
                planned += people
    return planned


def _planned(home: Home, lease: Lease, campaign: Campaign, now: datetime, portion: Portion) -> Iterator[int]:
    """Plan for a campaign's portion, page by page. Gives how many people each had."""
    steps = campaign.message_steps()
    pages = enumerate(due(home, campaign, to_us(now), steps, together=TOGETHER))
    # Each page is asked for while the one before is read, or written.
    wanted = takewhile(lambda page: portion.more(campaign.name, TOGETHER if page[0] else 0), pages)
    for step, people in ahead(lambda page: _arrived(home, campaign, steps[page[1].step], page[1], now), wanted):
        if people.height:
            write(home, lease, campaign, step, _decided(home, campaign, step, people, now), now)
        portion.took(campaign.name, people.height)
        yield people.height


def _arrived(
    home: Home, campaign: Campaign, step: MessageStep, one: Due, now: datetime
) -> tuple[MessageStep, pl.DataFrame]:  # fmt: skip
    """Whoever of `one` has arrived at its step, rendered: what does not depend on what others get, so that it may be
    looked up while the page before is written."""
    group = home.ledger.frame(ARRIVED_SQL, ARRIVED, one.params())
    return step, rendered_for(home, campaign, step, group, now) if group.height else group


def decided(home: Home, campaign: Campaign, step: MessageStep, group: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """What everyone of `group` (ARRIVED) is to be sent at `step`, and when, or why nothing: all but codes."""
    return _decided(home, campaign, step, rendered_for(home, campaign, step, group, now), now)


def _decided(home: Home, campaign: Campaign, step: MessageStep, people: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """What becomes of rendered people; how many messages a person has had is looked up now."""
    return _timed(home, campaign, step, _in_time(limited(home, campaign, step, people, now), now), now)


def _in_time(people: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Who has come too late for the entry's `not_after` gets no message."""
    late = (pl.col("not_after") < to_us(now)).fill_null(False) & pl.col("skip_reason").is_null()
    return people.with_columns(
        skip_reason=pl.when(late).then(pl.lit(SkipReason.too_late.value)).otherwise("skip_reason"),
        skip_detail=pl.when(late).then(pl.lit("after the entry's not_after")).otherwise("skip_detail"),
    )


def _timed(home: Home, campaign: Campaign, step: MessageStep, people: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """When each message may go out, whether it is held until then, how long it waits, and what it is likely to cost."""
    at = to_us(now)
    people = people.with_columns(moment=pl.lit(at, pl.Int64))
    going = people.filter(pl.col("skip_reason").is_null()).select("participant_id", "contact_id", "timezone", "moment")
    times = going.select("participant_id").hstack(times_of(home, rule_of(home, campaign), going, now).get_columns())
    people = people.join(times, on="participant_id", how="left", maintain_order="left")
    silent = pl.col("held_why").is_null() & (pl.col("due_at") > at)
    expires = pl.lit(at + step.message.expires // timedelta(microseconds=1), pl.Int64)
    day = civil_time(now, ZoneInfo(home.project.settings.timezone)).date()
    wanted = campaign.settings.stop_if.cost_above
    card = home.project.rates
    currency = wanted[1] if wanted is not None and wanted[1] in card.currencies else None
    cost = prices(card, people.get_column("phone"), people.get_column("category"), day, currency)
    return people.with_columns(
        *cost.get_columns(),
        held_why=pl.when(silent).then(pl.lit(Held.silent_hours.value)).otherwise("held_why"),
        expires_at=expiry(expires, pl.col("due_at"), pl.col("moment"), pl.col("not_after")),
    )


def write(
    home: Home,
    lease: Lease,
    campaign: Campaign,
    step: MessageStep,
    people: pl.DataFrame,
    now: datetime,
    author: str | None = None,
    then: Callable[[sa.Connection], None] | None = None,
) -> None:
    """Write what was `decided`, by whom where a person wrote it by hand, and what else is to be true with it (`then`,
    in each transaction). The next chunk is made ready while one is written. Codes are looked up before, so that bodies
    are on disk when a transaction begins, and are claimed in it; where somebody else has claimed one meanwhile, the
    chunk is made anew."""
    at = to_us(now)
    coded = _with_codes(home, step, people, at)
    parts = list(chunks(people.height, pause=0.0))
    made = ahead(lambda part: chunk_of(home, campaign, step, coded[part], at, author), parts)
    for number, chunk in zip(home.ledger.chunks(len(parts), 1), made, strict=True):
        while True:
            try:
                with home.ledger.write(lease) as tx:
                    ids = write_chunk(tx, home, campaign, step, chunk, at)
                    recall(tx, campaign, ids.start, ids.stop - 1, at)
                    # Who was dropped by hand since they were looked at gets nothing.
                    cancel_of_left(tx, ids)
                    if then is not None:
                        then(tx)
                break
            except ClaimLost:
                again = _with_codes(home, step, people[parts[number.start]], at)
                chunk = chunk_of(home, campaign, step, again, at, author)


def _with_codes(home: Home, step: MessageStep, people: pl.DataFrame, at: int) -> pl.DataFrame:
    with home.ledger.read() as tx:
        return with_codes(tx, step, people, at)
