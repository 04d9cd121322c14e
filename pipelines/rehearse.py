"""Rehearse: what a campaign would do now, found by doing it on a throw-away home.

What belongs here: setting the throw-away home up so that the campaign's entries fire now, one turn on it (the very code
of a real pass), and reading what came of it. How it is shown and kept is `estafette.planning`.

An audience enters by an occurrence of now, as `run` would add it. A trigger gets the events of its last `max_age` once
more, as if they came now: the passages that they began are taken out of the copy before. An API entry can't be known
ahead. Nothing is sent, so everyone comes to rest at their first message or their first wait.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl
import sqlalchemy as sa

from journey.campaign import ApiEntry, AudienceEntry, Campaign, Entry, TriggerEntry
from journey.clock import to_us
from journey.words import EntryOutcome, SkipReason
from pipelines.audiences import add_occurrence, earlier_sizes
from pipelines.letting_in import ENTRIES
from pipelines.turn import turn
from resources.ledger import Lease
from resources.tables import campaign as campaigns
from resources.tables import event_cursor, lake_file, occurrence
from resources.throwaway import ThrowAway

INSTANT = pl.Datetime("us", "UTC")
PEOPLE: dict[str, pl.DataType] = {
    "participant_id": pl.Int64(),
    "contact_id": pl.String(),
    "entry": pl.String(),
    "occurrence": pl.String(),
    "step": pl.String(),
    "state": pl.String(),
    "reason": pl.String(),
    "wake_at": INSTANT,
}
"""Everyone who entered, where they came to rest."""

MESSAGES: dict[str, pl.DataType] = {
    "message_id": pl.Int64(),
    "participant_id": pl.Int64(),
    "contact_id": pl.String(),
    "phone": pl.String(),
    "step": pl.String(),
    "visit": pl.Int64(),
    "kind": pl.String(),
    "template": pl.String(),
    "language": pl.String(),
    "category": pl.String(),
    "state": pl.String(),
    "held_why": pl.String(),
    "due_at": INSTANT,
    "expires_at": INSTANT,
    "market": pl.String(),
    "price": pl.Int64(),
    "currency": pl.String(),
    "pool": pl.String(),
    "body_file": pl.Int64(),
    "body_row": pl.Int64(),
}
"""Their messages. `price` is in millionths of `currency`; `path` (the branches taken before) is added."""

SKIPS: dict[str, pl.DataType] = {
    "participant_id": pl.Int64(),
    "contact_id": pl.String(),
    "step": pl.String(),
    "visit": pl.Int64(),
    "reason": pl.String(),
    "detail": pl.String(),
}
_PEOPLE_SQL = """
SELECT id, contact_id, entry, occurrence, step, state, reason, wake_at
FROM participant WHERE campaign = ? AND id > ?
"""
_MESSAGES_SQL = """
SELECT m.id, m.participant_id, m.contact_id, m.phone, m.step, m.visit, m.kind, m.template, m.language, m.category,
  m.state, m.held_why, m.due_at, m.expires_at, m.market, m.price, m.currency, c.pool, m.body_file, m.body_row
FROM message m LEFT JOIN coupon c ON c.id = m.coupon_id
WHERE m.campaign = ? AND m.participant_id > ?
"""
_SKIPS_SQL = """
SELECT participant_id, contact_id, step, visit, reason, detail FROM skip WHERE campaign = ? AND participant_id > ?
"""
_POOLS_SQL = """
SELECT pool, count(*), sum(state = 'free' AND (expires_at IS NULL OR expires_at > ?)) FROM coupon GROUP BY pool
"""


@dataclass(frozen=True, slots=True)
class Audience:
    """What an audience entry found: `rows` people, and `left_out` rows without a known contact. `earlier`: how many it
    found the last times."""

    segment: str
    occurrence: str
    rows: int
    left_out: int
    earlier: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of coupons: codes there are, codes free now, and how many the rehearsal claimed (`needed`) or lacked."""

    name: str
    codes: int
    free: int
    needed: int
    lacked: int


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What came of it. `entries` as ENTRIES, `people` as PEOPLE, `messages` as MESSAGES with `path`, `skips` as SKIPS.
    `waiting` counts who is asked for and not known yet; `api`: the campaign has an entry that can't be known ahead."""

    campaign: Campaign
    now: datetime
    audiences: tuple[Audience, ...]
    triggers: tuple[TriggerEntry, ...]
    api: bool
    entries: pl.DataFrame
    people: pl.DataFrame
    messages: pl.DataFrame
    skips: pl.DataFrame
    waiting: int
    pools: tuple[Pool, ...] = field(default=())


