"""How rows of the quarantine are read again, kind by kind: the texts → the intake of that kind → what still is bad.

What belongs here: one reader a kind. Each takes rows of one file and gives what could not be read of them (BAD), with
the row's id as `line`. They are `retry`'s.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import polars as pl
import sqlalchemy as sa

from journey.contact_rows import column_findings
from journey.csv_rows import UnreadableCsv, csv_rows
from journey.event_rows import EventRows, derived_id, read_json_events, read_table_events
from journey.json_rows import ndjson_rows
from journey.request_rows import RequestRows
from journey.rows import Rows, bad_frame
from journey.steps import UpdateStep
from resources.contact_intake import ContactIntake, IntakeRules, TakenFile, take_in_contacts
from resources.coupon_intake import codes_of, take_in_coupons, write_codes
from resources.deliveries import TakenWebhooks, deal_with, take_in_webhooks
from resources.event_intake import EventIntake, take_in_events
from resources.home import Home
from resources.landing import FileStat, Kind
from resources.ledger import Lease
from resources.requests import read_lines, take_in_requests, write_requests
from resources.tables import landing_file

if TYPE_CHECKING:
    from resources.retry import Kept

TOGETHER = 2_000
"""Rows that are read together: one transaction's worth."""

HEADER = 1  # the line of a CSV header, of which columns that are left out are told


def rules_of(home: Home) -> IntakeRules:
    """What the intake needs of the settings."""
    settings = home.project.settings
    return IntakeRules(
        settings.region, ZoneInfo(settings.timezone), settings.consent.default == "opted_in", settings.properties
    )


def take_in_kind(home: Home, lease: Lease, kind: Kind, now: datetime) -> None:
    """Take in whatever is pending of one kind."""
    rules, wall = rules_of(home), home.wall()
    if kind == "contacts":
        take_in_contacts(home.landing, home.contacts, rules, lease, now, wall, final=True)
    elif kind == "events":
        take_in_events(home.landing, home.events, home.contacts, rules, lease, now, wall, final=True)
    elif kind == "coupons":
        take_in_coupons(home.landing, rules.timezone, lease, now, wall, final=True)
    elif kind == "requests":
        take_in_requests(home.landing, home.project.settings.senders, lease, now, wall, final=True)
    else:
        take_in_webhooks(home, lease, now, final=True)


def _contacts(home: Home, lease: Lease, stat: FileStat, kept: Sequence["Kept"], now: datetime) -> pl.DataFrame:
    headers, rows = _header_findings(kept, of_contacts=True), _rows(stat, kept)
    intake = ContactIntake(home.landing, home.contacts, rules_of(home), lease, now, lambda: None)

    def may_be_old(ids: list[str]) -> set[str]:
        return _newer_data(home, stat, ids, now)

    bad = intake.again(stat, rows, may_be_old)
    home.contacts.fold(lease)
    return pl.concat([headers, bad])


def _newer_data(home: Home, stat: FileStat, ids: list[str], now: datetime) -> set[str]:
    """Of which of these contacts newer data than a file's may be here: of all where a contact file was taken in after
    it; of those on whom an `update` step wrote since."""
    if not ids:
        return set()
    if newer_files(home, stat):
        return set(ids)
    with home.ledger.read() as tx:
        taken_at = sa.select(landing_file.c.taken_at).where(landing_file.c.kind == "contacts")
        since = tx.execute(taken_at.where(landing_file.c.name == stat.name)).scalar_one()
    updates = [
        (name, step)
        for name, campaign in home.project.campaigns.items()
        for step, one in campaign.steps.items()
        if isinstance(one, UpdateStep)
    ]
    moves = home.lake.files("participant_steps") if updates else []
    if not moves:
        return set()
    steps = pl.LazyFrame(updates, schema={"campaign": pl.String, "from_step": pl.String}, orient="row")
    later = pl.col("moved_at").dt.timestamp("us") >= since
    found = pl.scan_parquet(moves, missing_columns="insert", extra_columns="ignore", glob=False)
    found = found.filter(pl.col("contact_id").is_in(ids) & later).join(steps, on=["campaign", "from_step"], how="semi")
    return set(found.select("contact_id").collect().to_series())


def newer_files(home: Home, stat: FileStat) -> bool:
    """Whether contact files were taken in after one (or nobody knows when it was); of another kind, no."""
    if stat.kind != "contacts":
        return False
    with home.ledger.read() as tx:
        files = tx.execute(sa.select(landing_file).where(landing_file.c.kind == "contacts")).all()
    mine = next(((one.taken_at, one.mtime_ns, one.name) for one in files if one.name == stat.name), None)
    return mine is None or any((one.taken_at, one.mtime_ns, one.name) > mine for one in files)


