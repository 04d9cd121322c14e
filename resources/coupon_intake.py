"""Taking coupon pools in: landing/coupons/POOL.csv → codes in the ledger.

What belongs here: what a row of such a file says, and writing the codes that are new. Who gets which code is `coupons`.
A code that is known stays as it is: a file read again changes nothing, and a new version of it adds codes.
"""

from dataclasses import replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import sqlalchemy as sa

from journey.clock import parse_instant, resolve, to_us
from journey.json_rows import ndjson_rows
from journey.marks import CODE_LENGTH
from journey.rows import BAD, Rows, bad_frame
from resources.contact_intake import TakenFile, UnreadableFile, readable, reading, set_aside
from resources.landing import Cursor, FileStat, Landing
from resources.landing_tables import table_rows
from resources.ledger import Lease, chunks, mark_dirty
from resources.quarantine import put_aside

BATCH = 100_000
FIELDS = {"vouchers": "code", "code": "code", "expires_at": "expires_at"}
_SAID = {"said": pl.String, "expires_at": pl.Int64}
_INSERT = (
    "INSERT INTO coupon (pool, code, expires_at, state) VALUES (?, ?, ?, 'free') ON CONFLICT (pool, code) DO NOTHING"
)


def _field(name: str) -> str | None:
    return FIELDS.get(name.strip().casefold().replace(" ", "_"))


def take_in_coupons(
    landing: Landing, timezone: ZoneInfo, lease: Lease | None, now: datetime, wall: float, final: bool = False
) -> list[TakenFile]:
    """Takes in every pending file of codes, oldest first. The pool is the file's stem. `timezone`: the settings', for
    times without one. `new`: codes that came in; `unchanged`: duplicates, within the file or known before."""
    taken = []
    for stat in landing.pending(wall, ["coupons"]):
        try:
            taken.append(_take(landing, stat, timezone, lease, now, wall, final))
        except FileNotFoundError:  # renamed or removed since it was listed
            continue
        except Exception as error:
            taken.append(set_aside(landing, stat, lease, now, error))
    return taken


def _take(
    landing: Landing, stat: FileStat, timezone: ZoneInfo, lease: Lease | None, now: datetime, wall: float, final: bool
) -> TakenFile:
    taken = TakenFile(stat.kind, stat.name)
    if stat.form == "ndjson":
        for chunk in readable(landing.chunks(stat, wall, final)):
            taken = write_codes(
                landing, stat, codes_of(ndjson_rows(chunk.lines), timezone), chunk.cursor, taken, lease, now
            )
        return taken
    if stat.form == "unknown":
        raise UnreadableFile(f"`{stat.path.suffix}` is no known ending; use .csv, .ndjson or .parquet")
    with reading():
        cursor = landing.whole(stat)
    last: tuple[pl.DataFrame, pl.DataFrame] | None = None
    for rows in readable(table_rows(stat, BATCH)):
        if not {_field(name) for name in rows.cells} & {"code"}:
            raise UnreadableFile("it has no column `vouchers` or `code`")
        if last is not None:
            taken = write_codes(landing, stat, last, None, taken, lease, now)
        last = codes_of(rows, timezone)
    return write_codes(landing, stat, last or (_no_codes(), bad_frame()), cursor, taken, lease, now)


def codes_of(rows: Rows, timezone: ZoneInfo) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of a file → codes (code, expires_at in microseconds) and what can't be one (BAD)."""
    cells: dict[str, pl.Series] = {}
    for name, column in rows.cells.items():
        field = _field(name)
        if field is not None:
            cells[field] = column if field not in cells else cells[field].zip_with(cells[field].is_not_null(), column)
    blank = pl.Series([None] * rows.height, dtype=pl.String)
    frame = pl.DataFrame(
        {
            "line": rows.line,
            "raw": rows.raw,
            "code": cells.get("code", blank),
            "said": cells.get("expires_at", blank),
        }
    )
    said = frame.get_column("said").drop_nulls().unique()
    ends = [_ends(text, timezone) for text in said]
    known = pl.DataFrame({"said": said, "expires_at": pl.Series(ends, dtype=pl.Int64)}, schema_overrides=_SAID)
    frame = frame.join(known, on="said", how="left", maintain_order="left").with_columns(
        reason=pl.when(pl.col("code").is_null())
        .then(pl.lit("there is no code"))
        .when(pl.col("code").str.len_chars() > CODE_LENGTH)
        .then(pl.lit(f"the code has more than {CODE_LENGTH} characters, and WhatsApp takes no more"))
        .when(pl.col("code").str.contains(r"[\x00-\x1f\x7f]| {2}"))
        .then(pl.lit("the code holds a tab, a line end or a run of spaces, which WhatsApp refuses"))
        .when(pl.col("said").is_not_null() & pl.col("expires_at").is_null())
        .then(pl.lit("`expires_at` is no date; write e.g. 2026-12-31 or 2026-12-31T18:00"))
    )
    wrong = frame.filter(pl.col("reason").is_not_null())
    good = frame.filter(pl.col("reason").is_null()).select("code", "expires_at")
    return good, pl.concat([rows.bad, wrong.select(list(BAD))])


def _ends(text: str, timezone: ZoneInfo) -> int | None:
    """When a code may no longer be given out: after a whole day where a date stands alone. None: that is no date."""
    try:
        if len(text) == 10:
            after = date.fromisoformat(text) + timedelta(days=1)
            return to_us(resolve(datetime.combine(after, datetime.min.time()), timezone))
        return to_us(parse_instant(text, timezone))
    except (ValueError, OverflowError):
        return None


def write_codes(
    landing: Landing,
    stat: FileStat,
    read: tuple[pl.DataFrame, pl.DataFrame],
    cursor: Cursor | None,
    taken: TakenFile,
    lease: Lease | None,
    now: datetime,
) -> TakenFile:
    """Write some codes, 5,000 a transaction; the file's cursor comes with its last ones. A code that is known stays as
    it is, so reading a file again, or half of it after a crash, changes nothing."""
    codes, bad = read
    pool = stat.path.stem
    parts = list(chunks(max(codes.height, bad.height))) or [slice(0, 0)]
    for part in parts:
        some, wrong = codes[part], bad[part]
        with landing.ledger.write(lease) as tx:
            before = _last_id(tx)
            if some.height:
                tx.exec_driver_sql(_INSERT, [(pool, code, ends) for code, ends in some.iter_rows()])
            last = _last_id(tx)
            mark_dirty(tx, "coupon", range(before + 1, last + 1))
            quarantined = put_aside(tx, stat.kind, stat.shown, wrong, now, stat.path)
            taken = replace(
                taken,
                rows=taken.rows + some.height + wrong.height,
                new=taken.new + last - before,
                unchanged=taken.unchanged + some.height - (last - before),
                quarantined=taken.quarantined + quarantined,
            )
            if cursor is not None and part == parts[-1]:  # its counts are those of before this pass
                total = cursor.quarantined + taken.quarantined
                landing.save(tx, replace(cursor, rows=cursor.rows + taken.rows, quarantined=total), to_us(now))
    return taken


def _last_id(tx: sa.Connection) -> int:
    return int(tx.exec_driver_sql("SELECT COALESCE(max(id), 0) FROM coupon").scalar_one())


def _no_codes() -> pl.DataFrame:
    return pl.DataFrame(schema={"code": pl.String, "expires_at": pl.Int64})
