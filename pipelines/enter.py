"""Enter: who comes into a campaign now, by which occurrence, and why the others do not.

What belongs here: making occurrences of schedules, evaluating their segment once, and letting its rows in at their
time. When an occurrence is due and when each contact enters is `journey.entry`; who is in a segment is
`resources.segments`. Every row of an audience leaves a row of `entries` with its outcome.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import polars as pl
import sqlalchemy as sa

from journey.campaign import AudienceEntry, Campaign, ReEntry
from journey.clock import from_us, to_us
from journey.entry import CONTACT, Occurrence, due_occurrence, enter_times, re_entry_rule, too_late
from journey.problems import SegmentError
from journey.words import EntryOutcome, ParticipantState
from resources.home import Home
from resources.ledger import Lease, chunks, mark_dirty
from resources.segments import Audience
from resources.tables import campaign as campaigns
from resources.tables import occurrence as occurrences
from resources.tables import participant as participants
from resources.tables import schedule as schedules

BULK_PRIORITY = 1

INSTANT = pl.Datetime("us", "UTC")
AUDIENCE = {
    "contact_id": pl.String,
    "enter_at": INSTANT,
    "not_after": INSTANT,
    "outcome": pl.String,
    "attributes": pl.String,
}
ENTRIES = {
    "campaign": pl.String,
    "entry": pl.String,
    "occurrence": pl.String,
    "contact_id": pl.String,
    "event_id": pl.String,
    "request_uuid": pl.String,
    "outcome": pl.String,
    "detail": pl.String,
    "participant_id": pl.Int64,
    "met_at": INSTANT,
}
_HISTORY = {"contact_id": pl.String, "inside": pl.Boolean, "recent": pl.Int64}


@dataclass
class Entered:
    """What one pass let in. `segments` holds each evaluated audience (for its metadata), `failed` what could not be."""

    entered: int = 0
    refused: int = 0
    segments: dict[str, Audience] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def know_campaigns(home: Home, lease: Lease, now: datetime) -> dict[str, Campaign]:
    """Remember when each live campaign, and each of its schedules, was first seen. Gives the live campaigns."""
    live = home.project.live_campaigns()
    at = to_us(now)
    with home.ledger.write(lease) as tx:
        known = {row.name: row for row in tx.execute(sa.select(campaigns))}
        seen = {(r.campaign, r.entry): r.digest for r in tx.execute(sa.select(schedules))}
        for name, campaign in live.items():
            if name not in known:
                tx.execute(campaigns.insert().values(name=name, version=campaign.version, live_since=at, live=True))
            elif (known[name].version, known[name].live) != (campaign.version, True):
                values = {"version": campaign.version, "live": True}
                tx.execute(campaigns.update().where(campaigns.c.name == name).values(**values))
                _wake_stranded(tx, campaign, at)
            for place, entry in campaign.audiences():
                digest = _digest(entry)
                if seen.get((name, place)) != digest:
                    tx.execute(schedules.delete().where(schedules.c.campaign == name, schedules.c.entry == place))
                    tx.execute(schedules.insert().values(campaign=name, entry=place, digest=digest, since=at))
        resting = [name for name, row in known.items() if row.live and name not in live]
        if resting:  # a draft, a hole, a file that is gone: nothing of it is sent until it is live again
            tx.execute(campaigns.update().where(campaigns.c.name.in_(resting)).values(live=False))
    return live


def _wake_stranded(tx: sa.Connection, campaign: Campaign, at: int) -> None:
    """Who stands on a step that the new version no longer has is looked at now: their passage ends."""
    rows = tx.execute(
        participants.update()
        .where(
            participants.c.campaign == campaign.name,
            participants.c.left_at.is_(None),
            participants.c.step.not_in(list(campaign.steps)),
        )
        .values(wake_at=at)
        .returning(participants.c.id)
    )
    mark_dirty(tx, "participant", list(rows.scalars()))


def add_occurrence(home: Home, campaign: Campaign, now: datetime) -> list[int]:
    """What `run` asks for: one occurrence now of every audience entry. Gives their ids."""
    made = []
    with home.ledger.write() as tx:
        for place, _ in campaign.audiences():
            name = f"run {now:%Y-%m-%dT%H:%M:%S.%fZ}"
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


def enter(home: Home, lease: Lease, now: datetime) -> Entered:
    """Make the occurrences that are due and let in everyone whose time has come."""
    result = Entered()
    live = know_campaigns(home, lease, now)
    stopped = home.stopped_campaigns()
    running = {name: campaign for name, campaign in live.items() if name not in stopped}
    for campaign in running.values():
        for place, entry in campaign.audiences():
            _make_due(home, lease, campaign, place, entry, now)
    with home.ledger.read() as tx:
        open_rows = tx.execute(
            sa.select(occurrences).where(occurrences.c.done_at.is_(None)).order_by(occurrences.c.id)
        ).all()
    for row in open_rows:
        if row.campaign not in running or (row.next_at is not None and row.next_at > to_us(now)):
            continue
        campaign = running[row.campaign]
        entry = dict(campaign.audiences()).get(row.entry)
        if entry is None:  # the entry was taken out of the file
            _finish(home, lease, row.id, now)
            continue
        if row.audience_file is None:
            try:
                _evaluate(home, lease, row, entry, now, result)
            except SegmentError as error:
                result.failed[entry.segment] = str(error)
                continue
        _let_in(home, lease, row.id, campaign, entry, now, result)
    return result


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
            .where(mine, ~occurrences.c.name.startswith("run "))
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


def _evaluate(
    home: Home, lease: Lease, row: sa.Row[tuple[object, ...]], entry: AudienceEntry, now: datetime, result: Entered
) -> None:
    """Evaluate an occurrence's segment, once: its rows are kept, in the order in which they enter."""
    audience = home.segment(entry.segment, now)
    result.segments[entry.segment] = audience
    people = audience.frame
    extra = [name for name in people.columns if name != "contact_id"]
    attributes = pl.struct(extra).struct.json_encode() if extra else pl.lit(None, pl.String)
    zones = home.contacts.frame(columns=["contact_id", "timezone"])
    people = people.select("contact_id", attributes=attributes).join(
        zones, on="contact_id", how="left", maintain_order="left"
    )
    name, evaluate_at = str(row.name), from_us(int(str(row.evaluate_at)))
    if entry.when is None or name.startswith("run "):
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
    home: Home,
    lease: Lease,
    occurrence_id: int,
    campaign: Campaign,
    entry: AudienceEntry,
    now: datetime,
    result: Entered,
) -> None:
    """Deal with the rows of an evaluated occurrence whose time has come: one transaction 5,000 rows."""
    with home.ledger.read() as tx:
        row = tx.execute(sa.select(occurrences).where(occurrences.c.id == occurrence_id)).one()
    if row.done_at is not None:
        return
    people = pl.read_parquet(home.lake.path(row.audience_file), glob=False).slice(row.position)
    waiting = people.filter(pl.col("enter_at") > now)
    people = people.head(people.height - waiting.height)
    judged = _judge(home, campaign, entry, people, now)
    with home.ledger.read() as tx:
        first_id = int(tx.exec_driver_sql("SELECT COALESCE(max(id), 0) + 1 FROM participant").scalar_one())
    judged = judged.with_columns(
        participant_id=pl.when(pl.col("outcome") == EntryOutcome.entered)
        .then(first_id - 1 + (pl.col("outcome") == EntryOutcome.entered).cum_sum().cast(pl.Int64))
        .otherwise(None)
    )
    for part in chunks(judged.height):
        chunk = judged[part]
        file = home.lake.put("entries", _entries(chunk, campaign, entry, row.name, now), at="met_at")
        last = part.stop == judged.height
        with home.ledger.write(lease) as tx:
            home.lake.register(tx, file)
            _insert(tx, chunk.filter(pl.col("participant_id").is_not_null()), campaign, entry, row.name, now)
            done = last and waiting.is_empty()
            next_at = waiting.get_column("enter_at").to_physical().min() if last else row.next_at
            tx.execute(
                occurrences.update()
                .where(occurrences.c.id == occurrence_id)
                .values(position=row.position + part.stop, next_at=next_at, done_at=to_us(now) if done else None)
            )
        entered = chunk.get_column("participant_id").count()
        result.entered += entered
        result.refused += chunk.height - entered


