"""Rows of contact files → contacts, typed.

What belongs here: which column is what, and what each cell means (phones, tags, consent, times, properties); what makes
a row, or a cell of it, bad. What a row does to the contact that is known already is `contact_merge`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

import msgspec
import polars as pl

from journey.clock import known_zones
from journey.phones import E164, is_stranger, normalise_all, stranger_id
from journey.properties import KIND_WORDS, POLARS, TIME, Evidence, PropertyType, convert, observe
from journey.rows import MOST_RAW, Rows, bad_frame

#: What a contact is, besides its properties. `file_tags` are those that files brought; `gone`: its phone was taken over
#: by a contact with an id of its own, and it is no more. `opted_in` null: the settings' default.
CONTACT: Mapping[str, pl.DataType] = {
    "contact_id": pl.String(),
    "phone": pl.String(),
    "wa_id": pl.String(),
    "wa_user_id": pl.String(),
    "locale": pl.String(),
    "timezone": pl.String(),
    "tags": pl.List(pl.String()),
    "file_tags": pl.List(pl.String()),
    "opted_in": pl.Boolean(),
    "opted_in_at": TIME,
    "opted_out_at": TIME,
    "opt_out_scope": pl.String(),
    "opt_out_cause": pl.String(),
    "updated_at": TIME,
    "gone": pl.Boolean(),
}

#: Columns that files bring besides properties, by the names under which they may stand (any case; space, - or _)
_NAMES = {
    "contact id": "contact_id",
    "user id": "contact_id",
    "phone": "phone",
    "phone number": "phone",
    "tags": "tags",
    "locale": "locale",
    "timezone": "timezone",
    "opted in": "opted_in",
    "opted in at": "opted_in_at",
    "updated at": "updated_at",
}
ABSENT = "\0absent\0"  # before a column's name: True in rows that do not bring it
LONGEST_ID = 200


@dataclass(frozen=True, slots=True)
class ContactRules:
    """How cells are read. `types`: the properties whose type is settled, by name, also those new in this file."""

    region: str
    timezone: ZoneInfo
    types: Mapping[str, PropertyType] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContactRows:
    """Contacts as a file's rows give them, in the file's order.

    `frame`: line Int64, raw String, contact_id and phone (String; at least one of them), then those of tags
    (List(String)), locale, timezone, opted_in, opted_in_at, updated_at and properties that the file brings, with their
    types. A Boolean column named ABSENT + NAME stands beside each that some rows do not bring. `bad`: rows and cells
    that were not taken (BAD).
    """

    frame: pl.DataFrame
    bad: pl.DataFrame


def known_column(name: str) -> str | None:
    """What a file's column is, when it is none of the properties."""
    return _NAMES.get(" ".join(name.casefold().replace("_", " ").replace("-", " ").split()))


def property_columns(names: Iterable[str], properties: Iterable[str]) -> dict[str, str]:
    """The file's columns that are properties → the properties' names: as they are known already (whatever the case),
    else as the file spells them. Columns that a contact has by itself are none."""
    spelled = {name.casefold(): name for name in properties}
    taken = set(CONTACT)
    return {
        name: spelled.get(name.casefold(), name)
        for name in names
        if known_column(name) is None and name.casefold() not in taken
    }


def evidence(rows: Rows, properties: Mapping[str, str]) -> dict[str, Evidence]:
    """What some rows say of the types of their properties (by the properties' names)."""
    return {own: observe(rows.cells[name], rows.quoted.get(name, 0)) for name, own in properties.items()}


def refused_columns(names: Iterable[str]) -> list[str]:
    """Why some of a file's columns are left out: Estafette keeps columns of these names itself."""
    return [
        f"the column `{name}` is kept by Estafette itself and can't come from a file; rename it"
        for name in names
        if known_column(name) is None and name.casefold() in CONTACT
    ]


