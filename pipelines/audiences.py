"""Audience entries: schedules that are due, their segment evaluated once, and its rows let in at their time.

What belongs here: making occurrences, keeping their rows, and how far each has come. When an occurrence is due and when
each contact enters is `journey.schedule`; who is in a segment is `resources.segments`, who comes in `letting_in`.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import polars as pl
import sqlalchemy as sa

from journey.campaign import AudienceEntry, Campaign
from journey.clock import from_us, to_us
from journey.entry import INSTANT, candidates
from journey.growth import LAST
from journey.problems import SegmentError
from journey.schedule import CONTACT, Occurrence, due_occurrence, enter_times, too_late
from journey.words import EntryKind, EntryOutcome
from pipelines.letting_in import Entered, ask_before, let_in, taken_over
from pipelines.portion import Portion
from resources.home import Home
from resources.ledger import Lease
from resources.tables import campaign as campaigns
from resources.tables import occurrence as occurrences
from resources.tables import schedule as schedules

RUN = "run "
"""How the names of occurrences begin that were asked for by hand."""

AUDIENCE = {
    "contact_id": pl.String,
    "enter_at": INSTANT,
    "not_after": INSTANT,
    "outcome": pl.String,
    "attributes": pl.String,
}

Row = sa.Row[Any]


def add_occurrence(home: Home, campaign: Campaign, now: datetime) -> list[int]:
    """What `run` asks for: one occurrence now of every audience entry. Gives their ids."""
    made = []
    with home.ledger.write() as tx:
        for place, _ in campaign.audiences():
            name = f"{RUN}{now:%Y-%m-%dT%H:%M:%S.%fZ}"
            same = tx.execute(
                sa.select(sa.func.count())
                .select_from(occurrences)
                .where(
                    occurrences.c.campaign == campaign.name,
                    occurrences.c.entry == place,
                    occurrences.c.name.startswith(name),
                )
            ).scalar_one()
            row = tx.execute(
                occurrences.insert().values(
                    campaign=campaign.name,
                    entry=place,
                    kind="audience",
                    name=f"{name} {same + 1}" if same else name,
                    evaluate_at=to_us(now),
                )
            )
            assert row.inserted_primary_key is not None
            made.append(int(row.inserted_primary_key[0]))
    return made


def enter_by_schedule(
    home: Home, lease: Lease, running: Mapping[str, Campaign], portion: Portion, now: datetime, result: Entered
) -> None:  # fmt: skip
    """Make the occurrences of `running` campaigns that are due, and let in whose time has come, of each campaign a
    portion."""
    for campaign in running.values():
        with home.troubles.contained(lease, campaign.name, "looking for what its schedules are due for", now):
            for place, entry in campaign.audiences():
                _make_due(home, lease, campaign, place, entry, now)
    with home.ledger.read() as tx:
        open_rows = tx.execute(
            sa.select(occurrences).where(occurrences.c.done_at.is_(None)).order_by(occurrences.c.id)
        ).all()
    for row in open_rows:
        if row.campaign not in running or row.campaign in result.stopped or home.troubles.rests(row.campaign):
            continue
        if row.next_at is not None and row.next_at > to_us(now):
            continue
        if not portion.more(row.campaign):
            continue
        with home.troubles.contained(lease, row.campaign, f"letting in the audience of {row.name}", now):
            _deal_with(home, lease, row, running[row.campaign], portion, now, result)


def _deal_with(
    home: Home, lease: Lease, row: Row, campaign: Campaign, portion: Portion, now: datetime, result: Entered
) -> None:  # fmt: skip
    """One occurrence that is due: its segment is evaluated where it was not yet, and whose time has come is let in."""
    audience = dict(campaign.audiences()).get(row.entry)
    if audience is None:  # the entry was taken out of the file
        _finish(home, lease, row.id, now)
        return
    if row.audience_file is None:
        try:
            _evaluate(home, lease, row, audience, now, result)
        except SegmentError as error:
            result.failed[audience.segment] = str(error)
            return
    _let_in(home, lease, row.id, campaign, audience, portion, now, result)


def _make_due(home: Home, lease: Lease, campaign: Campaign, place: int, entry: AudienceEntry, now: datetime) -> None:
    if entry.when is None:
        return
    mine = (occurrences.c.campaign == campaign.name) & (occurrences.c.entry == place)
    with home.ledger.read() as tx:
        since = tx.execute(
            sa.select(schedules.c.since).where(schedules.c.campaign == campaign.name, schedules.c.entry == place)
        ).scalar_one()
        last = tx.execute(
            sa.select(occurrences.c.name)
            .where(mine, ~occurrences.c.name.startswith(RUN))
            .order_by(occurrences.c.id.desc())
            .limit(1)
        ).scalar_one_or_none()
    due = due_occurrence(
        entry.when,
        home.project.settings.timezone,
        live_since=from_us(since),
        last=last,
        zones=home.zones() if entry.when.timezone == CONTACT else (),
        now=now,
    )
    if due is None:
        return
    with home.ledger.write(lease) as tx:
        tx.execute(
            occurrences.insert()
            .prefix_with("OR IGNORE", dialect="sqlite")
            .values(
                campaign=campaign.name,
                entry=place,
                kind=entry.kind,
                name=due.name,
                evaluate_at=to_us(due.evaluate_at),
            )
        )


def _evaluate(home: Home, lease: Lease, row: Row, entry: AudienceEntry, now: datetime, result: Entered) -> None:
    """Evaluate an occurrence's segment, once: its rows are kept, in the order in which they enter."""
    audience = home.audience(entry.segment, now)
    result.segments[entry.segment] = audience
    people = audience.frame
    extra = [name for name in people.columns if name != "contact_id"]
    attributes = pl.struct(extra).struct.json_encode() if extra else pl.lit(None, pl.String)
    people = people.select("contact_id", attributes=attributes)
    if entry.when is not None and entry.when.timezone == CONTACT:
        zones = home.contacts.frame(["contact_id", "timezone"], people["contact_id"])
        people = people.join(zones, on="contact_id", how="left", maintain_order="left")
    else:
        people = people.with_columns(timezone=pl.lit(None, pl.String))
    name, evaluate_at = row.name, from_us(row.evaluate_at)
    if entry.when is None or name.startswith(RUN):
        timed = people.with_columns(
            enter_at=pl.lit(evaluate_at, INSTANT), not_after=pl.lit(None, INSTANT), outcome=pl.lit(None, pl.String)
        )
    else:
        local = datetime.fromisoformat(name) if entry.when.timezone == CONTACT else None
        timed = enter_times(people, Occurrence(name, evaluate_at, local), entry.when, home.project.settings.timezone)
    rows = timed.select(list(AUDIENCE)).sort("enter_at", maintain_order=True)
    file = home.lake.put("audience", rows, at="enter_at")
    with home.ledger.write(lease) as tx:
        tx.execute(
            occurrences.update()
            .where(occurrences.c.id == row.id, occurrences.c.audience_file.is_(None))
            .values(
                audience_file=home.lake.register(tx, file),
                rows=rows.height,
                left_out=audience.left_out,
                next_at=file.min_at,
                done_at=None if rows.height else to_us(now),
            )
        )


