"""The rules of coming in, whatever brought a contact: once at a time, how often, and who is the control group.

What belongs here: the frame of those who are to come in, and the outcome of each of them. All of it pure: the caller
brings what the ledger knows. When an audience enters is `schedule`, which events are entries `trigger`.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal

import polars as pl

from journey.campaign import ApiEntry, AudienceEntry, Campaign, ReEntry, TriggerEntry
from journey.draws import drawn
from journey.words import EntryOutcome

INSTANT = pl.Datetime("us", "UTC")

#: Who is to come in, in the order in which they do. `place`: the entry's among the campaign's, from 0. `occurrence`:
#: the scheduled time, the event's id, the request's uuid. `key` is "" where the entry has none (`key_name` is null
#: then). `since`: from when events of `exit_on` count; null: from entering. `outcome` is null where it is to be judged,
#: and else settled already; `contact_id` may be null then.
CANDIDATES: Mapping[str, pl.DataType] = {
    "place": pl.Int64(),
    "occurrence": pl.String(),
    "contact_id": pl.String(),
    "event_id": pl.String(),
    "request_uuid": pl.String(),
    "key": pl.String(),
    "key_name": pl.String(),
    "attributes": pl.String(),
    "since": INSTANT,
    "not_after": INSTANT,
    "outcome": pl.String(),
    "detail": pl.String(),
}

#: Passages of a campaign that are under way: of the candidates' contacts at least.
INSIDE: Mapping[str, pl.DataType] = {"contact_id": pl.String(), "key": pl.String()}

#: How many passages of a campaign count for its rule, by contact: of the candidates' at least.
PASSED: Mapping[str, pl.DataType] = {"contact_id": pl.String(), "passages": pl.Int64()}

WAITING = "waiting"
"""Beside the outcomes: nobody is known by this id yet, and the entry waits for its contact."""

ReEntryRule = Literal["once", "always"] | ReEntry


def candidates(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` as CANDIDATES: columns that it does not have are null, `key` is ""."""
    absent = [
        pl.lit("" if name == "key" else None, kind).alias(name)
        for name, kind in CANDIDATES.items()
        if name not in frame.columns
    ]
    return frame.with_columns(absent).select(pl.col(name).cast(kind) for name, kind in CANDIDATES.items())


def re_entry_rule(campaign: Campaign, entry: AudienceEntry | TriggerEntry | ApiEntry) -> ReEntryRule:
    """How often a contact may come in by `entry`. What is written binds every entry of the campaign.

    Where nothing is written: `always` for triggers and the API, `once` for an audience. With `cron` it must be written;
    `check` sees to it, and until then the careful one holds.
    """
    if campaign.settings.re_entry is not None:
        return campaign.settings.re_entry
    return "once" if isinstance(entry, AudienceEntry) else "always"


def allowance(rule: ReEntryRule) -> tuple[int | None, timedelta | None]:
    """(most passages, None: any number; within which time before now, None: ever)."""
    if isinstance(rule, ReEntry):
        return rule.times, rule.per
    return (1, None) if rule == "once" else (None, None)


def judge(
    people: pl.DataFrame, inside: pl.DataFrame, passed: pl.DataFrame, most: int | None, campaign: str, control: float
) -> pl.DataFrame:
    """CANDIDATES with every `outcome`, as if they came in one after the other.

    `inside`: INSIDE. `passed`: PASSED, looked at where there is a `most`. `control`: the share of the control group.
    Who is in the campaign with the same key, or comes in by an earlier row, is `already_in`; who has used up `most`
    passages is `re_entry`; the others are `entered` or `control`. The control group leaves at once: it is in nobody's
    way, but its passages count.
    """
    contact_and_key = ["contact_id", "key"]
    rows = people.with_row_index("row").with_columns(
        open=pl.col("outcome").is_null(),
        drawn=drawn(control, people["contact_id"], campaign).fill_null(False),
    )
    rows = rows.join(inside.select(contact_and_key).unique().with_columns(inside=pl.lit(True)), on=contact_and_key,
                     how="left", maintain_order="left")  # fmt: skip
    rows = rows.with_columns(trying=pl.col("open") & ~pl.col("inside").fill_null(False))
    # Of several rows of one contact and key the first that tries is in, and the others find it there. Of the control
    # group nobody is there, but one occurrence is one entry, whichever entries it comes by.
    same: list[str | pl.Expr] = [*contact_and_key, pl.when("drawn").then("occurrence")]
    rows = rows.with_columns(
        first=pl.col("trying") & (pl.col("trying").cum_sum().over(same) == 1),
    )
    rows = rows.with_columns(nth=pl.col("first").cum_sum().over("contact_id").cast(pl.Int64))
    if most is None:
        used, full = pl.lit(False), pl.lit(False)
    else:
        rows = rows.join(passed.select("contact_id", "passages"), on="contact_id", how="left", maintain_order="left")
        before = pl.col("passages").fill_null(0)
        # `nth` counts the row itself, or the first of its key before it, which was refused where the rule is used up.
        used = before + pl.col("nth") > most
        full = before + _nth_of_first(same) > most
    outcome = (
        pl.when(~pl.col("open"))
        .then("outcome")
        .when(~pl.col("trying"))
        .then(pl.lit(EntryOutcome.already_in.value))
        .when(pl.when("first").then(used).otherwise(full))
        .then(pl.lit(EntryOutcome.re_entry.value))
        .when(~pl.col("first"))
        .then(pl.lit(EntryOutcome.already_in.value))
        .when("drawn")
        .then(pl.lit(EntryOutcome.control.value))
        .otherwise(pl.lit(EntryOutcome.entered.value))
    )
    return rows.with_columns(outcome=outcome).sort("row").select(list(CANDIDATES))


def _nth_of_first(same: list[str | pl.Expr]) -> pl.Expr:
    """The `nth` of the first row that tries, of the same contact and key."""
    return pl.when("first").then("nth").max().over(same)
