"""What a rehearsal says, as one document: people by outcome, messages by branch, what holds, time, coupons, money.

What belongs here: counting. The rehearsal itself is `pipelines.rehearse`, the command `estafette.planning`.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import polars as pl
import sqlalchemy as sa

from estafette.plan_limit import limit_document
from journey.campaign import Campaign
from journey.clock import civil_time, show_duration, zone
from journey.growth import outgrown
from journey.pricing import prices
from journey.reach import reach
from journey.reasons import held
from journey.steps import MessageStep
from journey.words import EntryOutcome, ParticipantState, SkipReason
from pipelines.media import addresses
from pipelines.rehearse import Rehearsal
from resources.home import Home
from resources.tables import sender as senders

SAMPLES = 3  # details of a skip that are told
INSIDE = (str(ParticipantState.active), str(ParticipantState.waiting))
MILLION = 1_000_000


def document(home: Home, found: Rehearsal) -> dict[str, Any]:
    """The whole document; `home` is the throw-away one on which it was rehearsed."""
    outcomes = _dict(found.entries.group_by("outcome").len().sort("len", "outcome", descending=[True, False]))
    later = _later(found)
    cost = _cost(found)
    duration = _duration(home, found)
    return {
        "campaign": found.campaign.name,
        "now": found.now,
        "audiences": [
            {"segment": one.segment, "people": one.rows, "left_out": one.left_out} for one in found.audiences
        ],
        "triggers": [{"event": one.event, "last": show_duration(one.max_age)} for one in found.triggers],
        "api": found.api,
        "outcomes": outcomes,
        "refused": _refused(found),
        "waiting_for_their_contact": found.waiting,
        "entered": outcomes.get(EntryOutcome.entered, 0),
        "control": outcomes.get(EntryOutcome.control, 0),
        "messages": found.messages.height,
        "by_branch": _branches(found),
        "skipped": _skipped(found),
        "held": _held(home, found),
        "waiting": _waiting(found),
        "left": _dict(_left(found)),
        "later": later,
        "duration": duration,
        "messaging_limit": limit_document(home, found),
        "coupons": [
            {
                "pool": one.name,
                "codes": one.codes,
                "free": one.free,
                "needed": one.needed + one.lacked,
                "left": one.free - one.needed,
                "lacking": one.lacked,
                "later_at_most": sum(row["people_at_most"] for row in later if row["pool"] == one.name),
            }
            for one in found.pools
        ],
        "cost": cost,
        "total": _totals(cost),
        "later_cost_at_most": _later_cost(home, found, later),
        "notes": list(_notes(home, found, cost)),
    }


# -- people ----------------------------------------------------------------------------------------------------------


def _refused(found: Rehearsal) -> list[dict[str, Any]]:
    """Why people did not enter, with the detail where there is one."""
    ok = [str(EntryOutcome.entered), str(EntryOutcome.control)]
    rows = (
        found.entries.filter(~pl.col("outcome").is_in(ok))
        .group_by("entry", "outcome", "detail")
        .agg(people=pl.len())
        .sort("people", "outcome", "detail", descending=[True, False, False])
    )
    return rows.to_dicts()


def _left(found: Rehearsal) -> pl.DataFrame:
    gone = found.people.filter(~pl.col("state").is_in([*INSIDE, str(ParticipantState.control)]))
    return gone.group_by("reason").len().sort("len", "reason", descending=[True, False])


def _waiting(found: Rehearsal) -> list[dict[str, Any]]:
    """Who came to rest at a step without a message: until when they wait there."""
    steps = found.campaign.steps
    rows = (
        found.people.filter(pl.col("state").is_in(INSIDE))
        .join(found.messages.select("participant_id"), on="participant_id", how="anti")
        .group_by("step")
        .agg(people=pl.len(), first=pl.col("wake_at").min(), last=pl.col("wake_at").max())
        .to_dicts()
    )
    order = list(steps)
    rows.sort(key=lambda row: order.index(row["step"]) if row["step"] in order else len(order))
    return [{**row, "kind": steps[row["step"]].kind if row["step"] in steps else None} for row in rows]


# -- messages --------------------------------------------------------------------------------------------------------


def _branches(found: Rehearsal) -> list[dict[str, Any]]:
    """Messages by step and the way that led there, in the file's order."""
    keys = ["step", "path", "kind", "template", "language", "category"]
    rows = (
        found.messages.group_by(keys)
        .agg(messages=pl.len(), held=pl.col("held_why").count())
        .sort("messages", *keys, descending=[True, *[False] * len(keys)])
        .to_dicts()
    )
    order = list(found.campaign.steps)
    return sorted(rows, key=lambda row: order.index(row["step"]))