def _let_in(
    home: Home, lease: Lease, occurrence_id: int, campaign: Campaign, entry: AudienceEntry, portion: Portion,
    now: datetime, result: Entered,
) -> None:  # fmt: skip
    """Deal with the next rows of an evaluated occurrence whose time has come. They are in the order of their times, so
    the first of those left says when it goes on."""
    this = occurrences.c.id == occurrence_id
    with home.ledger.read() as tx:
        row = tx.execute(sa.select(occurrences).where(this)).one()
        resumed = tx.execute(sa.select(campaigns.c.resumed_at).where(campaigns.c.name == campaign.name)).scalar()
    if row.done_at is not None:
        return
    asking = occurrences.update().where(this).values(asked_at=to_us(now))
    earlier = earlier_sizes(home, row) if row.asked_at is None and row.position == 0 else []
    if row.asked_at is None and ask_before(home, lease, campaign, row.rows, asking, now, result, earlier):
        return
    room = portion.room(campaign.name)
    rows = pl.scan_parquet(home.lake.path(row.audience_file), glob=False)
    next_rows = rows.slice(row.position, None if room is None else room + 1).collect()
    people = next_rows.filter(pl.col("enter_at") <= now).head(next_rows.height if room is None else room)
    left = next_rows["enter_at"][people.height :].to_physical()
    next_at = left[0] if left.len() else None
    if entry.when is not None:
        # Who was kept waiting for a yes is not late by that.
        since = max(resumed or 0, 0) if row.asked_at is not None else 0
        timed = people.with_columns(pl.max_horizontal("enter_at", pl.lit(from_us(since), INSTANT)))
        late = timed.select(pl.when(too_late(entry.when.late, now)).then(pl.lit(EntryOutcome.too_late.value)))
        people = people.with_columns(outcome=pl.coalesce("outcome", late.to_series()))

    def then(tx: sa.Connection, part: slice) -> None:
        last = part.stop == people.height
        done = last and left.is_empty()
        values = {"next_at": next_at if last else row.next_at, "done_at": to_us(now) if done else None}
        tx.execute(occurrences.update().where(this).values(position=row.position + part.stop, **values))

    found = candidates(people.with_columns(place=pl.lit(row.entry), occurrence=pl.lit(row.name)))
    let_in(home, lease, campaign, EntryKind.audience, taken_over(home, found), now, result, then)
    portion.took(campaign.name, people.height)
    if next_at is not None and next_at <= to_us(now):
        portion.more(campaign.name)


def earlier_sizes(home: Home, row: Row) -> list[int]:
    """How many people the last occurrences of an occurrence's entry had, the newest first."""
    mine = (occurrences.c.campaign == row.campaign) & (occurrences.c.entry == row.entry) & (occurrences.c.id < row.id)
    evaluated = sa.select(occurrences.c.rows).where(mine, occurrences.c.audience_file.is_not(None))
    with home.ledger.read() as tx:
        return [int(rows) for rows in tx.execute(evaluated.order_by(occurrences.c.id.desc()).limit(LAST)).scalars()]


def _finish(home: Home, lease: Lease, occurrence_id: int, now: datetime) -> None:
    with home.ledger.write(lease) as tx:
        tx.execute(occurrences.update().where(occurrences.c.id == occurrence_id).values(done_at=to_us(now)))
