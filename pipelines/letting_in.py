"""Letting in: those who are to come in are judged, and come in or are refused.

What belongs here: one way for all entries. What the ledger knows of the contacts, `journey.entry.judge` over it, and
the writing: 5,000 rows a transaction, with their rows of `entries`, and with whatever marks them as dealt with. Who is
to come in is found by `triggers`, `requests`, `audiences` and `waiting`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec
import polars as pl
import sqlalchemy as sa

from journey.campaign import Campaign
from journey.clock import to_us
from journey.entry import INSIDE, PASSED, WAITING, allowance, candidates, judge, re_entry_rule
from journey.growth import outgrown
from journey.person import FORGOTTEN
from journey.phones import stranger_id
from journey.words import EntryKind, EntryOutcome, LeaveReason, ParticipantState
from resources.ahead import ahead
from resources.home import Home
from resources.inserting import Ready, ready
from resources.lake import LakeFile
from resources.ledger import Lease, chunks, mark_dirty
from resources.segments import Audience
from resources.tables import campaign as campaigns

WAITS = timedelta(hours=24)
"""How long an entry for an unknown id waits for its contact."""

PRIORITY = {EntryKind.trigger: 0, EntryKind.api: 0, EntryKind.audience: 1}
"""Transactional goes before bulk."""

FEW = 50_000
"""Up to so many contacts are asked for one by one, in 5 µs each; beyond, the whole campaign is read, in 1 µs a row."""

CAME_IN = [EntryOutcome.entered.value, EntryOutcome.control.value]

INSTANT = pl.Datetime("us", "UTC")
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

Then = Callable[[sa.Connection, slice], None]
"""What else belongs to the transaction of some rows: how far whoever found them has come."""


@dataclass
class Entered:
    """What one pass let in. `segments` holds each evaluated audience (for its metadata), `failed` what could not be.
    `control` came in and left at once; `waiting` are entries for unknown ids; `stopped`: campaigns that had to ask."""

    entered: int = 0
    control: int = 0
    refused: int = 0
    waiting: int = 0
    segments: dict[str, Audience] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    stopped: dict[str, str] = field(default_factory=dict)
    more: bool = False
    """Whether others are due whom a later turn lets in."""

    @property
    def anything(self) -> bool:
        """Whether anybody was dealt with."""
        return bool(self.entered or self.control or self.refused or self.waiting)


def let_in(
    home: Home, lease: Lease, campaign: Campaign, kind: EntryKind, people: pl.DataFrame, now: datetime,
    result: Entered, then: Then,
) -> None:  # fmt: skip
    """Judge `people` (CANDIDATES, of entries of one kind) and write what becomes of them, in their order. `then` is
    called in the transaction of each part, with the slice of `people` that it deals with."""
    judged = _judged(home, campaign, kind, people, now)
    came_in = pl.col("outcome").is_in(CAME_IN)
    with home.ledger.read() as tx:
        first_id = int(tx.exec_driver_sql("SELECT COALESCE(max(id), 0) + 1 FROM participant").scalar_one())
    judged = judged.with_columns(participant_id=pl.when(came_in).then(first_id - 1 + came_in.cum_sum().cast(pl.Int64)))
    parts = list(_parts(judged["outcome"].is_in([*CAME_IN, WAITING])))
    made = ahead(lambda part: _ready(home, campaign, kind, judged[part], now), parts)
    for number, (file, rows) in zip(home.ledger.chunks(len(parts), 1), made, strict=True):
        part = parts[number.start]
        chunk = judged[part]
        with home.ledger.write(lease) as tx:
            _register(home, tx, file)
            rows.insert(tx)
            mark_dirty(tx, "participant", chunk["participant_id"].drop_nulls().to_list())
            _wait(tx, campaign.name, kind, chunk, now)
            then(tx, part)
        _count(result, chunk)


def refuse(
    home: Home, lease: Lease, campaign: str, kind: EntryKind, people: pl.DataFrame, now: datetime, result: Entered,
    then: Then,
) -> None:  # fmt: skip
    """Write down why nobody of `people` (CANDIDATES, each with its outcome) comes in; the campaign need not be there.
    `then` as for `let_in`."""
    people = people.with_columns(participant_id=pl.lit(None, pl.Int64))
    for part in home.ledger.chunks(people.height):
        file = _entries(home, campaign, kind, people[part], now)
        with home.ledger.write(lease) as tx:
            _register(home, tx, file)
            then(tx, part)
        _count(result, people[part])


def ask_before(
    home: Home, lease: Lease, campaign: Campaign, size: int, asking: sa.Update, now: datetime, result: Entered,
    earlier: Sequence[int] = (),
) -> bool:  # fmt: skip
    """Whether an audience of `size` is above `stop_if.audience_above`, or has outgrown the `earlier` ones. Then the
    campaign is stopped before anyone enters, and `asking` (which writes down that it was asked, once) is run with that:
    whoever resumes says yes."""
    rule = campaign.settings.stop_if
    if rule.audience_above is not None and size > rule.audience_above:
        asked = f"an audience of {size:,} is above {rule.audience_above:,} (stop_if.audience_above)"
    else:
        grown = outgrown(size, earlier, rule.audience_grows)
        if grown is None:
            return False
        asked = grown
    why = f"{asked}; to resume is to say yes"
    with home.ledger.write(lease) as tx:
        tx.execute(asking)
        mine = (campaigns.c.name == campaign.name) & campaigns.c.stopped_at.is_(None)
        tx.execute(campaigns.update().where(mine).values(stopped_at=to_us(now), stopped_why=why))
    result.stopped[campaign.name] = why
    return True


def known_people(home: Home, people: pl.DataFrame) -> pl.DataFrame:
    """`people` (CANDIDATES), where an id `whatsapp:+…` becomes that of whoever has the phone, and unknown ids get the
    outcome WAITING. Rows that have an outcome stay as they are."""
    open_ = people.filter(pl.col("outcome").is_null())
    ids = open_["contact_id"].unique().drop_nulls()
    if ids.is_empty():
        return people
    phones = ids.str.extract(r"^whatsapp:(\+[0-9]+)$")
    found = home.contacts.find(ids=ids, phones=phones).select("contact_id", "phone")
    by_phone = found.drop_nulls("phone").unique("phone", keep="first", maintain_order=True)
    asked = (
        pl.DataFrame([ids, phones.alias("phone")])
        .join(found.select("contact_id", own="contact_id"), on="contact_id", how="left")
        .join(by_phone.select("phone", holder="contact_id"), on="phone", how="left")
        .select("contact_id", known=pl.coalesce("own", "holder"))
    )
    joined = people.join(asked, on="contact_id", how="left", maintain_order="left")
    judged = pl.col("outcome").is_not_null()
    return joined.with_columns(
        contact_id=pl.when(judged).then("contact_id").otherwise(pl.coalesce("known", "contact_id")),
        outcome=pl.when(judged | pl.col("known").is_not_null()).then("outcome").otherwise(pl.lit(WAITING)),
    ).drop("known")


def taken_over(home: Home, people: pl.DataFrame) -> pl.DataFrame:
    """`people` (CANDIDATES) of an audience that was found earlier, by the ids that they have now: who was known by the
    phone alone may have been taken over since, and who was forgotten does not come in."""
    forgotten = people["contact_id"].str.starts_with(FORGOTTEN)
    if forgotten.any():
        refused = pl.when(forgotten).then(pl.lit(EntryOutcome.unknown_contact.value)).otherwise("outcome")
        people = people.with_columns(refused.alias("outcome"))
    strangers = people["contact_id"].filter(people["contact_id"].str.starts_with(stranger_id("+"))).unique()
    if strangers.is_empty():
        return people
    now = known_people(home, candidates(strangers.to_frame()))["contact_id"]
    return people.with_columns(pl.col("contact_id").replace(strangers, now))


def _parts(written: pl.Series) -> Iterator[slice]:
    """Parts of at most 5,000 rows that the ledger gets, whatever stands between them: a million old events that are
    refused are one file of the lake and no work for the ledger."""
    places, start = written.arg_true(), 0
    if places.is_empty():
        yield slice(0, written.len())
    for part in chunks(places.len(), pause=0.0):
        stop = int(places[part.stop]) if part.stop < places.len() else written.len()
        yield slice(start, stop)
        start = stop


def _judged(home: Home, campaign: Campaign, kind: EntryKind, people: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Every outcome. All entries of a kind have one rule: it is written, or their kind's."""
    entry = next(one for one in campaign.entries if one.kind == kind)
    most, per = allowance(re_entry_rule(campaign, entry))
    since = -1 if per is None else to_us(now) - per // timedelta(microseconds=1)
    ids = people.filter(pl.col("outcome").is_null())["contact_id"].unique()
    inside, passed = _history(home, campaign.name, ids, since if most is not None else None)
    return judge(people, inside, passed, most, campaign.name, campaign.settings.control_group)


