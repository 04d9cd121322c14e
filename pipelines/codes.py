"""Codes: coupon codes and the codes of counted links, given to the messages of one chunk.

What belongs here: which message gets which code, and the bodies with the codes in them. Nothing is written here: the
codes become the messages' in the transaction that writes those (`plan`).
"""

import secrets
import string

import polars as pl
import sqlalchemy as sa

from journey.marks import LABEL, LINK, fill_marks, links_of
from journey.steps import MessageStep, TemplateMessage
from journey.words import SkipReason
from resources.coupons import free_codes, has_expired

LINK_CODE = 10  # characters of 62: among a billion codes the next is taken already once in 800 million times
_ALPHABET = (string.ascii_letters + string.digits).encode()
_FAIR = 256 - 256 % len(_ALPHABET)  # a byte from here on would favour the first letters
_TO_LETTERS = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))
_BEYOND = bytes(range(_FAIR, 256))
_CODE = "code."


def with_codes(tx: sa.Connection, step: MessageStep, people: pl.DataFrame, now: int) -> pl.DataFrame:
    """`people` with `coupon_id` (Int64) and one column `code.N` for each counted link, both in the bodies too; whoever
    comes too late for a coupon code is skipped. Codes are given out in the order of the rows."""
    people = _with_coupons(tx, step, people, now)
    going = pl.col("skip_reason").is_null()
    numbers = links_of(people.columns)
    people = people.with_columns(
        pl.when(going & pl.col(f"{LINK}{number}").is_not_null())
        .then(pl.Series(_link_codes(people.height), dtype=pl.String))
        .alias(f"{_CODE}{number}")
        for number in numbers
    )
    bodies = people.select(pl.when(going).then("body").alias("body")).to_series()
    vouchers = people.get_column("coupon_code") if isinstance(step.message, TemplateMessage) else None
    codes = {number: people.get_column(f"{_CODE}{number}") for number in numbers}
    people = people.with_columns(
        fill_marks(bodies, vouchers, codes).alias("body"),
        *(
            fill_marks(people.select(pl.when(going).then(f"{LINK}{n}").alias("url")).to_series(), vouchers).alias(
                f"{LINK}{n}"
            )
            for n in numbers
        ),
    )
    return people.drop("coupon_code")


def link_rows(messages: pl.DataFrame, first_id: int) -> list[tuple[str, int, str, str]]:
    """Rows of `link` (code, message id, button, url) of messages that get the ids from `first_id` on."""
    placed = messages.with_columns(message_id=pl.int_range(first_id, first_id + messages.height, dtype=pl.Int64))
    return [
        row
        for number in links_of(messages.columns)
        for row in placed.filter(pl.col(f"{_CODE}{number}").is_not_null())
        .select(f"{_CODE}{number}", "message_id", f"{LABEL}{number}", f"{LINK}{number}")
        .iter_rows()
    ]


def coupon_rows(messages: pl.DataFrame, first_id: int) -> list[tuple[int, int, str]]:
    """(coupon id, message id, contact id) of messages that get the ids from `first_id` on."""
    placed = messages.with_columns(message_id=pl.int_range(first_id, first_id + messages.height, dtype=pl.Int64))
    rows = placed.filter(pl.col("coupon_id").is_not_null()).select("coupon_id", "message_id", "contact_id")
    return list(rows.iter_rows())


def _with_coupons(tx: sa.Connection, step: MessageStep, people: pl.DataFrame, now: int) -> pl.DataFrame:
    wanted = step.message.coupons if isinstance(step.message, TemplateMessage) else None
    if wanted is None:
        return people.with_columns(coupon_id=pl.lit(None, pl.Int64), coupon_code=pl.lit(None, pl.String))
    going = people.get_column("skip_reason").is_null() & people.get_column("needs_coupon")
    codes = free_codes(tx, wanted.pool, int(going.sum()), now)
    place = going.cast(pl.Int64).cum_sum() - 1
    given = pl.DataFrame(
        {"place": range(len(codes)), "coupon_id": [i for i, _ in codes], "coupon_code": [code for _, code in codes]},
        schema={"place": pl.Int64, "coupon_id": pl.Int64, "coupon_code": pl.String},
    )
    placed = people.with_columns(place=pl.when(going).then(place))
    people = placed.join(given, on="place", how="left", maintain_order="left").drop("place")
    without = going & people.get_column("coupon_id").is_null()
    if not without.any():
        return people
    expired = has_expired(tx, wanted.pool, now)
    reason = SkipReason.coupons_expired if expired else SkipReason.coupons_exhausted
    detail = f"every free code of the pool {wanted.pool} has expired" if expired else None
    detail = detail or f"the pool {wanted.pool} has no free code left"
    return people.with_columns(
        skip_reason=pl.when(without).then(pl.lit(reason.value)).otherwise("skip_reason"),
        skip_detail=pl.when(without).then(pl.lit(detail)).otherwise("skip_detail"),
    )


def _link_codes(wanted: int) -> list[str]:
    """Random codes of letters and digits that nobody can guess from others."""
    letters = b""
    while len(letters) < wanted * LINK_CODE:
        letters += secrets.token_bytes(wanted * LINK_CODE + 64).translate(_TO_LETTERS, _BEYOND)
    text = letters.decode()
    return [text[start : start + LINK_CODE] for start in range(0, wanted * LINK_CODE, LINK_CODE)]
