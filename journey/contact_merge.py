"""What the rows of a file do to the contacts that are known already.

What belongs here: who a row is about, whose a phone is, which row wins, what changes. Frames in, frames out; nothing is
looked up here: `known` holds every contact that the rows may touch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from journey.consent import CHANGES, STATE, by_file, stronger
from journey.contact_rows import ABSENT, CONTACT, contact_schema
from journey.phones import is_stranger
from journey.properties import PropertyType
from journey.rows import BAD, MOST_RAW

OLD = (
    "it reads now, but newer data of this contact may be here, and it says otherwise; import the row with `updated_at`"
    " where it is right"
)
_OLD = "\0old"
_NEW = "\0new"


@dataclass(frozen=True, slots=True)
class Merged:
    """`contacts`: every contact that is new or differs, whole (CONTACT and properties), and those that are gone.
    `changes`: of consent (CHANGES). `takeovers`: the ids that are gone → the ids that have their phones now.
    `bad`: rows that were not taken (BAD). The counts are of contacts."""

    contacts: pl.DataFrame
    changes: pl.DataFrame
    takeovers: Mapping[str, str]
    bad: pl.DataFrame
    new: int
    changed: int
    unchanged: int


def merge(
    known: pl.DataFrame,
    rows: pl.DataFrame,
    types: Mapping[str, PropertyType],
    now: datetime,
    source: str,
    default: bool,
) -> Merged:
    """Puts rows (`ContactRows.frame`, in the file's order) to the known contacts.

    `known`: one row a contact (CONTACT and properties), among them whoever has an id or a phone of the rows. `source`:
    the file, for the consent history. `default`: whether people of whom nothing is known are opted in.
    """
    rows = _identified(known, rows.with_row_index("order"))
    rows = _not_older(known, rows)
    refused, takeovers = _phones(known, rows)
    bad = [_bad(rows, pl.col("order").is_in(refused), "phone_in_use: another contact has this phone")]
    rows = rows.filter(~pl.col("order").is_in(refused))
    nobody = _nobody(known, rows, takeovers)
    bad.append(_bad(rows, pl.col("order").is_in(nobody), "no contact has this contact_id, and the row brings no phone"))
    rows = rows.filter(~pl.col("order").is_in(nobody))
    base = _taken_over(known, takeovers)
    after, changes = _consent(_values(base, rows, types), now, source, default)
    before = known.join(after, on="contact_id", how="semi")
    contacts = _different(known, after.select(list(contact_schema(types))))
    gone = pl.DataFrame(
        {"contact_id": list(takeovers), "gone": True}, schema={"contact_id": pl.String, "gone": pl.Boolean}
    )
    return Merged(
        contacts=pl.concat([contacts, gone], how="diagonal") if takeovers else contacts,
        changes=changes,
        takeovers=takeovers,
        bad=pl.concat(bad).sort("line", maintain_order=True),
        new=after.height - before.height,
        changed=contacts.height - (after.height - before.height),
        unchanged=after.height - contacts.height,
    )


def not_overwriting(
    known: pl.DataFrame, rows: pl.DataFrame, may_be_old: Callable[[list[str]], set[str]]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows that were put aside before, as they may be taken in now, and those that may not (BAD).

    A row that says when it is of is judged like any other. One that does not fills in what is not known of a contact
    of whom newer data may have come (`may_be_old`: which of some ids that is so of); where it says something else than
    what is known, it stays out.
    """
    dated = pl.col("updated_at").is_not_null() if "updated_at" in rows.columns else pl.lit(False)
    about = _identified(known, rows)["contact_id"]
    undated = about.filter(rows.select(~dated).to_series())
    old = may_be_old(undated.filter(undated.is_in(known["contact_id"].implode())).unique().to_list())
    if not old:
        return rows, _bad(rows, pl.lit(False), OLD)
    is_old = about.is_in(list(old)) & rows.select(~dated).to_series()
    there = about.to_frame("contact_id").join(known, on="contact_id", how="left", maintain_order="left")
    other = pl.repeat(False, rows.height, eager=True, dtype=pl.Boolean)
    absent: dict[str, pl.Series] = {}
    for name in rows.columns:
        if name in ("line", "raw", "contact_id", "updated_at", "opted_in_at") or name.startswith("\0"):
            continue
        said, has = rows[name], there[name].cast(rows[name].dtype)
        brought = said.is_not_null()
        if ABSENT + name in rows.columns:
            brought &= ~rows[ABSENT + name]
        if isinstance(said.dtype, pl.List):
            brought &= said.list.len().fill_null(0) > 0
            differs = said.list.sort().list.join("\0") != has.list.sort().list.join("\0")
            differs &= has.list.len().fill_null(0) > 0
        else:
            differs = said != has
        other |= (brought & differs).fill_null(False)
        if name != "phone" and name != "opted_in":
            absent[ABSENT + name] = (is_old & ~brought) | (
                rows[ABSENT + name] if ABSENT + name in rows.columns else pl.repeat(False, rows.height, eager=True)
            )
    marked = rows.with_columns(mask.alias(name) for name, mask in absent.items())
    stays = is_old & other
    return marked.filter(~stays), _bad(rows.filter(stays), pl.lit(True), OLD)


def _bad(rows: pl.DataFrame, which: pl.Expr, reason: str) -> pl.DataFrame:
    raw = pl.col("raw").str.slice(0, MOST_RAW)
    return rows.filter(which).select("line", reason=pl.lit(reason), raw=raw).select(list(BAD))


def _identified(known: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Every row with a contact_id: its own; else that of whoever has its phone (or claims it in this file); else
    `whatsapp:` and the phone. The id `whatsapp:+…` of someone who has got an id of his own means that one."""
    named = pl.col("contact_id").str.strip_prefix("whatsapp:")
    by_phone = pl.col("contact_id").is_null() | pl.col("contact_id").str.starts_with("whatsapp:+")
    rows = rows.with_columns(key=pl.when(by_phone).then(pl.coalesce("phone", named)))
    holders = known.filter(pl.col("phone").is_not_null()).select(key="phone", holder="contact_id")
    claims = (
        rows.filter(pl.col("key").is_null() & pl.col("phone").is_not_null())
        .group_by(key="phone")
        .agg(claim=pl.col("contact_id").first())
    )
    rows = rows.join(holders, on="key", how="left", maintain_order="left")
    rows = rows.join(claims, on="key", how="left", maintain_order="left")
    own = (
        pl.when(by_phone).then(pl.coalesce("holder", "claim", pl.format("whatsapp:{}", "key"))).otherwise("contact_id")
    )
    return rows.with_columns(contact_id=own).drop("key", "holder", "claim")


def _not_older(known: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows that are not older than what is known, or than a row before them."""
    if "updated_at" not in rows.columns:
        return rows
    stored = known.select("contact_id", stored="updated_at")
    rows = rows.join(stored, on="contact_id", how="left", maintain_order="left")
    before = pl.col("updated_at").cum_max().forward_fill().shift(1).over("contact_id")
    newest = pl.max_horizontal(before, "stored")
    return rows.filter((pl.col("updated_at") >= newest).fill_null(True)).drop("stored")


def _phones(known: pl.DataFrame, rows: pl.DataFrame) -> tuple[list[int], dict[str, str]]:
    """Rows whose phone is someone else's (by `order`), and the contacts `whatsapp:…` whose phones are taken over.

    Rows about phones that several people hold or claim are gone through one by one, in the file's order: a phone that
    its holder gives up in one row is free in the next.
    """
    holder = known.filter(pl.col("phone").is_not_null()).select("phone", holder="contact_id")
    claims = rows.filter(pl.col("phone").is_not_null()).select("order", "contact_id", "phone")
    claims = claims.join(holder, on="phone", how="left", maintain_order="left")
    contested = claims.filter(
        (pl.col("holder") != pl.col("contact_id")).fill_null(False)
        | (pl.col("contact_id").n_unique().over("phone") > 1)
    )
    if contested.is_empty():
        return [], {}
    people = pl.concat([contested["contact_id"], contested["holder"].drop_nulls()]).unique()
    mine = claims.filter(
        pl.col("contact_id").is_in(people.implode()) | pl.col("phone").is_in(contested["phone"].implode())
    )
    about = known.filter(pl.col("contact_id").is_in(pl.concat([people, mine["contact_id"]]).unique().implode()))
    phone_of: dict[str, str] = dict(
        about.filter(pl.col("phone").is_not_null()).select("contact_id", "phone").iter_rows()
    )
    holders = {phone: contact_id for contact_id, phone in phone_of.items()}
    refused: list[int] = []
    takeovers: dict[str, str] = {}
    for order, contact_id, phone, _ in mine.iter_rows():
        has = holders.get(phone)
        if has not in (None, contact_id):
            if not is_stranger(str(has)) or is_stranger(contact_id):
                refused.append(order)
                continue
            takeovers[str(has)] = contact_id
        former = phone_of.get(contact_id)
        if former is not None and former != phone:
            holders.pop(former, None)
        holders[phone], phone_of[contact_id] = contact_id, phone
    return refused, takeovers


def _nobody(known: pl.DataFrame, rows: pl.DataFrame, takeovers: Mapping[str, str]) -> list[int]:
    """Rows (by `order`) of unknown ids before any row gives them a phone."""
    there = pl.col("contact_id").is_in(known["contact_id"].implode())
    phones = pl.col("phone").is_not_null().cum_sum().over("contact_id")
    return rows.filter(~there & (phones == 0))["order"].to_list()


def _taken_over(known: pl.DataFrame, takeovers: Mapping[str, str]) -> pl.DataFrame:
    """The known contacts after takeovers: who takes over has the stranger's WhatsApp ids, tags, consent and, where he
    has none himself, properties."""
    if not takeovers:
        return known
    old = known.filter(pl.col("contact_id").is_in(list(takeovers))).with_columns(
        pl.col("contact_id").replace_strict(dict(takeovers), return_dtype=pl.String),
        # A stranger was never asked; only what he said himself goes along.
        opted_in=pl.when(pl.col("opted_in") | pl.col("opt_out_scope").is_not_null()).then("opted_in"),
        phone=pl.lit(None, pl.String),
        updated_at=pl.lit(None, CONTACT["updated_at"]),
    )
    old = old.unique("contact_id", keep="last", maintain_order=True)
    both = known.filter(~pl.col("contact_id").is_in(list(takeovers))).join(
        old, on="contact_id", how="full", coalesce=True, suffix=_OLD
    )
    weaker = stronger(pl.col("opt_out_scope"), pl.col("opt_out_scope" + _OLD))
    columns = [name for name in known.columns if name != "contact_id"]
    lists = [name for name in columns if CONTACT.get(name) == pl.List(pl.String)]
    return both.select(
        "contact_id",
        *(
            pl.when(weaker).then(pl.col(name + _OLD)).otherwise(pl.coalesce(name, name + _OLD)).alias(name)
            for name in columns
            if name in STATE
        ),
        *(pl.col(name).fill_null([]).list.set_union(pl.col(name + _OLD).fill_null([])).alias(name) for name in lists),
        *(pl.coalesce(name, name + _OLD).alias(name) for name in columns if name not in STATE and name not in lists),
    ).select(known.columns)


def _values(base: pl.DataFrame, rows: pl.DataFrame, types: Mapping[str, PropertyType]) -> pl.DataFrame:
    """The contacts of the rows with what the rows bring; consent as it was, beside it `brought` and `brought_at`."""
    plain = [name for name in ("locale", "timezone", "tags", *types) if name in rows.columns]
    aggregates = [pl.col("phone").drop_nulls().last().alias("phone" + _NEW)]
    for name in plain:
        there = ~pl.col(ABSENT + name) if ABSENT + name in rows.columns else pl.lit(True)
        aggregates.append(pl.col(name).filter(there).last().alias(name + _NEW))
        aggregates.append((there.any() if ABSENT + name in rows.columns else pl.lit(True)).alias(ABSENT + name))
    if "updated_at" in rows.columns:
        aggregates.append(pl.col("updated_at").max().alias("updated_at" + _NEW))
    if "opted_in" in rows.columns:
        said = pl.col("opted_in").is_not_null()
        aggregates.append(pl.col("opted_in").filter(said).last().alias("brought"))
        if "opted_in_at" in rows.columns:
            aggregates.append(pl.col("opted_in_at").filter(said).last().alias("brought_at"))
    brought = rows.group_by("contact_id", maintain_order=True).agg(aggregates)
    joined = brought.join(base, on="contact_id", how="left", maintain_order="left")
    for name, dtype in (("brought", pl.Boolean()), ("brought_at", CONTACT["opted_in_at"])):
        if name not in joined.columns:
            joined = joined.with_columns(pl.lit(None, dtype).alias(name))
    values = [
        pl.when(pl.col(ABSENT + name)).then(pl.col(name + _NEW)).otherwise(pl.col(name)).alias(name)
        for name in plain
        if name != "tags"
    ]
    values += [pl.coalesce(name + _NEW, name).alias(name) for name in ("phone", "updated_at") if name + _NEW in joined]
    if "tags" in plain:
        new = pl.col("tags" + _NEW).fill_null([])
        kept = pl.col("tags").fill_null([]).list.set_difference(pl.col("file_tags").fill_null([]))
        there = pl.col(ABSENT + "tags")
        values.append(pl.when(there).then(kept.list.set_union(new)).otherwise("tags").alias("tags"))
        values.append(pl.when(there).then(new).otherwise("file_tags").alias("file_tags"))
    lists = [pl.col("tags", "file_tags").fill_null([]).list.unique().list.sort()]
    return joined.with_columns(values).with_columns(lists).with_columns(gone=pl.lit(False))


def _consent(after: pl.DataFrame, now: datetime, source: str, default: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The contacts with their consent after what the file says, and the changes."""
    after = by_file(after, now, default)
    changes = after.filter(pl.col("change").is_not_null()).select(
        "contact_id",
        "phone",
        "change",
        "scope",
        cause=pl.lit("file"),
        source=pl.lit(source),
        wamid=pl.lit(None, pl.String),
        changed_at=pl.lit(now, CHANGES["changed_at"]),
    )
    return after, changes.select(list(CHANGES))


def _different(known: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """Those of `after` that are not in `known` exactly so."""
    plain = [name for name, dtype in after.schema.items() if not isinstance(dtype, pl.List) and name != "contact_id"]
    lists = [name for name, dtype in after.schema.items() if isinstance(dtype, pl.List)]
    there = known.select("contact_id", *plain, *lists, known=pl.lit(True))
    joined = after.select("contact_id").join(there, on="contact_id", how="left", maintain_order="left")
    texts = {name: pl.Series(after[name].list.join("\0")) for name in lists}
    same = joined["known"].fill_null(False)
    for name in plain:
        same = same & after[name].eq_missing(joined[name])
    for name, text in texts.items():
        same = same & text.eq_missing(joined[name].list.join("\0"))
    return after.filter(~same)