def rehearse(home: ThrowAway, name: str) -> Rehearsal:
    """Let a campaign's entries fire now on a throw-away home. SegmentError: an audience can't be evaluated."""
    now = home.clock()
    campaign = home.only(name, _unscheduled)
    lease = home.ledger.take("pass", "rehearsal")
    assert lease is not None  # nobody else knows this ledger
    turn(home, lease)  # what is due anyhow; the campaign is known afterwards, with its cursors
    ids = add_occurrence(home, campaign, now) if campaign.audiences() else []
    _yes(home, name, ids, now)
    for place, entry in campaign.triggers():
        _again(home, lease, campaign, place, entry, now)
    with home.ledger.read() as tx:  # ids of passages that were taken out are given anew
        person, file, waiting = _last(tx, "participant"), _last(tx, "lake_file"), _waiting(tx, name)
        pools = {row[0]: (int(row[1]), int(row[2])) for row in tx.exec_driver_sql(_POOLS_SQL, (to_us(now),)).all()}
    found = turn(home, lease)
    for segment in found.entered.failed:
        home.segment(segment, now)  # raises what is wrong with it
    entries = _entries(home, campaign, file)
    with home.ledger.read() as tx:
        rows = tx.execute(sa.select(occurrence).where(occurrence.c.id.in_(ids)).order_by(occurrence.c.id)).all()
        waiting = _waiting(tx, name) - waiting
    names = [str(row.name) for row in rows]
    mine = (pl.col("entry") != "audience") | pl.col("occurrence").is_in(names)
    people = home.ledger.frame(_PEOPLE_SQL, PEOPLE, (name, person)).filter(mine)
    ours = people.select("participant_id")
    messages = home.ledger.frame(_MESSAGES_SQL, MESSAGES, (name, person)).join(ours, on="participant_id", how="semi")
    skips = home.ledger.frame(_SKIPS_SQL, SKIPS, (name, person)).join(ours, on="participant_id", how="semi")
    segments = [(dict(campaign.audiences())[row.entry].segment, row) for row in rows]
    return Rehearsal(
        campaign,
        now,
        tuple(
            Audience(segment, str(row.name), int(row.rows), int(row.left_out), tuple(earlier_sizes(home, row)))
            for segment, row in segments
        ),
        tuple(entry for _, entry in campaign.triggers()),
        any(isinstance(one, ApiEntry) for one in campaign.entries),
        entries.filter(mine),
        people,
        messages.join(_paths(home, file), on="participant_id", how="left", maintain_order="left"),
        skips,
        waiting,
        _pools(campaign, pools, messages, skips),
    )


def bodies(home: ThrowAway, messages: pl.DataFrame) -> pl.DataFrame:
    """The messages of a rehearsal with their rendered `body`."""
    return messages.with_columns(body=home.bodies.all(messages.select("body_file", "body_row")))


def _unscheduled(campaign: Campaign) -> Campaign:
    """The campaign without its schedules: what is planned is a run of now, and a schedule that is due just now would
    let the same people in before it. The rule for coming back stays the file's."""
    entries: list[Entry] = [
        one.model_copy(update={"when": None}) if isinstance(one, AudienceEntry) else one for one in campaign.entries
    ]
    return campaign.model_copy(update={"entries": tuple(entries)})


def _yes(home: ThrowAway, name: str, ids: Sequence[int], now: datetime) -> None:
    """Go on where a real run would stop to ask (`stop_if`), or is stopped: the numbers are what the asker wants."""
    at = to_us(now)
    with home.ledger.write() as tx:
        tx.execute(occurrence.update().where(occurrence.c.id.in_(ids)).values(asked_at=at))
        going = {"stopped_at": None, "stopped_why": None, "resumed_at": at}
        tx.execute(campaigns.update().where(campaigns.c.name == name).values(going))