def _judge(home: Home, campaign: Campaign, entry: AudienceEntry, people: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Each row's outcome: too_late, already_in, re_entry, else entered."""
    rule = re_entry_rule(campaign, entry)
    since = to_us(now) - rule.per // timedelta(microseconds=1) if isinstance(rule, ReEntry) else 0
    history = home.ledger.frame(
        "SELECT contact_id, max(left_at IS NULL), sum(entered_at > ?) FROM participant WHERE campaign = ?"
        " GROUP BY contact_id",
        _HISTORY,
        (since, campaign.name),
    )
    times = {"once": 1, "always": None}.get(rule) if isinstance(rule, str) else rule.times
    used = pl.lit(False) if times is None else (pl.col("recent") >= times).fill_null(False)
    late = too_late(entry.when.late, now) if entry.when is not None else pl.lit(False)
    return (
        people.join(history, on="contact_id", how="left", maintain_order="left")
        .with_columns(
            outcome=pl.coalesce(
                pl.col("outcome"),
                pl.when(late)
                .then(pl.lit(EntryOutcome.too_late.value))
                .when(pl.col("inside").fill_null(False))
                .then(pl.lit(EntryOutcome.already_in.value))
                .when(used)
                .then(pl.lit(EntryOutcome.re_entry.value))
                .otherwise(pl.lit(EntryOutcome.entered.value)),
            )
        )
        .drop("inside", "recent")
    )


def _entries(
    chunk: pl.DataFrame, campaign: Campaign, entry: AudienceEntry, occurrence: str, now: datetime
) -> pl.DataFrame:
    return chunk.select(
        campaign=pl.lit(campaign.name),
        entry=pl.lit(entry.kind),
        occurrence=pl.lit(occurrence),
        contact_id="contact_id",
        event_id=pl.lit(None, pl.String),
        request_uuid=pl.lit(None, pl.String),
        outcome="outcome",
        detail=pl.lit(None, pl.String),
        participant_id="participant_id",
        met_at=pl.lit(now, INSTANT),
    )


def _insert(
    tx: sa.Connection, chunk: pl.DataFrame, campaign: Campaign, entry: AudienceEntry, occurrence: str, now: datetime
) -> None:
    at = to_us(now)
    rows = [
        (
            participant_id, campaign.name, campaign.version, contact_id, "", entry.kind, occurrence, BULK_PRIORITY,
            attributes, at, at, not_after, campaign.first_step, 1, at, at, ParticipantState.active.value,
        )
        for participant_id, contact_id, attributes, not_after in chunk.select(
            "participant_id", "contact_id", "attributes", pl.col("not_after").to_physical()
        ).iter_rows()
    ]  # fmt: skip
    if not rows:
        return
    tx.exec_driver_sql(
        "INSERT INTO participant (id, campaign, version, contact_id, key, entry, occurrence, priority, attributes,"
        " entered_at, since, not_after, step, visit, arrived_at, wake_at, state)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
    mark_dirty(tx, "participant", [int(str(row[0])) for row in rows])


def _finish(home: Home, lease: Lease, occurrence_id: int, now: datetime) -> None:
    with home.ledger.write(lease) as tx:
        tx.execute(occurrences.update().where(occurrences.c.id == occurrence_id).values(done_at=to_us(now)))


def _digest(entry: AudienceEntry) -> str:
    return hashlib.sha256(entry.model_dump_json().encode()).hexdigest()[:16]
