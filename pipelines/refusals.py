"""Refusals: who may not be messaged, whatever the message: consent, dead phones, Meta's own cap, the United States.

What belongs here: looks into the ledger, as expressions over a frame of people. Which reason is said where several
apply is `journey.refusing`. Consent is looked at again when a message is claimed (`resources.claim`).
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec
import phonenumbers
import polars as pl

from journey.clock import to_us
from journey.codes import MARKETING_CAP
from journey.refusing import REFUSALS, Why
from journey.words import Scope
from resources.home import Home

DAY = timedelta(hours=24)
FEW = 100_000
"""Up to so many are looked up one by one, a few microseconds each; for more everything is read at once."""


def refusals(home: Home, people: pl.DataFrame, now: datetime) -> list[pl.Expr | pl.Series]:
    """Consent and what Meta said of each person before: refusal and refusal_detail, whatever the message is;
    marketing_refusal and marketing_refusal_detail, where it is marketing."""
    scopes = _scopes(home, people)
    unreachable = _of(home, "SELECT phone FROM unreachable WHERE true", "phone", people["phone"])
    capped = _of(
        home,
        f"SELECT contact_id FROM message WHERE error_code = {MARKETING_CAP} AND failed_at > {to_us(now - DAY)}",
        "contact_id",
        people["contact_id"],
    )
    by_contact = ("contact:" + pl.col("contact_id")).replace_strict(scopes, default=None, return_dtype=pl.String)
    by_phone = ("phone:" + pl.col("phone")).replace_strict(scopes, default=None, return_dtype=pl.String)
    default = home.project.settings.consent.default == "opted_in"

    def scope(value: Scope) -> pl.Expr:
        return ((by_contact == value) | (by_phone == value) | (pl.col("opt_out_scope") == value)).fill_null(False)

    applies = {
        Why.stopped_all: scope(Scope.all),
        Why.stopped_marketing: scope(Scope.marketing),
        Why.not_opted_in: ~pl.col("opted_in").fill_null(default) | scope(Scope.file),
        Why.unreachable: pl.col("phone").is_in(unreachable).fill_null(False),
        Why.capped: pl.col("contact_id").is_in(capped),
    }

    def said(what: str, *, marketing: bool) -> pl.Expr:
        return pl.coalesce(
            pl.when(applies[why]).then(pl.lit(str(getattr(refusal, what))))
            for why, refusal in REFUSALS.items()
            if marketing or not refusal.marketing
        )

    return [
        said("reason", marketing=False).alias("refusal"),
        said("detail", marketing=False).alias("refusal_detail"),
        said("reason", marketing=True).alias("marketing_refusal"),
        said("detail", marketing=True).alias("marketing_refusal_detail"),
    ]


def _scopes(home: Home, people: pl.DataFrame) -> dict[str, str]:
    """The scope of everything in force against these people, by subject."""
    subjects = pl.concat(["contact:" + people["contact_id"], "phone:" + people["phone"]])
    columns = {"subject": pl.String(), "scope": pl.String()}
    return dict(_found(home, "SELECT subject, scope FROM suppression WHERE true", columns, subjects).iter_rows())


def _of(home: Home, query: str, column: str, values: pl.Series) -> pl.Series:
    """Those of these values that a query finds, for `is_in`."""
    return _found(home, query, {column: pl.String()}, values).get_column(column).implode()


def _found(home: Home, query: str, columns: Mapping[str, pl.DataType], values: pl.Series) -> pl.DataFrame:
    """What a query (up to its WHERE) has of these values of its first column, and perhaps of others. Where it has fewer
    rows than values are asked for, all of it is read. Else they are asked for by the index: there may be a million
    others, and each event of a trigger would read them all."""
    asked, column = values.drop_nulls().unique(), next(iter(columns))
    if asked.len() > FEW:
        return home.ledger.frame(query, columns)
    whole = home.ledger.frame(f"{query} LIMIT {asked.len()}", columns)
    if whole.height < asked.len():
        return whole
    listed = msgspec.json.encode(asked.to_list()).decode()
    return home.ledger.frame(f"{query} AND {column} IN (SELECT value FROM json_each(?))", columns, (listed,))


def is_us(phones: pl.Series) -> pl.Series:
    """Whether a phone is of the United States; +1 is shared with Canada and others, so the area code decides."""
    starts = phones.str.slice(0, 5).unique().drop_nulls()
    areas = [text for text in starts if text.startswith("+1") and len(text) == 5]
    us = [
        area
        for area in areas
        if phonenumbers.region_code_for_number(phonenumbers.parse(f"{area}5550123", None)) == "US"
    ]
    return phones.str.slice(0, 5).is_in(us).fill_null(False)
