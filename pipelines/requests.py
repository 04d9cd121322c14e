"""API entries: requests that came in let people in, or are refused with a reason.

What belongs here: dealing with each request once, in the order in which they came: is there such an entry, who is
named, how far it has come. Reading request files is `resources.requests`, who comes in `letting_in`.

`position` of a request says how many of its people have been dealt with, and moves in the transaction of those people.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

import msgspec
import polars as pl
import sqlalchemy as sa

from journey.campaign import Campaign
from journey.clock import to_us
from journey.entry import candidates
from journey.growth import LAST
from journey.phones import normalise_all, stranger_id
from journey.problems import SegmentError
from journey.start_request import fitting_entry
from journey.words import EntryKind, EntryOutcome
from pipelines.letting_in import Entered, Then, ask_before, known_people, let_in, refuse, taken_over
from pipelines.portion import Portion
from resources.home import Home
from resources.ledger import Lease
from resources.tables import request as requests
from resources.whatsapp_ids import ensure_phones

Row = sa.Row[Any]


def enter_by_requests(
    home: Home, lease: Lease, stopped: Iterable[str], moving: Collection[str], portion: Portion, now: datetime,
    result: Entered,
) -> None:  # fmt: skip
    """Deal with every open request, of each campaign a portion of people. Those for a campaign in which people still
    move on wait for the next turn. Without any request, one small query."""
    with home.ledger.read() as tx:
        rows = tx.execute(sa.select(requests).where(requests.c.done_at.is_(None)).order_by(requests.c.id)).all()
    stopped = {*stopped}
    for row in rows:
        if home.troubles.rests(row.campaign):
            continue
        campaign, place, refusal = _entry(home, row)
        if campaign is not None and (campaign.name in moving or not portion.more(campaign.name)):
            continue
        if refusal is None and campaign is not None and campaign.name in stopped:
            if row.asked_at is not None:  # stopped by this very request: whoever resumes says yes to it
                continue
            refusal = (EntryOutcome.stopped, "the campaign is stopped")
        if refusal is not None or campaign is None:
            _refuse(home, lease, row, *(refusal or (EntryOutcome.refused, "")), now, result)
            continue
        with home.troubles.contained(lease, campaign.name, f"letting in the request {row.uuid}", now):
            try:
                _let_in(home, lease, row, campaign, place, portion, now, result, stopped)
            except SegmentError as error:
                result.failed[_people(row)[0]] = str(error)


def _entry(home: Home, row: Row) -> tuple[Campaign | None, int, tuple[EntryOutcome, str] | None]:
    """(campaign, the entry's place, None), or why there is no entry for a request."""
    project = home.project
    campaign = project.campaigns.get(row.campaign)

    def no(detail: str) -> tuple[Campaign | None, int, tuple[EntryOutcome, str]]:
        return campaign, 0, (EntryOutcome.refused, detail)

    if campaign is None and row.campaign not in project.holes:
        return no(f"there is no campaign `{row.campaign}`")
    if row.campaign in project.holes:
        return no(f"the campaign has a hole: {project.holes[row.campaign][0]}")
    assert campaign is not None
    if campaign.draft:
        return no("the campaign is a draft")
    place, misfit = fitting_entry(campaign, set(msgspec.json.decode(row.attributes)))
    if misfit is not None:
        return no(misfit)
    if row.kind == "segment" and _people(row)[0] not in project.segments:
        return no(f"there is no segment `{_people(row)[0]}`")
    return campaign, place, None


def _refuse(
    home: Home, lease: Lease, row: Row, outcome: EntryOutcome, detail: str, now: datetime, result: Entered
) -> None:  # fmt: skip
    """Refuse a request as a whole: a row each of the people named, one without a contact for a segment."""
    named = _people(row)
    if row.kind == "segment":
        named_ids = pl.Series([None], dtype=pl.String)
    elif row.kind == "users":
        named_ids = pl.Series(named, dtype=pl.String)
    else:
        texts = pl.Series(named, dtype=pl.String)
        phones = normalise_all(texts, home.project.settings.region)
        named_ids = pl.select(pl.coalesce(pl.lit(stranger_id("")) + phones, texts)).to_series()
    people = known_people(home, _candidates(row, 0, named_ids.slice(row.position)))
    people = people.with_columns(outcome=pl.lit(outcome.value), detail=pl.lit(detail))
    last = {"outcome": outcome.value, "detail": detail}
    then = _progress(row, people.height, now, last)
    refuse(home, lease, row.campaign, EntryKind.api, people, now, result, then)


def _let_in(
    home: Home, lease: Lease, row: Row, campaign: Campaign, place: int, portion: Portion, now: datetime,
    result: Entered, stopped: set[str],
) -> None:  # fmt: skip
    named = _people(row)
    audience_file = row.audience_file
    if row.kind == "segment" and audience_file is None:
        audience_file = _evaluate(home, lease, row, named[0], now, result)
    rows = None
    if audience_file is not None:
        rows = pl.read_parquet(home.lake.path(audience_file), glob=False)
    size = len(named) if rows is None else rows.height
    asking = requests.update().where(requests.c.id == row.id).values(asked_at=to_us(now))
    earlier = _earlier_sizes(home, row) if row.asked_at is None and row.position == 0 else []
    if row.asked_at is None and ask_before(home, lease, campaign, size, asking, now, result, earlier):
        stopped.add(campaign.name)
        return
    left, some = size - row.position, slice(row.position, row.position + (portion.room(campaign.name) or size))
    if rows is not None:
        part = rows[some]
        people = taken_over(home, _candidates(row, place, part["contact_id"]).with_columns(part["attributes"]))
    elif row.kind == "users":
        people = known_people(home, _candidates(row, place, pl.Series(named[some], dtype=pl.String)))
    else:
        people = _by_phone(home, lease, row, place, named[some])
    if people.is_empty():
        with home.ledger.write(lease) as tx:
            _progress(row, 0, now)(tx, slice(0, 0))
        return
    let_in(home, lease, campaign, EntryKind.api, people, now, result, _progress(row, left, now))
    portion.took(campaign.name, people.height)
    if people.height < left:
        portion.more(campaign.name)


def _earlier_sizes(home: Home, row: Row) -> list[int]:
    """How many people the last requests for the same segment had, the newest first. Who names people knows how many."""
    if row.kind != "segment":
        return []
    same = (requests.c.campaign == row.campaign) & (requests.c.kind == "segment") & (requests.c.people == row.people)
    ended = requests.c.done_at.is_not(None) & requests.c.outcome.is_(None) & (requests.c.id < row.id)
    sizes = sa.select(requests.c.position).where(same, ended).order_by(requests.c.id.desc()).limit(LAST)
    with home.ledger.read() as tx:
        return [int(size) for size in tx.execute(sizes).scalars()]


def _by_phone(home: Home, lease: Lease, row: Row, place: int, named: list[str]) -> pl.DataFrame:
    """CANDIDATES of phones: whoever has them, or new contacts; what is no phone is refused."""
    texts = pl.Series("text", named, pl.String)
    phones = normalise_all(texts, home.project.settings.region)
    owners = ensure_phones(home.contacts, lease, phones)
    found = pl.DataFrame([texts, phones.alias("phone")]).join(owners, on="phone", how="left", maintain_order="left")
    people = _candidates(row, place, found["contact_id"])
    wrong = pl.format("“{}” is no phone number", found["text"].str.slice(0, 60))
    bad = pl.col("contact_id").is_null()
    return people.with_columns(
        outcome=pl.when(bad).then(pl.lit(EntryOutcome.refused.value)), detail=pl.when(bad).then(wrong)
    )


def _evaluate(home: Home, lease: Lease, row: Row, name: str, now: datetime, result: Entered) -> int:
    """Evaluate a request's segment, once: its rows are kept. Columns of the query are attributes too; the request's
    own win."""
    audience = home.audience(name, now)
    result.segments[name] = audience
    extra = [one for one in audience.frame.columns if one != "contact_id"]
    attributes = pl.lit(row.attributes, pl.String)
    if extra:
        asked = msgspec.json.decode(row.attributes)
        columns = audience.frame.select(pl.struct(extra).struct.json_encode()).to_series()
        merged = [msgspec.json.encode({**msgspec.json.decode(one), **asked}).decode() for one in columns]
        attributes = pl.lit(pl.Series(merged, dtype=pl.String))
    file = home.lake.put("audience", audience.frame.select("contact_id", attributes=attributes))
    with home.ledger.write(lease) as tx:
        file_id = home.lake.register(tx, file)
        tx.execute(requests.update().where(requests.c.id == row.id).values(audience_file=file_id))
    return file_id


def _candidates(row: Row, place: int, ids: pl.Series) -> pl.DataFrame:
    return candidates(
        ids.alias("contact_id")
        .to_frame()
        .with_columns(
            place=pl.lit(place),
            occurrence=pl.lit(row.uuid),
            request_uuid=pl.lit(row.uuid),
            attributes=pl.lit(row.attributes),
        )
    )


def _progress(row: Row, height: int, now: datetime, last: dict[str, str] | None = None) -> Then:
    """Moves a request's `position` with its people; the last of them ends it."""

    def then(tx: sa.Connection, part: slice) -> None:
        values: dict[str, Any] = {"position": row.position + part.stop}
        if part.stop == height:
            values |= {"done_at": to_us(now), **(last or {})}
        tx.execute(requests.update().where(requests.c.id == row.id).values(**values))

    return then


def _people(row: Row) -> list[str]:
    people: list[str] = msgspec.json.decode(row.people)
    return people
