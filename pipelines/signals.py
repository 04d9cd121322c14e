"""Signals: events that come in meet people who are inside, or were.

What belongs here: looking at each batch of events once for `exit_on`, goals, `wait_for` and clicks, and looking back
for who has just entered or arrived. What follows from an event is `journey.listening`; that a click or an answer moves
somebody is decided where they stand (`advance`).

How far the events have been looked at is kept by campaign (`journeys:NAME`) and moves last: what a crash cuts short is
done again, and everything written here says the same the second time. A campaign with a hole keeps its place and
catches up. Drafts listen too: people who were let in before still reach their goals.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import polars as pl
import sqlalchemy as sa

from journey.campaign import Campaign
from journey.clock import from_us, to_us
from journey.conditions import NUMBER, Clock
from journey.listening import KEYS, MATCHES, PEOPLE, Rules, branches_met, leaving, meet, of_same_key, reached
from journey.words import LeaveReason
from resources.clicks import CLICKED, take_in_clicks
from resources.containing import reaches_further
from resources.events import EventMark
from resources.home import Home
from resources.leaving import leave
from resources.ledger import Lease, chunks, mark_dirty, select_in
from resources.matching import key_texts, matching_each

CURSOR = "journeys:"
CLICKS = "clicks"
ENTERED = "entered"  # its `position`: the last participant looked back for
PEOPLE_AT_ONCE = 20_000
NEVER = 2**62

_PEOPLE = """
SELECT id, campaign, contact_id, key_name, key, occurrence, entered_at, since, arrived_at, step, visit, state,
  left_at IS NOT NULL
