"""`why`: everything that happened to one contact and why, and what they wait for now.

What belongs here: finding the contact, what each open passage waits for, and how it looks. What happened is `life`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import polars as pl
import sqlalchemy as sa
from rich.console import Console
from rich.text import Text

from estafette import show
from estafette.life import Item, life
from estafette.session import Session
from journey import reasons
from journey.clock import civil_time, from_us, show_duration, to_us, zone
from journey.phones import normalise
from journey.problems import EstafetteError
from journey.steps import DelayStep, EventMatch, MessageStep, Step, WaitBranch, WaitForStep
from resources.home import Home
from resources.stopping import known
from resources.tables import campaign as campaigns
from resources.tables import message, participant, suppression, waiting_entry

SUGGESTED = 5
STYLES = {"skip": "yellow", "entry": "bold", "leave": "bold", "consent": "magenta", "reply": "cyan", "click": "cyan"}


def why(session: Session, given: str, name: str | None) -> None:
    """Show what happened to a contact (an id or a phone), in one campaign or at all. EstafetteError: nobody has it."""
    with session.open() as home:
        if name is not None:
            _campaign(home, name)
        contact_id = find(home, given)
        items = life(home, contact_id, name)
        document = {
            "contact_id": contact_id,
            "campaign": name,
            "now": home.clock(),
            "contact": _contact(home, contact_id),
            "happened": [_document(one) for one in items],
            "waits": list(_waits(home, contact_id, name)),
        }
        timezone = home.project.settings.timezone
    session.show(document, lambda console: _draw(console, document, items, timezone))


def find(home: Home, given: str) -> str:
    """The id of the contact that has this id or this phone, also one that is only known by its history.

    EstafetteError: there is none; it names ids that look alike.
    """
    ids = home.contacts.find(ids=[given])
    if ids.height:
        return given
    phone = normalise(given, home.project.settings.region)
    if phone is not None:
        holders = home.contacts.find(phones=[phone])
        if holders.height:
            return str(holders.row(0, named=True)["contact_id"])
    if _has_history(home, given):
        return given
    raise EstafetteError(f"there is no contact `{given}`", mend=_alike(home, given, phone))


def _has_history(home: Home, contact_id: str) -> bool:
    with home.ledger.read() as tx:
        for table in (participant, waiting_entry):
            if tx.execute(sa.select(table.c.id).where(table.c.contact_id == contact_id).limit(1)).first():
                return True
    if not home.lake.files("entries"):
        return False
    met = home.lake.scan("entries").filter(pl.col("contact_id") == contact_id).head(1).collect()
    return met.height > 0


def _alike(home: Home, given: str, phone: str | None) -> str:
    """Ids that are written almost like this one: a search over a million is a scan, not a measure of distance."""
    wanted = given.strip().casefold()
    if wanted:
        written = pl.col("contact_id").str.to_lowercase()
        near = (
            home.contacts.current(["contact_id"])
            .filter(written.str.contains(wanted, literal=True) | pl.lit(wanted).str.contains(written, literal=True))
            .head(SUGGESTED)
            .collect()
            .to_series()
            .to_list()
        )
        if near:
            return "Did you mean " + ", ".join(f"`{one}`" for one in near) + "?"
    if phone is not None:
        return f"Nobody has the phone {phone}; contacts come by `estafette import`"
    return 'Name an id or a phone; see `estafette query "SELECT contact_id FROM contacts LIMIT 5"`'


def _campaign(home: Home, name: str) -> None:
    with home.ledger.read() as tx:
        ran = tx.execute(sa.select(campaigns.c.name).where(campaigns.c.name == name)).first()
    if ran is None:
        known(home.project, name)


def _contact(home: Home, contact_id: str) -> dict[str, Any] | None:
    """Who it is and whether they may be messaged; None where only their history is left."""
    rows = home.contacts.frame(
        columns=["phone", "locale", "timezone", "tags", "opted_in", "opt_out_scope"], ids=[contact_id]
    )
    if rows.is_empty():
        return None
    found = rows.row(0, named=True)
    if found["opted_in"] is None:
        found["opted_in"] = home.project.settings.consent.default == "opted_in"
    subjects = [f"contact:{contact_id}", f"phone:{found['phone']}"]
    with home.ledger.read() as tx:
        scopes = tx.execute(sa.select(suppression.c.scope).where(suppression.c.subject.in_(subjects))).scalars().all()
    worst = next((scope for scope in ("all", "file", "marketing") if scope in scopes), None)
    return {**found, "opt_out_scope": found["opt_out_scope"] or worst}


# -- what is waited for ----------------------------------------------------------------------------------------------


def _waits(home: Home, contact_id: str, name: str | None) -> Iterator[dict[str, Any]]:
    stopped = home.stopped_campaigns()
    with home.ledger.read() as tx:
        query = sa.select(participant).where(participant.c.contact_id == contact_id, participant.c.left_at.is_(None))
        people = tx.execute(query.order_by(participant.c.id)).all()
        for row in people:
            if name is not None and row.campaign != name:
                continue
            newest = tx.execute(
                sa.select(message)
                .where(message.c.participant_id == row.id, message.c.step == row.step, message.c.visit == row.visit)
                .order_by(message.c.copy.desc())
                .limit(1)
            ).first()
            campaign = home.project.campaigns.get(row.campaign)
            step = campaign.steps.get(row.step) if campaign is not None else None
            text, until = _wait(row, step, newest)
            if campaign is None and row.campaign in home.project.holes:
                text, until = "the campaign's file, which has a hole; `estafette check` names it", None
            elif campaign is None:
                text, until = "the campaign's file, which is gone; `estafette drop` takes them out", None
            if until is not None and until <= to_us(home.clock()):
                text, until = f"{text}; the next pass looks", None
            if row.campaign in stopped:
                text += f"; the campaign is stopped: {stopped[row.campaign]}"
            elif campaign is not None and row.campaign not in home.project.live_campaigns():
                text += "; the campaign is not live, `estafette status` says why"
            yield {
                "campaign": row.campaign, "participant_id": row.id, "step": row.step, "visit": row.visit,
                "key": row.key or None, "waits_for": text, "until": from_us(until) if until is not None else None,
            }  # fmt: skip


def _wait(row: sa.Row[Any], step: Step | None, newest: sa.Row[Any] | None) -> tuple[str, int | None]:
    """What somebody inside waits for, and until when (microseconds)."""
    if step is None:
        return "the step is no longer in the file: the next pass ends it", None
    if newest is not None and newest.state in ("planned", "held"):
        if newest.held_why is not None:
            return (
                f"its message is held: {reasons.held(newest.held_why)}; it is given up at the time below",
                newest.expires_at,
            )
        return "its message is next to be sent", newest.expires_at
    if newest is not None and newest.state in ("attempted", "unknown"):
        return "whether Meta has its message", row.wake_at
    if isinstance(step, MessageStep) and newest is not None:
        if step.on_read is not None:
            return (
                f"a read within {show_duration(step.on_read.within)}; else it goes to {step.on_read.not_read}",
                row.wake_at,
            )
        if step.on_reply is not None:
            answers = ", ".join(f"“{one}”" for one in step.on_reply.answers)
            within = show_duration(step.on_reply.within)
            return f"an answer ({answers}) within {within}; silence goes to {step.on_reply.silence}", row.wake_at
    if isinstance(step, WaitForStep):
        branches = "; ".join(f"{_branch(one)} → {one.next}" for one in step.branches)
        return f"{branches}; else it goes to {step.otherwise}", row.wake_at
    if isinstance(step, DelayStep) and row.state == "waiting":
        return f"its time; then it goes to {step.next}", row.wake_at
    return "the next pass", row.wake_at


def _branch(one: WaitBranch) -> str:
    if one.kind == "event" and one.match is not None:
        return f"the event {_event(one.match)}"
    if one.kind == "reply":
        answers = f" ({', '.join(one.answers)})" if one.answers else ""
        return f"an answer to {one.step}{answers}"
    if one.kind == "click":
        return f"a tap on {one.button if one.button is not None else 'a link'} of {one.step}"
    return f"a read of {one.step}"


def _event(match: EventMatch) -> str:
    return match.event + (f" with {', '.join(match.where)}" if match.where else "")


# -- how it looks ----------------------------------------------------------------------------------------------------


def _document(one: Item) -> dict[str, Any]:
    found = asdict(one)
    del found["place"]
    return {**found, "mend": one.mend or None}


def _draw(out: Console, document: dict[str, Any], items: Sequence[Item], timezone: str) -> None:
    def local(time: datetime | None) -> str:
        return "" if time is None else f"{civil_time(time, zone(timezone)):%Y-%m-%d %H:%M:%S}"

    who = document["contact"]
    about = "no longer a contact" if who is None else f"{who['phone'] or 'no phone'}, {_may(who)}"
    out.print(f"{document['contact_id']}: {about}. Times in {timezone}.")
    if not items:
        where = f" in {document['campaign']}" if document["campaign"] else ""
        out.print(f"Nothing has happened{where} yet.")
    for one in items:
        head = f"{local(one.at)}  {one.campaign or '':<20}  "
        text = one.text + (f" until {local(one.data['until'])}" if one.what == "waiting" else "")
        out.print(Text.assemble((head, "dim"), (text, STYLES.get(one.what, ""))), soft_wrap=True)
        if one.mend:
            out.print(Text.assemble(" " * len(head), ("→ ", "yellow"), (one.mend, "dim")), soft_wrap=True)
    if document["waits"]:
        rows = [
            [one["campaign"], one["key"] or "", one["step"], one["waits_for"], local(one["until"])]
            for one in document["waits"]
        ]
        columns = ["inside", "key", "at", "waits for", "until"]
        if not any(row[1] for row in rows):
            columns, rows = [*columns[:1], *columns[2:]], [[*row[:1], *row[2:]] for row in rows]
        show.heading(out, "Now")
        out.print(show.table(columns, rows))


def _may(who: dict[str, Any]) -> str:
    if who["opt_out_scope"] == "all":
        return "opted out of everything"
    if not who["opted_in"] or who["opt_out_scope"] == "file":
        return "not opted in"
    return "opted in, but opted out of marketing" if who["opt_out_scope"] == "marketing" else "opted in"
