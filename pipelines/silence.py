"""Silence: when the messages of real people may go out, by the silent hours that bind them.

What belongs here: whose rule binds a campaign, contacts' zones, and who has just written and so is awake. The hours
themselves are `journey.silent_hours`; holding and letting go is `holding`.
"""

from datetime import datetime, timedelta

import polars as pl

from journey.campaign import Campaign, SilentHours
from journey.clock import to_us
from journey.silent_hours import quiet_times
from resources.home import Home

AWAKE = timedelta(minutes=15)
"""Whoever has written so lately is awake: silent hours hold nothing from them."""

LEAST = timedelta(seconds=60)
"""What silent hours held may go out in the first allowed minute at least, however short it could wait."""

FAR = timedelta(days=40)


def rule_of(home: Home, campaign: Campaign | None) -> SilentHours | None:
    """The silent hours that bind a campaign (None: a file that can't be read, or is gone): its own, else the
    project's; None where it has none."""
    own = campaign.settings.silent_hours if campaign is not None else None
    if own is None:
        return home.project.settings.silent_hours
    return own if isinstance(own, SilentHours) else None


def times_of(home: Home, rule: SilentHours | None, people: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """When messages may go out, looked at from a `moment` (Int64 microseconds, not after `now`) for each `contact_id`:
    `due_at`, the first allowed moment, and `quiet_at`, when silence begins after it (null: it does not), row by row.
    Contacts' zones are looked up where `people` has no `timezone`.

    Who has written in the last 15 minutes may be written to at once, until those are over.
    """
    moments = people.get_column("moment")
    if rule is None or people.is_empty():
        return quiet_times(None, moments, people.get_column("contact_id"), "UTC")
    default = home.project.settings.timezone
    joined = people.join(_awake(home, now), on="contact_id", how="left", maintain_order="left")
    if "timezone" in people.columns:
        pass
    elif rule.timezone is None:
        known = home.contacts.frame(["contact_id", "timezone"], people.get_column("contact_id"))
        joined = joined.join(known, on="contact_id", how="left", maintain_order="left")
    else:
        joined = joined.with_columns(timezone=pl.lit(None, pl.String))
    zones = joined.get_column("timezone")
    found = quiet_times(rule, moments, zones, default)
    found = found.with_columns(due_at=pl.col("due_at").fill_null(moments + FAR // timedelta(microseconds=1)))
    awake = joined.get_column("awake_until")
    if awake.null_count() == awake.len():
        return found
    after = quiet_times(rule, awake.fill_null(moments), zones, default)
    writes = awake.is_not_null()
    return found.select(
        due_at=pl.when(writes).then(moments).otherwise("due_at"),
        quiet_at=pl.when(writes)
        .then(pl.when((after["due_at"] == awake).fill_null(False)).then(after["quiet_at"]).otherwise(awake))
        .otherwise("quiet_at"),
    )


def expiry(expires: pl.Expr, due: pl.Expr, moment: pl.Expr, not_after: pl.Expr) -> pl.Expr:
    """How long a message may wait (microseconds): to the end of the first allowed minute where silence holds it past
    its own time, and never past the entry's `not_after`."""
    held = due > moment
    longer = pl.when(held).then(pl.max_horizontal(expires, due + LEAST // timedelta(microseconds=1))).otherwise(expires)
    return pl.min_horizontal(longer, not_after)  # a null bounds nothing


def _awake(home: Home, now: datetime) -> pl.DataFrame:
    """Who wrote in the last 15 minutes, to whichever sender, and until when that counts."""
    return home.ledger.frame(
        "SELECT max(contact_id), max(replied_at) + ? FROM reply WHERE replied_at > ? GROUP BY contact_id || ''",
        {"contact_id": pl.String, "awake_until": pl.Int64},
        (AWAKE // timedelta(microseconds=1), to_us(now - AWAKE)),
    )
