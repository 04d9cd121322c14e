"""Refusals: who may not be messaged, whatever the message: consent, dead phones, Meta's own cap, the United States.

What belongs here: looks into the ledger, as expressions over a frame of people. Consent is looked at again when a
message is claimed (`resources.outbox`).
"""

from datetime import datetime, timedelta

import phonenumbers
import polars as pl

from journey.clock import to_us
from journey.codes import MARKETING_CAP, UNDELIVERABLE
from journey.words import Scope, SkipReason
from resources.home import Home

DAY = timedelta(hours=24)


def refusals(home: Home, people: pl.DataFrame, now: datetime) -> list[pl.Expr | pl.Series]:
    """refusal, refusal_detail, refusal_marketing_only: consent and what Meta said of this person before."""
    ledger = home.ledger
    suppressed = ledger.frame("SELECT subject, scope FROM suppression", {"subject": pl.String, "scope": pl.String})
    scopes = dict(suppressed.iter_rows())
    unreachable = ledger.frame("SELECT phone FROM unreachable", {"phone": pl.String}).get_column("phone").implode()
    capped = (
        ledger.frame(
            f"SELECT contact_id FROM message WHERE error_code = {MARKETING_CAP} AND failed_at > ?",
            {"contact_id": pl.String},
            (to_us(now - DAY),),
        )
        .get_column("contact_id")
        .implode()
    )
    by_contact = ("contact:" + pl.col("contact_id")).replace_strict(scopes, default=None, return_dtype=pl.String)
    by_phone = ("phone:" + pl.col("phone")).replace_strict(scopes, default=None, return_dtype=pl.String)
    default = home.project.settings.consent.default == "opted_in"

    def scope(value: Scope) -> pl.Expr:
        return ((by_contact == value) | (by_phone == value) | (pl.col("opt_out_scope") == value)).fill_null(False)

    not_in = ~pl.col("opted_in").fill_null(default) | scope(Scope.file)
    is_unreachable = pl.col("phone").is_in(unreachable).fill_null(False)
    is_capped = pl.col("contact_id").is_in(capped)
    chosen = (
        pl.when(scope(Scope.all)).then(pl.lit(SkipReason.opted_out.value))
        .when(not_in).then(pl.lit(SkipReason.not_opted_in.value))
        .when(is_unreachable).then(pl.lit(SkipReason.invalid_phone.value))
        .when(scope(Scope.marketing)).then(pl.lit(SkipReason.opted_out.value))
        .when(is_capped).then(pl.lit(SkipReason.meta_marketing_cap.value))
    )  # fmt: skip
    detail = (
        pl.when(scope(Scope.all)).then(pl.lit("opted out of everything"))
        .when(not_in).then(pl.lit("no opt-in"))
        .when(is_unreachable).then(pl.lit(f"Meta said {UNDELIVERABLE} of this phone"))
        .when(scope(Scope.marketing)).then(pl.lit("opted out of marketing"))
        .when(is_capped).then(pl.lit(f"Meta said {MARKETING_CAP} of this person in the last 24 hours"))
    )  # fmt: skip
    only = ~(scope(Scope.all) | not_in | is_unreachable)
    return [
        chosen.otherwise(None).alias("refusal"),
        detail.otherwise(None).alias("refusal_detail"),
        only.alias("refusal_marketing_only"),
    ]


def is_us(phones: pl.Series) -> pl.Series:
    """Whether a phone is of the United States; +1 is shared with Canada and others, so the area code decides."""
    areas = {text[:5] for text in phones.drop_nulls() if text.startswith("+1") and len(text) >= 5}
    us = {
        area
        for area in areas
        if phonenumbers.region_code_for_number(phonenumbers.parse(f"{area}5550123", None)) == "US"
    }
    return phones.str.slice(0, 5).is_in(list(us)).fill_null(False)
