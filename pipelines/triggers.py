"""Trigger entries: events that came in start journeys.

What belongs here: how far each trigger has looked at the events, and asking which of the new ones are its entries.
Which events are entries is `journey.trigger`, who comes in `letting_in`.

Every trigger keeps its place by batch; all triggers of a campaign come in together, by batch and then by when their
events occurred. `position` of a cursor says how many people of the batches after it have been dealt with; it moves in
the transaction of those people, and what is after it is found again in the same order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import polars as pl
import sqlalchemy as sa

from journey.campaign import Campaign, TriggerEntry
from journey.conditions import Clock
from journey.entry import CANDIDATES
from journey.trigger import ORDER, entries
from journey.words import EntryKind
from pipelines.letting_in import Entered, known_people, let_in
from pipelines.places import TRIGGER, cursor_name
from resources.containing import reaches_further
from resources.events import EventMark
from resources.home import Home
from resources.ledger import Lease
from resources.matching import key_texts, matching_each
from resources.tables import event_cursor as cursors

TOGETHER = 500_000
"""Events that are looked at together at most: what a campaign that stood catches up with may not fit into memory."""


@dataclass(frozen=True, slots=True)
class Looking:
    """A trigger that has not looked at all events: its campaign and place, and how far it has come."""

    campaign: Campaign
    place: int
    entry: TriggerEntry
    mark: EventMark
    position: int

    @property
    def name(self) -> str:
        return cursor_name(self.campaign.name, self.place)


def enter_by_events(
    home: Home, lease: Lease, running: Mapping[str, Campaign], now: datetime, result: Entered
) -> None:  # fmt: skip
    """Let in whom new events bring into `running` campaigns. Without new events two small queries."""
    while True:
        newest, behind = _behind(home, {n: one for n, one in running.items() if not home.troubles.rests(n)})
        if not behind:
            return
        oldest = min((one.mark for one in behind), key=lambda mark: mark.batch)
        near = home.events.reach(oldest, {one.entry.event for one in behind}, TOGETHER)
        # Files registered after `file_id` hold what is newer; so it stays until everything is looked at.
        until = newest if near >= newest.batch else EventMark(near, oldest.file_id)
        some = [one for one in behind if one.mark.batch < until.batch]
        try:
            _look_at(home, lease, some, oldest, until, until == newest, now, result)
        except Exception as error:
            if reaches_further(error):
                raise
            # One of them it is, and the others go on. What they have dealt with already stands in their cursors.
            for name in dict.fromkeys(one.campaign.name for one in some):
                _, left = _behind(home, {name: running[name]})
                mine = [one for one in left if one.mark.batch < until.batch]
                with home.troubles.contained(lease, name, "looking at the events for its triggers", now):
                    if mine:
                        _look_at(home, lease, mine, oldest, until, until == newest, now, result)


def _look_at(
    home: Home, lease: Lease, behind: Sequence[Looking], oldest: EventMark, until: EventMark, whole: bool,
    now: datetime, result: Entered,
) -> None:  # fmt: skip
    """Deal with the events after `oldest`, up to `until`; `whole`: these are all there are."""
    events = home.events.since(oldest, {one.entry.event for one in behind}, until.batch)
    clock = Clock(now, ZoneInfo(home.project.settings.timezone))
    found, rest = _entries(behind, events, clock)
    if whole:  # conditions may have matched more when the pass was cut short; what comes next is new all the same
        rest = dict.fromkeys(rest, 0)
    idle = [one for one in behind if one.campaign.name not in found]
    if idle:
        with home.ledger.write(lease) as tx:
            _move_on(tx, idle, until, rest)
    for name, people in found.items():
        mine = [one for one in behind if one.campaign.name == name]
        _let_in(home, lease, mine, people, until, rest, now, result)


def _behind(home: Home, running: Mapping[str, Campaign]) -> tuple[EventMark, list[Looking]]:
    """The mark of now, and the triggers that are not there yet."""
    with home.ledger.read() as tx:
        mark = home.events.mark(tx)
        rows = {row.name: row for row in tx.execute(sa.select(cursors).where(cursors.c.name.startswith(TRIGGER)))}
    found = []
    for campaign in running.values():
        for place, entry in campaign.triggers():
            row = rows.get(cursor_name(campaign.name, place))
            if row is not None and row.batch < mark.batch:
                found.append(Looking(campaign, place, entry, EventMark(row.batch, row.file_id), row.position))
    return mark, found


def _entries(
    behind: Sequence[Looking], events: pl.DataFrame, clock: Clock
) -> tuple[dict[str, pl.DataFrame], dict[str, int]]:
    """Who is to come in, campaign by campaign (CANDIDATES, in order); campaigns without anybody are left out. And how
    many, by the cursor's name, have been dealt with beyond these events: a pass that was cut short looked at more."""
    found: dict[str, list[pl.DataFrame]] = {}
    rest = {one.name: one.position for one in behind}
    for (event,), group in events.partition_by("event", as_dict=True, maintain_order=True).items():
        asking = [one for one in behind if one.entry.event == event]
        answers = matching_each(group, [one.entry.where for one in asking], clock)
        for one, answer in zip(asking, answers, strict=True):
            matches = group.filter(answer & (group["batch"] > one.mark.batch))
            if matches.is_empty():
                continue
            keys = None if one.entry.key is None else key_texts(matches, one.entry.key)
            people = entries(one.entry, one.place, matches, keys, clock)
            rest[one.name] = max(0, one.position - people.height)
            found.setdefault(one.campaign.name, []).append(people.slice(one.position))
    whole = {name: pl.concat(parts).sort(*ORDER, "place", maintain_order=True) for name, parts in found.items()}
    return {name: people.select(list(CANDIDATES)) for name, people in whole.items() if people.height}, rest


def _let_in(
    home: Home, lease: Lease, mine: Sequence[Looking], people: pl.DataFrame, until: EventMark,
    rest: Mapping[str, int], now: datetime, result: Entered,
) -> None:  # fmt: skip
    people = known_people(home, people)

    def then(tx: sa.Connection, part: slice) -> None:
        if part.stop == people.height:
            _move_on(tx, mine, until, rest)
            return
        dealt = dict(people[: part.stop]["place"].value_counts().iter_rows())
        for one in mine:
            position = one.position + dealt.get(one.place, 0)
            tx.execute(cursors.update().where(cursors.c.name == one.name).values(position=position))

    let_in(home, lease, mine[0].campaign, EntryKind.trigger, people, now, result, then)


def _move_on(tx: sa.Connection, looking: Sequence[Looking], mark: EventMark, rest: Mapping[str, int]) -> None:
    for one in looking:
        values = {"batch": mark.batch, "file_id": mark.file_id, "position": rest[one.name]}
        tx.execute(cursors.update().where(cursors.c.name == one.name).values(**values))