_INSIDE = "SELECT contact_id, key FROM participant WHERE left_at IS NULL AND campaign = ?"
_PASSED = "SELECT contact_id, count(*) FROM participant WHERE campaign = ? AND entered_at > ?"


def _history(home: Home, campaign: str, ids: pl.Series, since: int | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """INSIDE, and PASSED of those who entered after `since` (None: nobody need know)."""
    these, listed = "", tuple[str, ...]()
    if ids.len() <= FEW:  # by the index on contacts: a campaign of millions is not read for one event
        these = " AND contact_id IN (SELECT value FROM json_each(?))"
        listed = (msgspec.json.encode(ids.to_list()).decode(),)
    with home.ledger.read() as tx:
        inside = home.ledger.frame(f"{_INSIDE}{these}", INSIDE, (campaign, *listed), tx)
        if since is None:
            return inside, pl.DataFrame(schema=dict(PASSED))
        passed = home.ledger.frame(f"{_PASSED}{these} GROUP BY 1", PASSED, (campaign, since, *listed), tx)
    return inside, passed


def _entries(home: Home, campaign: str, kind: EntryKind, chunk: pl.DataFrame, now: datetime) -> LakeFile | None:
    """A file of `entries`: a row each, but for those who wait."""
    rows = chunk.filter(pl.col("outcome") != WAITING).select(
        campaign=pl.lit(campaign),
        entry=pl.lit(kind.value),
        occurrence="occurrence",
        contact_id="contact_id",
        event_id="event_id",
        request_uuid="request_uuid",
        outcome="outcome",
        detail="detail",
        participant_id="participant_id",
        met_at=pl.lit(now, INSTANT),
    )
    return home.lake.put("entries", rows.select(list(ENTRIES)), at="met_at") if rows.height else None


def _register(home: Home, tx: sa.Connection, file: LakeFile | None) -> None:
    if file is not None:
        home.lake.register(tx, file)


def _ready(
    home: Home, campaign: Campaign, kind: EntryKind, chunk: pl.DataFrame, now: datetime
) -> tuple[LakeFile | None, Ready]:  # fmt: skip
    """What a transaction writes of those who come in or are refused: their file of `entries`, and the participants."""
    file = _entries(home, campaign.name, kind, chunk, now)
    return file, _participants(campaign, kind, chunk.filter(pl.col("participant_id").is_not_null()), now)


def _participants(campaign: Campaign, kind: EntryKind, chunk: pl.DataFrame, now: datetime) -> Ready:
    at, control = pl.lit(to_us(now)), pl.col("outcome") == EntryOutcome.control.value
    state = pl.when(control).then(pl.lit(ParticipantState.control.value)).otherwise(pl.lit(ParticipantState.active))
    rows = chunk.select(
        id="participant_id",
        campaign=pl.lit(campaign.name),
        version=pl.lit(campaign.version),
        contact_id="contact_id",
        key="key",
        key_name="key_name",
        entry=pl.lit(kind.value),
        occurrence="occurrence",
        priority=pl.lit(PRIORITY[kind]),
        attributes="attributes",
        entered_at=at,
        since=pl.col("since").to_physical().fill_null(at),
        not_after=pl.col("not_after").to_physical(),
        step=pl.lit(campaign.first_step),
        visit=pl.lit(1),
        arrived_at=at,
        wake_at=pl.when(~control).then(at),
        state=state,
        left_at=pl.when(control).then(at),
        reason=pl.when(control).then(pl.lit(LeaveReason.control.value)),
    )
    return ready("participant", rows)


def _wait(tx: sa.Connection, campaign: str, kind: EntryKind, chunk: pl.DataFrame, now: datetime) -> None:
    """Entries for unknown ids are kept until their contact comes."""
    at, until = to_us(now), to_us(now + WAITS)
    rows: list[tuple[Any, ...]] = [
        (campaign, place, kind.value, *rest, at if since is None else since, until)
        for place, *rest, since in chunk.filter(pl.col("outcome") == WAITING)
        .select(
            "place", "occurrence", "contact_id", "event_id", "request_uuid", "key", "key_name", "attributes",
            pl.col("since").to_physical(),
        )
        .iter_rows()
    ]  # fmt: skip
    if rows:
        tx.exec_driver_sql(
            "INSERT INTO waiting_entry (campaign, entry, kind, occurrence, contact_id, event_id, request_uuid, key,"
            " key_name, attributes, since, until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            rows,
        )


def _count(result: Entered, chunk: pl.DataFrame) -> None:
    found = dict(chunk["outcome"].value_counts().iter_rows())
    result.entered += found.pop(EntryOutcome.entered.value, 0)
    result.control += found.pop(EntryOutcome.control.value, 0)
    result.waiting += found.pop(WAITING, 0)
    result.refused += sum(found.values())
