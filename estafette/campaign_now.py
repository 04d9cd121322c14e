"""One campaign as it is now, as a document: who stands where, what was sent, what is held and why, what comes next.

What belongs here: reading it from the ledger, which is fresh. How it looks is `estafette.status`.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa

from estafette.checking import describe_state, document, state
from estafette.counts import by, held
from estafette.failing import failing
from journey.campaign import Campaign
from journey.clock import from_us, to_us
from journey.codes import explain
from journey.failures import KINDS, Failure
from journey.reasons import held as held_text
from journey.reasons import mend_of
from journey.schedule import CONTACT, next_occurrence
from journey.words import EntryOutcome, MessageState, ParticipantState, SkipReason
from pipelines.audiences import RUN
from pipelines.media import addresses
from resources.containing import troubles
from resources.coupons import left
from resources.home import Home
from resources.tables import campaign as campaigns
from resources.tables import goal, message, occurrence, participant, schedule, skip, waiting_entry

IN_ORDER = [str(one) for one in MessageState]
LOOKED_AT = 500  # held messages whose addresses are read
SHOWN = 3  # addresses that are told


def campaign_now(home: Home, name: str) -> dict[str, Any]:
    """The document of one campaign, also of one whose file is gone."""
    campaign = home.project.campaigns.get(name)
    with home.ledger.read() as tx:
        row = tx.execute(sa.select(campaigns).where(campaigns.c.name == name)).one_or_none()
        inside = tx.exec_driver_sql(
            "SELECT step, state, count(*) FROM participant WHERE campaign = ? AND left_at IS NULL GROUP BY 1, 2",
            (name,),
        ).all()
        gone = by(tx, participant.c.reason, participant.c.campaign == name, participant.c.left_at.is_not(None))
        messages = tx.exec_driver_sql(
            "SELECT step, state, count(*) FROM message WHERE campaign = ? GROUP BY 1, 2", (name,)
        ).all()
        skips = by(tx, skip.c.reason, skip.c.campaign == name)
        codes = by(tx, message.c.error_code, message.c.campaign == name, message.c.state == "failed")
        states = by(tx, participant.c.state, participant.c.campaign == name)
        goals = tx.execute(
            sa.select(goal.c.goal, goal.c.arm, sa.func.count(), sa.func.sum(goal.c.value))
            .where(goal.c.campaign == name)
            .group_by(goal.c.goal, goal.c.arm)
            .order_by(goal.c.goal, goal.c.arm.desc())
        ).all()
        waiting = tx.execute(
            sa.select(waiting_entry.c.kind, sa.func.count(), sa.func.min(waiting_entry.c.until))
            .where(waiting_entry.c.campaign == name)
            .group_by(waiting_entry.c.kind)
        ).all()
    control = states.get(ParticipantState.control, 0)
    order = list(campaign.steps) if campaign is not None else []
    steps = sorted(
        {r[0] for r in (*inside, *messages)} | set(order),
        key=lambda step: (order.index(step) if step in order else len(order), step),
    )
    return {
        "campaign": name,
        "state": describe_state(home, name),
        "description": campaign.description if campaign is not None else "",
        "version": row.version if row is not None else None,
        "stopped_at": _time(row.stopped_at) if row is not None else None,
        "stopped_why": row.stopped_why if row is not None else None,
        "entered": sum(states.values()) - control,
        "control": control,
        "steps": {
            step: {
                "kind": campaign.steps[step].kind if campaign is not None and step in campaign.steps else None,
                "inside": {state: number for s, state, number in inside if s == step},
                "messages": _ordered({state: number for s, state, number in messages if s == step}),
            }
            for step in steps
        },
        "did_not_enter": _did_not_enter(home, name),
        "left": {reason: number for reason, number in gone.items() if reason != ParticipantState.control},
        "skipped": skips,
        "failed": {f"{code} {explain(int(code)).title}": number for code, number in codes.items()},
        "held": [
            {
                "why": held_text(one.why) + _media(home, name, one.why),
                "mend": mend_of(one.why) or None,
                "messages": one.messages,
                "due_at": _time(one.due_at),
                "expires_at": _time(one.expires_at),
            }
            for one in held(home, name)
        ],
        "goals": [{"goal": one[0], "arm": one[1], "reached": one[2], "value": one[3]} for one in goals],
        "waiting_for_their_contact": [
            {"entry": kind, "people": number, "first_given_up_at": _time(until)} for kind, number, until in waiting
        ],
        "coupons": list(_coupons(home, campaign)) if campaign is not None else [],
        "next": list(_next(home, campaign)) if campaign is not None else [],
        "failing": _failing(home, campaign) if campaign is not None and _runs(home, name) else [],
        "stranded": _stranded(home, name, sum(number for _, _, number in inside)),
        "trouble": _trouble(home, name),
        "holes": [document(one) for one in home.project.holes.get(name, [])],
    }


def _did_not_enter(home: Home, name: str) -> dict[str, int]:
    """Who met an entry and did not come in, by outcome; nothing where files of it are lost, which is told elsewhere."""
    files = home.lake.files("entries")
    if not files or not all(Path(file).exists() for file in files):
        return {}
    came = [str(one) for one in (EntryOutcome.entered, EntryOutcome.control)]
    rows = home.lake.scan("entries").filter(pl.col("campaign") == name, ~pl.col("outcome").is_in(came))
    counted = rows.group_by("outcome").len().sort("len", "outcome", descending=[True, False]).collect()
    return {str(outcome): int(number) for outcome, number in counted.iter_rows()}


_NOT_LIVE = {
    "gone": "Its file is gone: put campaigns/{name}.yaml back, or take them out with `estafette drop {name} CONTACT…`",
    "draft": "It is a draft: they go on as soon as `draft` is taken out of campaigns/{name}.yaml",
    "holes": "Its file has an error: they go on when it is mended; `estafette check {name}` says what is wrong",
}


def _stranded(home: Home, name: str, inside: int) -> dict[str, Any] | None:
    """People inside a campaign that is not live: nobody moves and nothing is sent."""
    why = state(home.project, name)
    if not inside or why not in _NOT_LIVE:
        return None
    return {"people": inside, "mend": _NOT_LIVE[why].format(name=name)}


def _trouble(home: Home, name: str) -> dict[str, Any] | None:
    """The error, foreseen by nobody, for which the campaign stands still."""
    row = troubles(home.ledger).get(name)
    if row is None:
        return None
    return {
        "doing": row.doing,
        "error": row.error,
        "since": from_us(row.since),
        "mend": KINDS[Failure.campaign_trouble].mend,
    }


def _runs(home: Home, name: str) -> bool:
    return name in home.project.live_campaigns() and name not in home.stopped_campaigns()


def _media(home: Home, name: str, why: str) -> str:
    """The addresses that can't be fetched, of some of the messages held for that."""
    if why != SkipReason.media_unreachable:
        return ""
    rows = home.ledger.frame(
        "SELECT id, body_file, body_row FROM message WHERE campaign = ? AND state = 'held' AND held_why = ? LIMIT ?",
        {"id": pl.Int64, "body_file": pl.Int64, "body_row": pl.Int64},
        (name, why, LOOKED_AT),
    )
    found = addresses(home, rows).get_column("url").drop_nulls().unique(maintain_order=True).to_list()
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f" ({', '.join(found[:SHOWN])}{more})" if found else ""


