"""Limits: who gets no message now because of how many, or how few, there may be.

What belongs here: the holdout, the 24 hours in which free text may go out, and frequency caps: looks into the ledger
over a whole frame of people. They are looked at in this order, after whatever is wrong with the message itself, but for
the holdout, which stands before that; coupons come last, with the claim (`plan`). Consent and what Meta said of a
person is `refusals`.
"""

from datetime import datetime, timedelta

import polars as pl

from journey.campaign import Campaign
from journey.clock import show_duration, to_us
from journey.draws import drawn
from journey.steps import FrequencyCap, MessageStep, TemplateMessage
from journey.words import SkipReason
from resources.claim import WINDOW, last_written
from resources.home import Home
from resources.ledger import select_in

MARKETING = "MARKETING"
FEW = 50_000
"""Up to so many people are looked up one by one, in 10 µs each; of more, everybody's count is read at once."""

_WRONG = [
    SkipReason.template_not_approved,
    SkipReason.template_language_missing,
    SkipReason.missing_variable,
    SkipReason.missing_media,
    SkipReason.media_unreachable,
    SkipReason.too_long,
]
"""What may be wrong with a message itself: less than that its person is never to get one."""

_COUNTED = "counted AND planned_at > :since AND state NOT IN ('failed', 'skipped', 'cancelled')"
_COUNT = {"contact_id": pl.String, "count": pl.Int64}


def limited(home: Home, campaign: Campaign, step: MessageStep, people: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """`people` (as `rendering` gives them) with skip_reason and skip_detail of those who get none now, `counted` (it
    counts for caps) and `window_until` (Int64 microseconds, for free text)."""
    message = step.message
    if not isinstance(message, TemplateMessage):
        people = people.with_columns(counted=pl.lit(False))
        return _in_window(home, campaign.sender, people, now)
    cap, whose = _cap(home, campaign, message)
    people = people.with_columns(counted=pl.lit(cap != "ignore"), window_until=pl.lit(None, pl.Int64))
    if not campaign.by_hand:
        people = _held_out(home, message, people)
    return _capped(home, cap, whose, people, now) if isinstance(cap, FrequencyCap) else people


def _held_out(home: Home, message: TemplateMessage, people: pl.DataFrame) -> pl.DataFrame:
    """Nobody of the holdout gets marketing, whatever else is wrong with the message."""
    share = home.project.settings.holdout
    if share <= 0:
        return people
    library = [one for (name, _), one in home.project.templates.items() if name == message.template]
    likely = library[0].category if library else None  # of a template that is missing in the person's language
    open_ = pl.col("skip_reason").is_null() | pl.col("skip_reason").is_in([one.value for one in _WRONG])
    marketing = pl.coalesce("category", pl.lit(likely, pl.String)) == MARKETING
    out = (open_ & marketing & drawn(share, people.get_column("contact_id"))).fill_null(False)
    detail = f"one of the {share * 100:g}% whom no marketing is sent (holdout in estafette.yaml)"
    return _skip(people, out, SkipReason.holdout, pl.lit(detail))


def _in_window(home: Home, sender: str, people: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Free text goes only to who wrote to this sender in the last 24 hours."""
    width = WINDOW // timedelta(microseconds=1)
    ids = people.get_column("contact_id").unique()
    with home.ledger.read() as tx:
        if ids.len() <= FEW:
            found = last_written(tx, ids.to_list(), sender)
        else:
            rows = tx.exec_driver_sql(
                "SELECT max(contact_id) AS contact_id, max(replied_at) AS wrote_at FROM reply"
                " WHERE replied_at > ? AND sender = ? GROUP BY contact_id || ''",
                (to_us(now) - width, sender),
            )
            found = {str(row.contact_id): int(row.wrote_at) for row in rows}
    last = pl.DataFrame(
        {"contact_id": list(found), "wrote_at": list(found.values())},
        schema={"contact_id": pl.String, "wrote_at": pl.Int64},
    )
    people = people.join(last, on="contact_id", how="left", maintain_order="left")
    people = people.with_columns(window_until=pl.col("wrote_at") + width)
    closed = (pl.col("window_until") <= to_us(now)).fill_null(True)
    ago = pl.from_epoch("wrote_at", time_unit="us").dt.strftime("%Y-%m-%d %H:%M UTC")
    detail = (
        pl.when(pl.col("wrote_at").is_null())
        .then(pl.lit(f"not one message to {sender} in the last 24 hours"))
        .otherwise(pl.format(f"last wrote to {sender} at {{}}, 24 hours ago or more", ago))
    )
    return _skip(people, closed, SkipReason.outside_service_window, detail).drop("wrote_at")


def _cap(home: Home, campaign: Campaign, message: TemplateMessage) -> tuple[FrequencyCap | str | None, str]:
    """The cap that binds a message, and who says so."""
    rules = [
        (message.frequency_cap, "the message's own cap"),
        (campaign.settings.frequency_cap, f"the cap of {campaign.name}"),
        (home.project.settings.frequency_cap, "the cap of estafette.yaml"),
    ]
    return next(((rule, whose) for rule, whose in rules if rule is not None), (None, ""))


def _capped(home: Home, cap: FrequencyCap, whose: str, people: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Who has had as many as the cap allows. Several to one person count one after the other."""
    open_ = pl.col("skip_reason").is_null()
    ids = people.filter(open_).get_column("contact_id").unique()
    had = _had(home, ids, to_us(now - cap.per))
    people = people.join(had, on="contact_id", how="left", maintain_order="left")
    before = open_.cast(pl.Int64).cum_sum().over("contact_id") - 1
    over = open_ & (pl.col("count").fill_null(0) + before >= cap.messages)
    shown = pl.min_horizontal(pl.col("count").fill_null(0) + before, pl.lit(cap.messages, pl.Int64))
    detail = pl.format(f"{{}} of at most {cap.messages} in {show_duration(cap.per)} ({whose})", shown)
    return _skip(people, over, SkipReason.frequency_capped, detail).drop("count")


def _had(home: Home, ids: pl.Series, since: int) -> pl.DataFrame:
    """How many counted messages each contact has had (or is about to get) since then."""
    with home.ledger.read() as tx:
        if ids.len() <= FEW:
            rows = select_in(
                tx,
                f"SELECT contact_id, count(*) FROM message WHERE contact_id IN :ids AND {_COUNTED} GROUP BY contact_id",
                ids.to_list(),
                since=since,
            )
            return pl.DataFrame([tuple(row) for row in rows], schema=_COUNT, orient="row")
        # Grouped by an expression, so that nobody walks all messages ever in the order of contacts.
        query = f"SELECT max(contact_id), count(*) FROM message WHERE {_COUNTED} GROUP BY contact_id || ''"
        return home.ledger.frame(query, _COUNT, {"since": since}, tx)


def _skip(people: pl.DataFrame, which: pl.Expr | pl.Series, reason: SkipReason, detail: pl.Expr) -> pl.DataFrame:
    """Give a reason to those of `which`; for all but the holdout only where there is none yet."""
    if reason is not SkipReason.holdout:
        which = which & pl.col("skip_reason").is_null()
    return people.with_columns(
        skip_reason=pl.when(which).then(pl.lit(reason.value)).otherwise("skip_reason"),
        skip_detail=pl.when(which).then(detail).otherwise("skip_detail"),
    )
