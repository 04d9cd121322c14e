"""The contact store: who there is, in the lake, as a base and the changes since.

What belongs here: reading contacts (all, some columns, by id or phone), writing changed ones, folding changes into the
base, and the view that segments see. How rows of a file become contacts is `contact_intake`.

`contacts` are files of whole contacts, each contact in one of them, in the order of their ids: who asks for some that
follow each other reads a part of one file. `contacts_delta` are files of whole contacts too,
oldest first: the last row of a contact is what it is now, and one that is `gone` is no more. So a change is one new
file, and nobody reads a file that is being written.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import sqlalchemy as sa

from journey.condition_sql import Kind, quoted
from journey.contact_rows import CONTACT, contact_schema
from journey.problems import LedgerError
from journey.properties import DUCKDB, TYPES, PropertyType
from resources.lake import Lake, LakeFile, parquet_schema
from resources.ledger import Lease, Ledger
from resources.segment_database import Tables
from resources.tables import property as property_table

if TYPE_CHECKING:
    from resources.events import Events

BASE, DELTA = "contacts", "contacts_delta"
FOLD_SHARE, FOLD_FILES = 0.05, 64
BASE_ROWS = 1_000_000
SAMPLED = 100
"""Of so many ids one is looked at, to see where a file of the base should end."""
_HIDDEN = ("file_tags", "gone")
_SQL: Mapping[str, str] = {
    name: "VARCHAR[]"
    if isinstance(kind, pl.List)
    else {pl.String(): "VARCHAR", pl.Boolean(): "BOOLEAN"}.get(kind, "TIMESTAMPTZ")
    for name, kind in CONTACT.items()
}
_KINDS: Mapping[str, Kind] = {
    "VARCHAR[]": "tags",
    "VARCHAR": "text",
    "BOOLEAN": "boolean",
    "TIMESTAMPTZ": "timestamptz",
}


class Contacts:
    """The contacts of one home. `stated`: the settings' `properties`, which win over what files said."""

    def __init__(self, lake: Lake, ledger: Ledger, stated: Mapping[str, PropertyType] | None = None) -> None:
        self.lake, self.ledger, self.stated = lake, ledger, dict(stated or {})

    # -- types -------------------------------------------------------------------------------------------------------

    def types(self, tx: sa.Connection | None = None) -> dict[str, PropertyType]:
        """The properties that contacts have, in the order in which they came, and their types."""
        query = sa.select(property_table.c.name, property_table.c.dtype).order_by(property_table.c.position)
        if tx is not None:
            rows = tx.execute(query).all()
        else:
            with self.ledger.read() as own:
                rows = own.execute(query).all()
        stated = {name.casefold(): kind for name, kind in self.stated.items()}
        known: dict[str, PropertyType] = {}
        for name, dtype in rows:
            if dtype not in TYPES:
                raise LedgerError(f"the property `{name}` is of an unknown type `{dtype}`")
            known[name] = stated.get(name.casefold(), dtype)
        return known

    def columns(self) -> list[str]:
        """Every column of `frame`: CONTACT, then the properties."""
        return list(contact_schema(self.types()))

    def properties(self) -> list[str]:
        """The names of the properties that contacts have."""
        return list(self.types())

    def kinds(self) -> dict[str, Kind]:
        """What each column holds that filters and conditions may name."""
        return {one: _KINDS[kind] for one, kind in _SQL.items() if one not in _HIDDEN} | self.types()

    def loaded(self) -> bool:
        """Whether any contact was ever taken in."""
        return any(self.files())

    def settle(self, tx: sa.Connection, types: Mapping[str, PropertyType]) -> None:
        """Write down the types of properties: new ones, and those that widened."""
        stored = {row.name: row for row in tx.execute(sa.select(property_table)).all()}
        for name, kind in types.items():
            if name not in stored:
                tx.execute(property_table.insert().values(name=name, dtype=kind, position=len(stored)))
                stored[name] = tx.execute(sa.select(property_table).where(property_table.c.name == name)).one()
            elif stored[name].dtype != kind:
                tx.execute(property_table.update().where(property_table.c.name == name).values(dtype=kind))

    # -- reading -----------------------------------------------------------------------------------------------------

    def files(self) -> tuple[list[Path], list[Path]]:
        """The files of the base and of the changes since (oldest first), of one moment."""
        with self.ledger.read() as tx:
            return self.lake.files(BASE, tx), self.lake.files(DELTA, tx)

    def current(self, columns: Sequence[str] | None = None) -> pl.LazyFrame:
        """Every contact there is: CONTACT and the properties, or `columns` of them."""
        return self._current(None, columns)

    def frame(self, columns: Sequence[str] | None = None, ids: Iterable[str] | pl.Series | None = None) -> pl.DataFrame:
        """Every contact, or those of `ids`: CONTACT and the properties, or `columns` of them."""
        return self._current(None if ids is None else _texts(ids), columns).collect(engine="streaming")

    def count(self) -> int:
        """How many contacts there are."""
        return int(self.current(["contact_id"]).select(pl.len()).collect(engine="streaming").item())

    def find(
        self,
        ids: Iterable[str] | pl.Series = (),
        phones: Iterable[str] | pl.Series = (),
        wa_ids: Iterable[str] | pl.Series = (),
        wa_user_ids: Iterable[str] | pl.Series = (),
    ) -> pl.DataFrame:
        """The contacts that have one of these ids, phones, WhatsApp ids or user ids: CONTACT and the properties."""
        wanted = {
            name: values
            for name, texts in (("contact_id", ids), ("phone", phones), ("wa_id", wa_ids), ("wa_user_id", wa_user_ids))
            if (values := _texts(texts)).len()
        }
        schema = contact_schema(self.types())
        if not wanted:
            return pl.DataFrame(schema=schema)
        base, delta = self.files()
        any_of = pl.any_horizontal(_is_in(name, values) for name, values in wanted.items()).fill_null(False)
        columns = list(dict.fromkeys(["contact_id", *wanted]))
        # Whoever had such a phone once may have another one now, and the reverse: the second step looks at what is.
        some = [_scan(file, schema, columns).filter(any_of).select("contact_id") for file in (*base, *delta)]
        if not some:
            return pl.DataFrame(schema=schema)
        found = pl.concat(some).collect(engine="streaming").to_series().unique()
        return self.frame(ids=found).filter(any_of)

    def _current(self, ids: pl.Series | None, columns: Sequence[str] | None) -> pl.LazyFrame:
        schema = contact_schema(self.types())
        names = list(schema) if columns is None else list(columns)
        needed = list(dict.fromkeys([*names, "contact_id", "gone"]))
        base, delta = self.files()
        wanted = None if ids is None else _among(ids)
        changed = self._changed(delta, schema, needed, wanted)
        parts = [_scan(file, schema, needed) for file in base]
        if wanted is not None:
            parts = [part.filter(wanted) for part in parts]
        if changed.height:
            parts = [part.join(changed.lazy().select("contact_id"), on="contact_id", how="anti") for part in parts]
        whole = pl.concat([*parts, changed.lazy()])
        return whole.filter(~pl.col("gone").fill_null(False)).select(names)

    def _changed(
        self, delta: Sequence[Path], schema: Mapping[str, pl.DataType], columns: Sequence[str], wanted: pl.Expr | None
    ) -> pl.DataFrame:
        """The last row of every contact (or of those `wanted`) in the changes, also of those that are gone."""
        parts = [_scan(file, schema, columns) for file in delta]
        if wanted is not None:
            parts = [part.filter(wanted) for part in parts]
        if not parts:
            return pl.DataFrame(schema={name: schema[name] for name in columns})
        return pl.concat(parts).collect().unique("contact_id", keep="last", maintain_order=True)

    # -- writing -----------------------------------------------------------------------------------------------------

    def put(self, frame: pl.DataFrame, types: Mapping[str, PropertyType]) -> LakeFile | None:
        """Write changed contacts, whole (CONTACT and `types`); they count once the file is registered."""
        if frame.is_empty():
            return None
        schema = contact_schema(types)
        missing = [pl.lit(None, kind).alias(name) for name, kind in schema.items() if name not in frame.columns]
        return self.lake.put(DELTA, frame.with_columns(missing).select(list(schema)))

    def fold(self, lease: Lease | None, force: bool = False) -> bool:
        """Put the changes into the base when they are 5 % of it, or together when they are 64 files. Says whether it
        did anything. Cheap to ask at every pass."""
        with self.ledger.read() as tx:
            base, delta = self.lake.rows(BASE, tx), self.lake.rows(DELTA, tx)
        changes, contacts = (sum(int(str(row.rows)) for row in rows) for rows in (delta, base))
        whole = force or changes >= FOLD_SHARE * contacts
        if not delta or not (whole or len(delta) >= FOLD_FILES):
            return False
        schema = contact_schema(self.types())
        files = [self.lake.root / str(row.path) for row in delta]
        if whole:
            made = list(self._folded([self.lake.root / str(row.path) for row in base], files, schema))
        else:
            made = [self.lake.put(DELTA, self._changed(files, schema, list(schema), None))]
        old = [row.id for row in (*(base if whole else ()), *delta)]
        with self.ledger.write(lease) as tx:
            now = [row.id for name in (BASE, DELTA) for row in self.lake.rows(name, tx)]
            if now != [row.id for row in (*base, *delta)]:
                return False  # someone else wrote meanwhile; the files just made are orphans, and swept
            for file in made:
                self.lake.register(tx, file)
            self.lake.drop(tx, old)
        return True

    def _folded(
        self, base: Sequence[Path], delta: Sequence[Path], schema: Mapping[str, pl.DataType]
    ) -> Iterator[LakeFile]:
        """Files of a new base, one after the other, so that only one is in memory: the old one without whoever changed,
        and those, by id, about a million rows a file."""
        for part in _ranges([_scan(file, schema, ["contact_id"]) for file in (*base, *delta)]):
            changed = self._changed(delta, schema, list(schema), part)
            kept = [_scan(file, schema, list(schema)).filter(part) for file in base]
            kept = [one.join(changed.lazy().select("contact_id"), on="contact_id", how="anti") for one in kept]
            whole = pl.concat([*kept, changed.filter(~pl.col("gone").fill_null(False)).lazy()])
            people = whole.collect(engine="streaming").sort("contact_id")
            if people.height:
                yield self.lake.put(BASE, people)

    # -- segments ----------------------------------------------------------------------------------------------------

    def tables(self, events: "Events", default: bool) -> Tables:
        """The views of contacts (the analysts' columns, spec §6, `updated_at`, and one a property) and of events, for a
        DuckDB. `default`: what `opted_in` is for people of whom nothing is known."""
        types = self.types()
        sql = dict(_SQL) | {one: DUCKDB[kind] for one, kind in types.items()}
        columns = self.kinds()
        base, delta = ([str(path) for path in files] for files in self.files())
        shown = ", ".join(
            f"coalesce(opted_in, {str(default).lower()}) as opted_in" if one == "opted_in" else quoted(one)
            for one in columns
        )
        latest = f"partition by contact_id order by list_position({_list(delta)}, filename) desc, file_row_number desc"
        changes = _read(delta, sql, "filename, file_row_number" if delta else "")
        if delta:
            changes = f"select * from ({changes}) qualify row_number() over ({latest}) = 1"
        whole = (
            f"create view contacts as select {shown} from ({_read(base, sql)})"
            " anti join contact_changes using (contact_id)"
            f" union all select {shown} from contact_changes where not coalesce(gone, false)"
        )
        paths, view = events.view()
        setup = (f"create temp table contact_changes as {changes}", whole, view)
        return Tables((*base, *delta, *paths), setup, columns)