def _coupons(home: Home, campaign: Campaign) -> Iterator[dict[str, Any]]:
    """What is left in each pool that the campaign takes codes from."""
    for pool in campaign.pools():
        with home.ledger.read() as tx:
            found = left(tx, pool, to_us(home.clock()))
        yield {"pool": pool, "free": found.free, "expired": found.expired, "codes": found.total}


def _next(home: Home, campaign: Campaign) -> Iterator[dict[str, Any]]:
    """When each schedule fires next, and what of the last firing is still to come."""
    now, timezone = home.clock(), home.project.settings.timezone
    for place, entry in campaign.audiences():
        if entry.when is None:
            continue
        with home.ledger.read() as tx:
            since = tx.execute(
                sa.select(schedule.c.since).where(schedule.c.campaign == campaign.name, schedule.c.entry == place)
            ).scalar()
            mine = (occurrence.c.campaign == campaign.name) & (occurrence.c.entry == place)
            last = tx.execute(
                sa.select(occurrence.c.name, occurrence.c.rows, occurrence.c.position, occurrence.c.next_at)
                .where(mine, ~occurrence.c.name.startswith(RUN))
                .order_by(occurrence.c.id.desc())
                .limit(1)
            ).first()
        ahead = next_occurrence(
            entry.when,
            timezone,
            live_since=from_us(since) if since is not None else now,
            last=last.name if last is not None else None,
            zones=_zones(home) if entry.when.timezone == CONTACT else (),
            now=now,
        )
        yield {
            "segment": entry.segment,
            "fires_at": ahead.evaluate_at if ahead is not None else None,
            "local": ahead.local.isoformat() if ahead is not None and ahead.local is not None else None,
            "still_to_enter": last.rows - last.position if last is not None and last.next_at is not None else 0,
            "next_enter_at": _time(last.next_at) if last is not None else None,
        }


# Files of the lake may be lost, which is told elsewhere: what does not need them is told all the same.


def _failing(home: Home, campaign: Campaign) -> list[dict[str, Any]]:
    try:
        return failing(home, campaign)
    except OSError:
        return []


def _zones(home: Home) -> Sequence[str | None]:
    try:
        return home.zones()
    except OSError:
        return ()


def _time(us: int | None) -> datetime | None:
    return from_us(us) if us is not None else None


def _ordered(found: dict[str, int]) -> dict[str, int]:
    return {state: found[state] for state in IN_ORDER if state in found}