def _again(home: ThrowAway, lease: Lease, campaign: Campaign, place: int, entry: TriggerEntry, now: datetime) -> None:
    """Have a trigger look at the events of its last `max_age` once more."""
    since = to_us(now - entry.max_age)
    begun = "SELECT id FROM participant WHERE campaign = ? AND entry = 'trigger' AND since >= ?"
    with home.ledger.write(lease) as tx:
        for table in ("message", "skip", "met", "goal"):
            tx.exec_driver_sql(f"DELETE FROM {table} WHERE participant_id IN ({begun})", (campaign.name, since))
        tx.exec_driver_sql(f"DELETE FROM participant WHERE id IN ({begun})", (campaign.name, since))
        tx.exec_driver_sql("DELETE FROM waiting_entry WHERE campaign = ? AND entry = ?", (campaign.name, place))
        recent = sa.or_(lake_file.c.max_at.is_(None), lake_file.c.max_at >= since)
        first = tx.execute(
            sa.select(sa.func.min(lake_file.c.id)).where(
                lake_file.c.name == "events", lake_file.c.dropped_at.is_(None), recent
            )
        ).scalar()
        if first is not None:
            cursor = event_cursor.c.name == f"trigger:{campaign.name}:{place}"
            tx.execute(event_cursor.update().where(cursor).values(batch=0, file_id=first - 1, position=0))


def _entries(home: ThrowAway, campaign: Campaign, file: int) -> pl.DataFrame:
    """Who was met at the entries since `file`. What a trigger found too old was not asked for."""
    frame = _since(home, "entries", ENTRIES, file)
    old = (pl.col("entry") == "trigger") & (pl.col("outcome") == EntryOutcome.too_old)
    return frame.filter(pl.col("campaign") == campaign.name, ~old)


def _paths(home: ThrowAway, file: int) -> pl.DataFrame:
    """participant_id, path: the branches that each took, in their order, e.g. `by_value 1, test b`."""
    columns = {"participant_id": pl.Int64, "from_step": pl.String, "branch": pl.String}
    moves = _since(home, "participant_steps", columns, file)
    one = pl.format("{} {}", "from_step", "branch")
    return moves.group_by("participant_id", maintain_order=True).agg(path=one.str.join(", "))


def _since(home: ThrowAway, name: str, schema: Mapping[str, Any], file: int) -> pl.DataFrame:
    """The rows of a table of the lake that were written after `file`, in the order of writing."""
    files = [home.lake.root / str(row.path) for row in home.lake.rows(name) if int(str(row.id)) > file]
    if not files:
        return pl.DataFrame(schema=schema)
    found = pl.scan_parquet(files, missing_columns="insert", extra_columns="ignore", glob=False)
    return found.select(list(schema)).collect()


def _pools(
    campaign: Campaign, before: dict[str, tuple[int, int]], messages: pl.DataFrame, skips: pl.DataFrame
) -> tuple[Pool, ...]:
    claimed = dict(messages.group_by("pool").len().drop_nulls().iter_rows())
    short = [str(SkipReason.coupons_exhausted), str(SkipReason.coupons_expired)]
    lacked = dict(skips.filter(pl.col("reason").is_in(short)).group_by("step").len().iter_rows())
    steps: dict[str, list[str]] = {}
    for step, one in campaign.message_steps().items():
        if one.message.kind == "template" and one.message.coupons is not None:
            steps.setdefault(one.message.coupons.pool, []).append(step)
    return tuple(
        Pool(pool, *before.get(pool, (0, 0)), claimed.get(pool, 0), sum(lacked.get(step, 0) for step in names))
        for pool, names in steps.items()
    )


def _waiting(tx: sa.Connection, name: str) -> int:
    return int(tx.exec_driver_sql("SELECT count(*) FROM waiting_entry WHERE campaign = ?", (name,)).scalar_one())


def _last(tx: sa.Connection, table: str) -> int:
    return int(tx.exec_driver_sql(f"SELECT COALESCE(max(id), 0) FROM {table}").scalar_one())