def _skipped(found: Rehearsal) -> list[dict[str, Any]]:
    keys = ["step", "reason"]
    details = (
        found.skips.group_by(*keys, "detail")
        .agg(people=pl.len())
        .sort("people", "detail", descending=[True, False])
        .group_by(keys, maintain_order=True)
        .agg(details=pl.struct("detail", "people").head(SAMPLES), kinds=pl.len(), people=pl.col("people").sum())
        .sort("people", *keys, descending=[True, False, False])
    )
    return [
        {
            "step": row["step"],
            "reason": row["reason"],
            "people": row["people"],
            "details": row["details"],
            "more_details": max(0, row["kinds"] - SAMPLES),
        }
        for row in details.iter_rows(named=True)
    ]


def _held(home: Home, found: Rehearsal) -> list[dict[str, Any]]:
    """Messages that would wait: why, from when they may go out, until when; and which addresses can't be fetched."""
    of_media = found.messages.filter(pl.col("held_why") == SkipReason.media_unreachable)
    urls = addresses(home, of_media).get_column("url").drop_nulls().unique(maintain_order=True).to_list()
    rows = (
        found.messages.filter(pl.col("held_why").is_not_null())
        .group_by("held_why")
        .agg(
            messages=pl.len(),
            first=pl.col("due_at").min(),
            last=pl.col("due_at").max(),
            until=pl.col("expires_at").max(),
        )
        .sort("messages", "held_why", descending=[True, False])
        .to_dicts()
    )
    return [
        {
            "reason": (why := row.pop("held_why")),
            "why": held(why),
            **row,
            "urls": urls[:SAMPLES] if why == SkipReason.media_unreachable else [],
        }
        for row in rows
    ]


def _duration(home: Home, found: Rehearsal) -> dict[str, Any]:
    """How long the sender takes for them at its pace, and how many messages wait for the same sender already."""
    name = found.campaign.sender
    ceiling = float(home.project.settings.senders[name].messages_per_second)
    with home.ledger.read() as tx:
        row = tx.execute(sa.select(senders).where(senders.c.name == name)).one_or_none()
        waiting = tx.exec_driver_sql(
            "SELECT count(*) FROM message WHERE sender = ? AND state = 'planned'", (name,)
        ).scalar_one()
    pace = min(ceiling, row.pace) if row is not None and row.slowed_at is not None else ceiling
    now = found.messages.filter(pl.col("state") == "planned").height
    return {
        "sender": name,
        "messages_per_second": pace,
        "messages": found.messages.height,
        "seconds": round(found.messages.height / pace, 3) if pace else None,
        "waiting_already": int(waiting) - now,
    }


# -- what may come later ---------------------------------------------------------------------------------------------


def _positions(found: Rehearsal) -> dict[str, int]:
    inside = found.people.filter(pl.col("state").is_in(INSIDE))
    return _dict(inside.group_by("step").len().sort("step"))


def _later(found: Rehearsal) -> list[dict[str, Any]]:
    """Message steps that lie behind a message or a wait: how many people may reach each at most."""
    ahead: dict[str, int] = {}
    fallen: dict[str, int] = {}
    for step, people in _positions(found).items():
        way = reach(found.campaign, step)
        for one in way.ahead:
            ahead[one] = ahead.get(one, 0) + people
        for one in way.fallen:
            fallen[one] = fallen.get(one, 0) + people
    rows = []
    for name, sends in found.campaign.message_steps().items():
        if ahead.get(name) or fallen.get(name):
            rows.append(
                {
                    "step": name,
                    "people_at_most": ahead.get(name, 0) + fallen.get(name, 0),
                    "only_after_a_skip_or_failure": not ahead.get(name),
                    "again_and_again": name in reach(found.campaign, name).ahead,
                    "pool": _pool(sends),
                }
            )
    return rows


def _pool(step: MessageStep) -> str | None:
    message = step.message
    return message.coupons.pool if message.kind == "template" and message.coupons is not None else None