def _events(home: Home, lease: Lease, stat: FileStat, kept: Sequence["Kept"], now: datetime) -> pl.DataFrame:
    rules = rules_of(home)
    intake = EventIntake(home.landing, home.events, home.contacts, rules, lease, now, lambda: None)
    headers = bad_frame()
    if stat.form == "ndjson":
        read = read_json_events([(one.id, one.text) for one in kept], rules.region, rules.timezone)
    else:
        headers = _header_findings(kept, of_contacts=False)
        read = read_table_events(_rows(stat, kept), rules.region, rules.timezone)
    numbers = _numbers(stat, kept)
    ids = [
        own if said is None else derived_id(said, numbers[place])
        for place, own, said in read.frame.select("line", "event_id", "said").iter_rows()
    ]
    frame = read.frame.with_columns(pl.Series("event_id", ids, pl.String), said=pl.lit(None, pl.String))
    intake.write(TakenFile(stat.kind, stat.name), stat, EventRows(frame, bad_frame()), None)
    return pl.concat([headers, read.bad])


def _numbers(stat: FileStat, kept: Sequence["Kept"]) -> dict[int, int]:
    """How many identical lines stand before each in its file, by the row's id: they are events of their own."""
    wanted = {one.raw.strip().encode("utf-8", "replace") for one in kept}
    counts: dict[bytes, int] = {}
    before: dict[int, int] = {}
    lines = {one.line: one.id for one in kept}
    try:
        with stat.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                text = line.strip().removeprefix(b"\xef\xbb\xbf")
                if number in lines:
                    before[lines[number]] = counts.get(text, 0)
                if text in wanted:
                    counts[text] = counts.get(text, 0) + 1
    except OSError:
        counts = {}
    for one in kept:
        text = one.raw.strip().encode("utf-8", "replace")
        if one.id not in before:
            before[one.id] = counts.get(text, 0)
            counts[text] = counts.get(text, 0) + 1
    return before


def _coupons(home: Home, lease: Lease, stat: FileStat, kept: Sequence["Kept"], now: datetime) -> pl.DataFrame:
    headers, rows = _header_findings(kept, of_contacts=False), _rows(stat, kept)
    good, bad = codes_of(rows, rules_of(home).timezone)
    write_codes(home.landing, stat, (good, bad.clear()), None, TakenFile(stat.kind, stat.name), lease, now)
    return pl.concat([headers, bad])


def _requests(home: Home, lease: Lease, stat: FileStat, kept: Sequence["Kept"], now: datetime) -> pl.DataFrame:
    read = read_lines([(one.id, one.text) for one in kept], home.project.settings.senders)
    good = RequestRows(read.frame, read.answers, read.bad.clear())
    write_requests(home.landing, stat, TakenFile(stat.kind, stat.name), good, None, lease, now)
    return read.bad


def _webhooks(home: Home, lease: Lease, stat: FileStat, kept: Sequence["Kept"], now: datetime) -> pl.DataFrame:
    return deal_with(home, lease, stat, [(one.id, one.text) for one in kept], now, TakenWebhooks())


Reader = Callable[[Home, Lease, FileStat, Sequence["Kept"], datetime], pl.DataFrame]
READERS: Mapping[str, Reader] = {
    "contacts": _contacts,
    "events": _events,
    "coupons": _coupons,
    "requests": _requests,
    "webhooks": _webhooks,
}


def _rows(stat: FileStat, kept: Sequence["Kept"]) -> Rows:
    """The rows of a table; `line` is the row's id. What can't be read by itself is among `bad`."""
    if stat.form != "csv":  # of Parquet the text is the row as JSON
        return ndjson_rows([(one.id, one.text) for one in kept])
    parts = [(one, _csv_row(one)) for one in kept if one.line != HEADER]
    bad = pl.concat([bad_frame(), *(rows.bad.with_columns(line=pl.lit(one.id, pl.Int64)) for one, rows in parts)])
    good = [(one, rows) for one, rows in parts if rows.height]
    names = list(dict.fromkeys(name for _, rows in good for name in rows.cells))
    return Rows(
        pl.Series("line", [one.id for one, _ in good], pl.Int64),
        pl.Series("raw", [one.raw for one, _ in good], pl.String),
        {
            name: pl.Series(name, [rows.cells[name][0] if name in rows.cells else None for _, rows in good], pl.String)
            for name in names
        },
        bad,
    )


def _csv_row(one: "Kept") -> Rows:
    """One row under its header. Findings about the header are not the row's."""
    lines = [f"{one.header}\n".encode(), *(line.encode() for line in one.raw.splitlines(keepends=True))]
    none = Rows(pl.Series("line", [], pl.Int64), pl.Series("raw", [], pl.String), {}, bad_frame())
    try:
        rows = next(csv_rows(lines), none)
    except UnreadableCsv as error:
        return replace(none, bad=bad_frame([(0, str(error), one.raw)]))
    return replace(rows, bad=rows.bad.filter(pl.col("line") != HEADER))


def _header_findings(kept: Sequence["Kept"], *, of_contacts: bool) -> pl.DataFrame:
    """What is still to be said of columns (BAD), of the rows that say so of a header."""
    found = []
    for one in kept:
        if one.line != HEADER or one.header is None:
            continue
        said = set[str]()
        rows = next(csv_rows([f"{one.header}\n".encode()]), None)
        if rows is not None:
            said |= set(rows.bad["reason"])
            if of_contacts:
                said |= set(column_findings(rows.cells, "")["reason"])
        if one.reason in said:
            found.append((one.id, one.reason, one.raw))
    return bad_frame(found)