def read_contacts(rows: Rows, rules: ContactRules) -> ContactRows:
    """The contacts in some rows. Never raises for what is in a cell."""
    columns = _columns(rows, rules)
    frame = pl.DataFrame([rows.line, rows.raw])
    bad: list[pl.DataFrame] = [rows.bad]
    lost: list[pl.Series] = []  # masks of rows that are bad as a whole
    _phones(frame, columns, rules, bad, lost)
    made: dict[str, pl.Series] = {}
    absent: dict[str, pl.Series] = {
        own: rows.absent[name] for name, own in columns.names.items() if name in rows.absent
    }
    for name, own in columns.names.items():
        cells = rows.cells[name]
        if own in ("contact_id", "phone"):
            continue
        values, kind = _values(cells, own, rules)
        if values is None:
            continue
        made[own] = values
        misfit = cells.is_not_null() & values.is_null()
        if own in ("opted_in", "updated_at"):
            # A consent or an age that can't be read must not be guessed: the row stays out.
            _refuse(frame, cells, misfit, f"{own} is no {KIND_WORDS.get(kind, kind)}", bad, lost)
        elif misfit.any():
            _refuse(
                frame,
                cells,
                misfit,
                f"{own} is no {KIND_WORDS.get(kind, kind)}; the rest of the row was taken",
                bad,
                [],
            )
            absent[own] = absent.get(own, pl.repeat(False, rows.height, eager=True)) | misfit
    frame = frame.with_columns(columns.ids.alias("contact_id"), columns.phones.alias("phone"))
    frame = frame.with_columns(values.alias(own) for own, values in made.items())
    frame = frame.with_columns(mask.alias(ABSENT + own) for own, mask in absent.items() if own in made)
    keep = pl.repeat(True, rows.height, eager=True, dtype=pl.Boolean)
    for mask in lost:
        keep = keep & ~mask
    return ContactRows(frame.filter(keep), pl.concat(bad).sort("line", maintain_order=True))


@dataclass(slots=True)
class _Columns:
    names: dict[str, str]  # the file's → ours
    ids: pl.Series
    phones: pl.Series


def _columns(rows: Rows, rules: ContactRules) -> _Columns:
    properties = property_columns(rows.cells, rules.types)
    names: dict[str, str] = {}
    for name in rows.cells:
        own = known_column(name) or properties.get(name)
        # A second `phone number` beside `phone` is left out; the reader of the file says so.
        if own is not None and own not in names.values():
            names[name] = own
    ours = {own: name for name, own in names.items()}
    empty = pl.repeat(None, rows.height, eager=True, dtype=pl.String)
    ids = rows.cells[ours["contact_id"]] if "contact_id" in ours else empty
    phones = rows.cells[ours["phone"]] if "phone" in ours else empty
    return _Columns(names, ids.alias("contact_id"), phones.alias("phone"))


def repeated_columns(names: Iterable[str]) -> list[str]:
    """Why some columns are left out: an earlier one is the same thing under another name."""
    seen: dict[str, str] = {}
    findings: list[str] = []
    for name in names:
        own = known_column(name)
        if own is not None and own in seen:
            findings.append(f"the column `{name}` is left out: `{seen[own]}` is the {own} already")
        elif own is not None:
            seen[own] = name
    return findings


def _phones(
    frame: pl.DataFrame, columns: _Columns, rules: ContactRules, bad: list[pl.DataFrame], lost: list[pl.Series]
) -> None:
    """Reads phones and ids; both end up in `columns`."""
    written = columns.phones
    columns.phones = normalise_all(written, rules.region)
    _refuse(frame, written, written.is_not_null() & columns.phones.is_null(), "phone is no phone number", bad, lost)
    ids = columns.ids
    nobody = ids.is_null() & written.is_null()
    _refuse(frame, ids, nobody, "there is neither a contact_id nor a phone", bad, lost, shown=False)
    _refuse(frame, ids, ids.str.len_chars().fill_null(0) > LONGEST_ID, "contact_id is too long", bad, lost)
    # `whatsapp:+33…` is the id of whoever has that phone and no other: a row must not give it another one.
    strange = (
        pl.DataFrame([ids, columns.phones]).with_row_index().filter(pl.col("contact_id").str.starts_with("whatsapp:"))
    )
    false_ids = [
        index
        for index, contact_id, phone in strange.iter_rows()
        if is_stranger(contact_id)
        and E164.fullmatch(contact_id.removeprefix("whatsapp:"))
        and phone is not None
        and contact_id != stranger_id(phone)
    ]
    mask = pl.int_range(frame.height, eager=True).is_in(false_ids)
    _refuse(frame, ids, mask, "contact_id names another phone than the row's", bad, lost)