def _scan(file: Path, schema: Mapping[str, pl.DataType], columns: Sequence[str]) -> pl.LazyFrame:
    """A file of contacts with `columns` of `schema`, also those that came after it was written; a property that has
    changed its type since is cast."""
    there = parquet_schema(file)
    expressions = [
        (pl.col(name) if there[name] == schema[name] else pl.col(name).cast(schema[name], strict=False))
        if name in there
        else pl.lit(None, schema[name]).alias(name)
        for name in columns
    ]
    return pl.scan_parquet(file, glob=False).select(expressions)


def _ranges(ids: Sequence[pl.LazyFrame]) -> Iterator[pl.Expr]:
    """Filters on `contact_id` that part these ids into ranges of about `BASE_ROWS`, in their order."""
    some = pl.concat([one.gather_every(SAMPLED) for one in ids]).collect(engine="streaming").to_series().sort()
    bounds = some.gather_every(BASE_ROWS // SAMPLED)[1:].to_list()
    own = pl.col("contact_id")
    for low, high in zip([None, *bounds], [*bounds, None], strict=True):
        yield (own >= low if low is not None else pl.lit(True)) & (own < high if high is not None else pl.lit(True))


def _among(ids: pl.Series) -> pl.Expr:
    """Whether a contact is one of `ids`. Their range is said too: what lies beyond it is not even read."""
    if ids.is_empty():
        return pl.lit(False)
    return pl.col("contact_id").is_between(pl.lit(ids.min()), pl.lit(ids.max())) & _is_in("contact_id", ids)


def _read(files: Sequence[str], sql: Mapping[str, str], more: str = "") -> str:
    """A SELECT of every column from files, whichever of them have it."""
    there = {name for file in files for name in parquet_schema(file)}
    columns = [
        f"{quoted(name)}::{kind} as {quoted(name)}" if name in there else f"null::{kind} as {quoted(name)}"
        for name, kind in sql.items()
    ]
    if not files:
        return f"select {', '.join(columns)} where false"
    options = ", filename = true, file_row_number = true" if more else ""
    tail = f", {more}" if more else ""
    return f"select {', '.join(columns)}{tail} from read_parquet({_list(files)}, union_by_name = true{options})"


def _list(texts: Sequence[str]) -> str:
    escaped = ["'" + text.replace("'", "''") + "'" for text in texts]
    return f"[{', '.join(escaped)}]"


def _texts(values: Iterable[str] | pl.Series) -> pl.Series:
    series = values if isinstance(values, pl.Series) else pl.Series("value", list(values), pl.String)
    return series.drop_nulls().unique()


def _is_in(name: str, values: pl.Series) -> pl.Expr:
    return pl.col(name).is_in(values.implode())