FROM participant
WHERE campaign IN (SELECT value FROM json_each(:campaigns))
"""
_OF_CONTACTS = f"""{_PEOPLE} AND contact_id IN (SELECT value FROM json_each(:ids))
  AND (left_at IS NULL OR entered_at >= :oldest)"""
_BY_ID = f"{_PEOPLE} AND id IN (SELECT value FROM json_each(:ids))"
_ENTERED = f"{_PEOPLE} AND id > :start ORDER BY id LIMIT :most"
# The earliest counts, whichever comes first.
_MET = """
INSERT INTO met (participant_id, step, visit, branch, event_id, met_at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (participant_id, step, visit, branch) DO UPDATE SET event_id = excluded.event_id, met_at = excluded.met_at
WHERE excluded.met_at < met.met_at OR (excluded.met_at = met.met_at AND excluded.event_id < met.event_id)
"""
_MET_NOW = """
SELECT p.id, t.event_id FROM participant p
CROSS JOIN met t ON t.participant_id = p.id AND t.step = p.step AND t.visit = p.visit
WHERE p.left_at IS NULL AND p.campaign = ? ORDER BY 1
"""
_NO_LONGER_MET = """
DELETE FROM met WHERE participant_id = ? AND event_id = ? AND (step, visit) = (
  SELECT p.step, p.visit FROM participant p WHERE p.id = met.participant_id)
"""
_GOAL = """
INSERT INTO goal (campaign, goal, participant_id, contact_id, arm, event_id, reached_at, value)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (participant_id, goal) DO UPDATE
SET event_id = excluded.event_id, reached_at = excluded.reached_at, value = excluded.value
WHERE excluded.reached_at < goal.reached_at
  OR (excluded.reached_at = goal.reached_at AND excluded.event_id < goal.event_id)
"""
_CURSOR = """
INSERT INTO event_cursor (name, batch, file_id, position) VALUES (?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET batch = excluded.batch, file_id = excluded.file_id, position = excluded.position
"""


def look_at_events(home: Home, lease: Lease, now: datetime) -> int:
    """Look at the events that came in since the last time. Gives how many passages they ended or met, goals reached
    and clicks counted. To be called after taking in and before anybody moves."""
    done = look_back(home, lease, now)  # what a crash has left between entering and looking back
    campaigns = {name: one for name, one in _listening(home).items() if not home.troubles.rests(name)}
    with home.ledger.read() as tx:
        mark = home.events.mark(tx)
        seen = {
            str(row.name): EventMark(row.batch, row.file_id)
            for row in tx.exec_driver_sql("SELECT name, batch, file_id FROM event_cursor WHERE name <> ?", (ENTERED,))
        }
    # A campaign seen for the first time has nobody inside, so nothing before now is for it.
    cursors = {name: seen.get(CURSOR + name, mark) for name in campaigns}
    behind = {name: cursor for name, cursor in cursors.items() if cursor.batch < mark.batch}
    failed: set[str] = set()
    for cursor in sorted(set(behind.values()), key=lambda one: one.batch):
        theirs = {name: campaigns[name] for name, mark_of in behind.items() if mark_of == cursor}
        try:
            done += _look_from(home, lease, cursor, theirs.values(), now)
        except Exception as error:
            if reaches_further(error):
                raise
            for name, campaign in theirs.items():  # one of them it is; what is written twice says the same
                with home.troubles.contained(lease, name, "looking at events for those inside", now):
                    done += _look_from(home, lease, cursor, [campaign], now)
                    continue
                failed.add(name)
    clicked = seen.get(CLICKS, EventMark())
    if clicked.batch < mark.batch:
        for events in home.events.parts_since(clicked, [CLICKED]):
            done += take_in_clicks(home.ledger, lease, _timed(events), to_us(now))
    moved = [CURSOR + name for name in campaigns if seen.get(CURSOR + name) != mark and name not in failed]
    moved += [CLICKS] if clicked != mark else []
    if moved:
        _move(home, lease, [(name, mark.batch, mark.file_id, 0) for name in moved])
    return done


def _look_from(home: Home, lease: Lease, cursor: EventMark, campaigns: Iterable[Campaign], now: datetime) -> int:
    rules = Rules(campaigns)
    done = 0
    for events in home.events.parts_since(cursor, rules.names()):
        done += _take(home, lease, _concerned(home, rules, events, None, now), events, now)
    return done


def look_back(home: Home, lease: Lease, now: datetime) -> int:
    """Look back for who has entered since the last time: events that came in before them, or with what let them in,
    may be after their `since`. Gives what `look_at_events` gives. To be called before they move."""
    with home.ledger.read() as tx:
        last = int(tx.exec_driver_sql("SELECT COALESCE(max(id), 0) FROM participant").scalar_one())
        position = tx.exec_driver_sql("SELECT position FROM event_cursor WHERE name = ?", (ENTERED,)).scalar()
        start = int(position or 0)
        if start >= last:
            return 0
        # An audience counts from now: mostly no event is that new, and nobody is read.
        first = "SELECT min(min(since, entered_at)) FROM participant WHERE id > ?"
        since = int(tx.exec_driver_sql(first, (start,)).scalar_one())
    done, whole = 0, True
    listening = _listening(home)
    try:
        done += _look_back(home, lease, listening.values(), start, last, since, now)
    except Exception as error:
        if reaches_further(error):
            raise
        for name, campaign in listening.items():
            if not home.troubles.rests(name):
                with home.troubles.contained(lease, name, "looking back for who has entered", now):
                    done += _look_back(home, lease, [campaign], start, last, since, now)
                whole = whole and not home.troubles.rests(name)
    if whole:  # else it is done once more for all: what is written twice says the same
        _move(home, lease, [(ENTERED, 0, 0, last)])
    return done


def _look_back(
    home: Home, lease: Lease, campaigns: Iterable[Campaign], start: int, last: int, since: int, now: datetime
) -> int:
    done = 0
    rules = Rules(campaigns)
    while rules.matches and start < last and home.events.any_from(since):
        people = _people(home, rules, _ENTERED, {"start": start, "most": PEOPLE_AT_ONCE})
        if people.is_empty():
            break
        since = people.select(pl.min_horizontal(pl.col("since").min(), pl.col("entered_at").min())).item()
        events = home.events.of(people["contact_id"].unique(), rules.names(), from_us(since))
        if events.height:
            done += _take(home, lease, _concerned(home, rules, events, people, now), events, now)
        start = people.select(pl.col("participant_id").max()).item()
    return done


def met_on_arrival(home: Home, campaign: Campaign, arrivals: pl.DataFrame, now: datetime) -> list[tuple[Any, ...]]:
    """What people who arrive at a `wait_for` now are met by already: rows for `write_met`, in the transaction that
    moves them. Usually none, and then no file is opened.

    `arrivals`: `participant_id`, `contact_id`, `to_step`, `visit`.
    """
    rules = Rules([campaign], waits=True)
    steps = rules.frame.get_column("rule_step").unique()
    arriving = arrivals.filter(pl.col("to_step").is_in(steps.implode()))
    rows: list[tuple[Any, ...]] = []
    for part in arriving.iter_slices(PEOPLE_AT_ONCE):
        events = home.events.of(part["contact_id"].unique(), rules.names(), now)
        if events.is_empty():
            continue
        people = _people(home, rules, _BY_ID, {"ids": _json(part["participant_id"])})
        places = part.select("participant_id", step="to_step", visit=pl.col("visit").cast(pl.Int64))
        people = people.drop("step", "visit").join(places, on="participant_id")
        people = people.with_columns(arrived_at=pl.lit(to_us(now), pl.Int64)).select(list(PEOPLE))
        rows += branches_met(_concerned(home, rules, events, people, now)).iter_rows()
    return rows


def meet_anew(home: Home, lease: Lease, campaign: Campaign, now: datetime) -> None:
    """Ask again which branches are met, of those who wait at a `wait_for` of a file that has changed and have been met
    by something: its branches may stand in another order, or ask for something else."""
    columns = {"participant_id": pl.Int64, "event_id": pl.String}
    known = home.ledger.frame(_MET_NOW, columns, (campaign.name,))
    rules = Rules([campaign], waits=True)
    for ids in known.get_column("participant_id").unique().sort().to_frame().iter_slices(PEOPLE_AT_ONCE):
        people = _people(home, rules, _BY_ID, {"ids": _json(ids.to_series())}) if rules.matches else None
        if people is None or people.is_empty():
            continue
        names, since = rules.names(), from_us(int(people.select(pl.col("arrived_at").min()).item()))
        events = home.events.of(people["contact_id"].unique(), names, since)
        mine = known.join(people, on="participant_id", how="semi")
        events = events.join(mine, on="event_id", how="semi")
        met = branches_met(_concerned(home, rules, events, people, now)).join(
            mine, on=["participant_id", "event_id"], how="semi"
        )
        for part in chunks(mine.height):
            with home.ledger.write(lease) as tx:
                tx.exec_driver_sql(_NO_LONGER_MET, list(mine[part].iter_rows()))
                write_met(tx, list(met.join(mine[part], on=["participant_id", "event_id"], how="semi").iter_rows()))


def write_met(tx: sa.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Keep which branches of a `wait_for` are met: (participant, step, visit, branch, event, when)."""
    if rows:
        tx.exec_driver_sql(_MET, list(rows))


def _listening(home: Home) -> dict[str, Campaign]:
    return {name: one for name, one in home.project.campaigns.items() if name not in home.project.holes}


def _concerned(
    home: Home, rules: Rules, events: pl.DataFrame, people: pl.DataFrame | None, now: datetime
) -> pl.DataFrame:
    """Which events concern which passages (`listening.meet`). `people` None: whoever the events are about."""
    clock = Clock(now, ZoneInfo(home.project.settings.timezone))
    matches = [pl.DataFrame(schema=MATCHES)]
    for (name,), group in _timed(events).partition_by("event", as_dict=True).items():
        asked = rules.of_event(str(name))
        answers = matching_each(group, list(asked.values()), clock)
        matches += [
            group.filter(answer).select(pl.lit(place, pl.Int64).alias("rule"), *list(MATCHES)[1:])
            for place, answer in zip(asked, answers, strict=True)
        ]
    matched = pl.concat(matches)
    met = _of_contacts(home, rules, matched) if people is None else meet(rules.frame, matched, people)
    keys = [pl.DataFrame(schema=KEYS)]
    for name in met["key_name"].drop_nulls().unique():
        carrying = events.join(met.filter(key_name=name), on="event_id", how="semi")
        keys.append(carrying.select("event_id", key_name=pl.lit(name, pl.String), key=key_texts(carrying, name)))
    return of_same_key(met, pl.concat(keys))


def _of_contacts(home: Home, rules: Rules, matched: pl.DataFrame) -> pl.DataFrame:
    contacts = matched["contact_id"].unique()
    earliest = matched["happened_at"].min()
    oldest = int(earliest) - rules.longest if rules.longest and isinstance(earliest, int) else NEVER
    found = [meet(rules.frame, matched.clear(), pl.DataFrame(schema=PEOPLE))]
    for start in range(0, contacts.len(), PEOPLE_AT_ONCE):
        ids = contacts[start : start + PEOPLE_AT_ONCE]
        people = _people(home, rules, _OF_CONTACTS, {"ids": _json(ids), "oldest": oldest})
        found.append(meet(rules.frame, matched, people))
    return pl.concat(found)


def _people(home: Home, rules: Rules, query: str, params: Mapping[str, object]) -> pl.DataFrame:
    campaigns = rules.frame.get_column("campaign").unique()
    return home.ledger.frame(query, PEOPLE, {**params, "campaigns": _json(campaigns)})


def _take(home: Home, lease: Lease, met: pl.DataFrame, events: pl.DataFrame, now: datetime) -> int:
    """Write what follows. Goals come before the ends that they bring: who has left is asked no more."""
    goals, gone, branches = reached(met), leaving(met), branches_met(met)
    values = _values(events.join(goals, on="event_id", how="semi"))
    goals = goals.join(values, on="event_id", how="left", maintain_order="left")
    for part in chunks(goals.height):
        with home.ledger.write(lease) as tx:
            tx.exec_driver_sql(_GOAL, list(goals[part].iter_rows()))
            ids = goals[part]["participant_id"].to_list()
            rows = select_in(tx, "SELECT id FROM goal WHERE participant_id IN :ids", ids)
            mark_dirty(tx, "goal", [int(row.id) for row in rows])
    for (reason,), group in gone.partition_by("reason", as_dict=True).items():
        for part in chunks(group.height):
            with home.ledger.write(lease) as tx:
                leave(tx, group[part]["participant_id"].to_list(), LeaveReason(str(reason)), to_us(now))
    for part in chunks(branches.height):
        with home.ledger.write(lease) as tx:
            write_met(tx, list(branches[part].iter_rows()))
            ids = branches[part]["participant_id"].to_list()
            woken = "UPDATE participant SET wake_at = :now WHERE left_at IS NULL AND id IN :ids RETURNING id"
            mark_dirty(tx, "participant", [int(row.id) for row in select_in(tx, woken, ids, now=to_us(now))])
    return goals.height + gone.height + branches.height


def _values(events: pl.DataFrame) -> pl.DataFrame:
    """What a goal's event is worth: its property `value`, else `amount`, where that is a number."""
    numbers = []
    for name in ("value", "amount"):
        text = pl.when(pl.col(name).str.contains(f"^({NUMBER})$")).then(name).cast(pl.Float64)
        numbers.append(key_texts(events, name).to_frame().select(pl.when(text.is_finite()).then(text)).to_series())
    return events.select("event_id", value=pl.coalesce(*numbers))


def _timed(events: pl.DataFrame) -> pl.DataFrame:
    """Events with `happened_at`: in microseconds, never after they were taken in."""
    return events.with_columns(happened_at=pl.min_horizontal("occurred_at", "taken_at").to_physical())


def _move(home: Home, lease: Lease, cursors: Sequence[tuple[str, int, int, int]]) -> None:
    with home.ledger.write(lease) as tx:
        tx.exec_driver_sql(_CURSOR, list(cursors))


def _json(values: pl.Series) -> str:
    return msgspec.json.encode(values.to_list()).decode()
