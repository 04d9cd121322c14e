"""Tallies: what each file behind the analyst database comes to, counted once and kept.

What belongs here: the counts that a publish adds up, file by file, and how many conversations there are. What becomes
of the sums are the funnels and costs of `resources.analyst_db`.

A file of the lake or of an export never changes under its name, so what it comes to stands: a publish counts the files
that are new to it, and of ten million messages only the part that changed. `data/tallies.parquet` holds what is known,
for the files of the last cut; it derives from them, and where it is gone, damaged or counted in another way (the SQL is
another), all of them are counted again.
"""

import contextlib
import hashlib
import secrets
from collections.abc import Mapping
from pathlib import Path

import duckdb
import polars as pl

from journey import schemas
from resources.analyst_views import select, text
from resources.export import Part
from resources.on_disk import sync

PAIRS = 20_000_000
"""How many (contact, sender) are looked at in one go: 8 bytes each, and as much again to tell them apart."""

_TALLIED = (schemas.MESSAGES, schemas.PARTICIPANTS, schemas.PARTICIPANT_STEPS, schemas.SKIPS)
_SQL = Path(__file__).parent / "analyst_tallies.sql"
_COLUMNS = {
    "file": "VARCHAR", "campaign": "VARCHAR", "step": "VARCHAR", "what": "VARCHAR", "quarter": "BIGINT",
    "market": "VARCHAR", "category": "VARCHAR", "currency": "VARCHAR", "price_source": "VARCHAR", "n": "BIGINT",
    "price": "DECIMAL(38, 6)",
}  # fmt: skip
_KNOWN = f"""INSERT INTO tallies SELECT {", ".join(_COLUMNS)} FROM read_parquet(?)
  WHERE counted = ? AND file IN (SELECT unnest(?))"""
_SAID = {"contact_id": pl.String(), "sender": pl.String()}


def tally(con: duckdb.DuckDBPyConnection, parts: Mapping[str, Part], kept: Path) -> None:
    """Make the temporary table `tallies` of every file of `parts` (by table): from the file `kept` where they are in
    it, else by counting them, and then all are kept there for the next time."""
    query = _SQL.read_text(encoding="utf-8")
    way = hashlib.sha256(query.encode()).hexdigest()[:16]
    files = {table.name: parts[table.name].files for table in _TALLIED}
    con.execute(f"CREATE TEMP TABLE tallies ({', '.join(f'{name} {kind}' for name, kind in _COLUMNS.items())})")
    with contextlib.suppress(duckdb.Error):  # nothing is kept, or it can't be read
        con.execute(_KNOWN, [str(kept), way, [str(path) for some in files.values() for path in some]])
    known = {Path(row[0]) for row in con.execute("SELECT DISTINCT file FROM tallies").fetchall()}
    if all(known.issuperset(some) for some in files.values()):
        return
    for table in _TALLIED:
        new = [path for path in files[table.name] if path not in known]
        con.execute(f"CREATE TEMP VIEW new_{table.name} AS {select(con, table, new, [('filename', 'VARCHAR')])}")
    con.execute(query)
    hidden = kept.with_name(f".{kept.stem}-{secrets.token_hex(4)}{kept.suffix}")
    try:
        con.execute(f"COPY (SELECT {text(way)} AS counted, * FROM tallies) TO {text(str(hidden))} (FORMAT parquet)")
        sync(hidden)
        hidden.replace(kept)
    finally:
        hidden.unlink(missing_ok=True)


def count_conversations(parts: Mapping[str, Part]) -> int:
    """The rows of `conversations`, without making them: the pairs of contact and sender, told apart by 64 bits (ten
    million of them are one too few perhaps three times in a million). Polars takes half of DuckDB's time for it."""
    messages, replies = parts[schemas.MESSAGES.name], parts[schemas.REPLIES.name]
    accepted = _scan(messages, {**_SAID, "accepted_at": schemas.TIME.frame}).filter(pl.col("accepted_at").is_not_null())
    pairs = pl.concat([accepted.select(list(_SAID)), _scan(replies, _SAID)]).select(pair=pl.struct(*_SAID).hash())
    rounds = 1 + (messages.rows + replies.rows) // PAIRS
    found = (pairs.filter(pl.col("pair") % rounds == turn).collect(engine="streaming") for turn in range(rounds))
    return sum(some.get_column("pair").n_unique() for some in found)


def _scan(part: Part, schema: Mapping[str, pl.DataType]) -> pl.LazyFrame:
    if not part.files:
        return pl.LazyFrame(schema=schema)
    return pl.scan_parquet(
        list(part.files), schema=dict(schema), missing_columns="insert", extra_columns="ignore", glob=False
    )