def _refuse(
    frame: pl.DataFrame,
    cells: pl.Series,
    mask: pl.Series,
    reason: str,
    bad: list[pl.DataFrame],
    lost: list[pl.Series],
    shown: bool = True,
) -> None:
    """Adds the rows of `mask` to `bad` and the mask to `lost`."""
    if not mask.any():
        return
    found = frame.with_columns(cell=cells).filter(mask)
    value = pl.format("“{}”: ", pl.col("cell").fill_null("").str.slice(0, 60)) if shown else pl.lit("")
    bad.append(found.select("line", reason=value + pl.lit(reason), raw=pl.col("raw").str.slice(0, MOST_RAW)))
    lost.append(mask)


def _values(cells: pl.Series, own: str, rules: ContactRules) -> tuple[pl.Series | None, str]:
    """The cells of a column as what it is, null where they do not fit; and what they should be, in words."""
    match own:
        case "tags":
            return _tags(cells), "list of tags"
        case "locale":
            return cells, "locale"
        case "timezone":
            zones = known_zones()
            known = {one: one for one in cells.drop_nulls().unique() if one in zones}
            return _mapped(cells, known), "time zone (IANA, e.g. Europe/Paris)"
        case "opted_in":
            return convert(cells, "boolean", rules.timezone), "true or false"
        case "opted_in_at" | "updated_at":
            return convert(cells, "timestamptz", rules.timezone), "time (e.g. 2026-12-01 10:00)"
    kind = rules.types.get(own)
    if kind is None:  # a new column without a value: nothing to keep, no type to give it
        return None, ""
    return convert(cells, kind, rules.timezone), f"{kind}"


def _tags(cells: pl.Series) -> pl.Series:
    """`a|b`, or a JSON list, → List(String): trimmed, without blanks and repeats, in order; an empty cell is no tag."""
    read = {one: read_tags(one) for one in cells.drop_nulls().unique()}
    known = pl.DataFrame(
        {"text": list(read), "tags": list(read.values())}, schema={"text": pl.String, "tags": pl.List(pl.String)}
    )
    joined = cells.alias("text").to_frame().join(known, on="text", how="left", maintain_order="left")
    return joined["tags"].alias("tags")


def read_tags(text: str) -> list[str] | None:
    """One cell of tags; None where it is a list of something else than texts and numbers."""
    items: list[object] = list(text.split("|"))
    if text.startswith("["):
        try:
            decoded = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            decoded = items
        if not all(isinstance(one, str | int | float) and not isinstance(one, bool) for one in decoded):
            return None
        items = decoded
    return list(dict.fromkeys(word for one in items if (word := " ".join(str(one).split()))))


def _mapped(cells: pl.Series, known: Mapping[str, str]) -> pl.Series:
    if not known:
        return pl.repeat(None, cells.len(), dtype=pl.String, eager=True).alias(cells.name)
    return (
        cells.to_frame()
        .select(pl.col(cells.name).replace_strict(known, default=None, return_dtype=pl.String))
        .to_series()
    )


def column_findings(names: Iterable[str], raw: str) -> pl.DataFrame:
    """What is said once a file of its columns, on line 1 (BAD)."""
    listed = list(names)
    return bad_frame((1, finding, raw) for finding in (*refused_columns(listed), *repeated_columns(listed)))


def contact_schema(types: Mapping[str, PropertyType]) -> dict[str, pl.DataType]:
    """The columns of a stored contact: CONTACT, then one a property."""
    return dict(CONTACT) | {name: POLARS[kind] for name, kind in types.items()}