def _later_cost(home: Home, found: Rehearsal, later: Sequence[dict[str, Any]]) -> dict[str, float]:
    """What one message at each later step to everybody who may reach it would cost, by currency."""
    card = home.project.rates
    if not later or not card.currencies:
        return {}
    inside = found.people.filter(pl.col("state").is_in(INSIDE)).select("contact_id", "step")
    phones = home.contacts.frame(columns=["contact_id", "phone"], ids=inside.get_column("contact_id"))
    inside = inside.join(phones, on="contact_id", how="left")
    day = civil_time(found.now, zone(home.project.settings.timezone)).date()
    ways = {step: reach(found.campaign, step) for step in inside.get_column("step").unique()}
    total: dict[str, int] = {}
    for row in later:
        from_steps = [step for step, way in ways.items() if row["step"] in (*way.ahead, *way.fallen)]
        reaching = inside.filter(pl.col("step").is_in(from_steps)).get_column("phone")
        step = found.campaign.message_steps()[row["step"]]
        categories = pl.Series([_category(home, step)] * reaching.len(), dtype=pl.String)
        each = prices(card, reaching, categories, day, _currency(found.campaign))
        for currency, price in each.drop_nulls("price").group_by("currency").agg(pl.col("price").sum()).iter_rows():
            total[currency] = total.get(currency, 0) + price
    return {currency: price / MILLION for currency, price in sorted(total.items())}


def _category(home: Home, step: MessageStep) -> str | None:
    message = step.message
    if message.kind == "text":
        return None
    named = (one.category for (name, _), one in sorted(home.project.templates.items()) if name == message.template)
    return next(named, None)


# -- money and remarks -----------------------------------------------------------------------------------------------


def _currency(campaign: Campaign) -> str | None:
    limit = campaign.settings.stop_if.cost_above
    return limit[1] if limit is not None else None


def _cost(found: Rehearsal) -> list[dict[str, Any]]:
    keys = ["market", "category", "currency"]
    rows = (
        found.messages.group_by(keys)
        .agg(messages=pl.len(), price=pl.col("price").sum(), priced=pl.col("price").count())
        .sort("messages", *keys, descending=[True, False, False, False])
    )
    return [
        {**{key: row[key] for key in keys}, "messages": row["messages"],
         "price": row["price"] / MILLION if row["priced"] else None}
        for row in rows.iter_rows(named=True)
    ]  # fmt: skip


def _totals(cost: Sequence[dict[str, Any]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for row in cost:
        if row["price"] is not None:
            total[row["currency"]] = round(total.get(row["currency"], 0) + row["price"], 6)
    return total


def _notes(home: Home, found: Rehearsal, cost: Sequence[dict[str, Any]]) -> Iterator[str]:
    limits = found.campaign.settings.stop_if
    name = found.campaign.name
    for one in found.audiences:
        if limits.audience_above is not None and one.rows > limits.audience_above:
            yield (
                f"The audience of {one.segment} ({one.rows:,}) is above stop_if.audience_above"
                f" ({limits.audience_above:,}): a real run enters nobody and stops {name}; `estafette resume {name}`"
                " says yes."
            )
        elif (grown := outgrown(one.rows, one.earlier, limits.audience_grows)) is not None:
            yield (
                f"{grown[:1].upper()}{grown[1:]}: a real run enters nobody and stops {name}; `estafette resume {name}`"
                " says yes."
            )
    if limits.cost_above is not None:
        amount, currency = limits.cost_above
        planned = _totals(cost).get(currency, 0.0)
        if planned > amount:
            yield (
                f"These messages cost {planned:,.2f} {currency}, above stop_if.cost_above ({amount:,} {currency}):"
                f" a real run stops {name} on the way."
            )
    unpriced = sum(row["messages"] for row in cost if row["price"] is None)
    if unpriced:
        yield f"{unpriced:,} messages have no price: rates/*.csv has none for their market and category."
    if found.waiting:
        yield f"{found.waiting:,} people are not known yet; each waits 24h for their contact."
    if found.api:
        yield "Who comes in by the API can't be known ahead."
    for trigger in found.triggers:
        yield (
            f"The trigger {trigger.event} was rehearsed with the events of the last {show_duration(trigger.max_age)},"
            " as if they came now."
        )


def _dict(frame: pl.DataFrame) -> dict[str, int]:
    return {str(name): int(number) for name, number in frame.iter_rows()}


def show_seconds(seconds: float) -> str:
    """A length of time for people, to two units: `1h 12min`."""
    whole = timedelta(seconds=round(seconds))
    hours, rest = divmod(int(whole.total_seconds()), 3600)
    minutes, left = divmod(rest, 60)
    parts = [(hours, "h"), (minutes, "min"), (left, "s")]
    told = [f"{number}{unit}" for number, unit in parts if number]
    return " ".join(told[:2]) or "under a second"
