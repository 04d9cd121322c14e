"""`status`: who stands where, what was sent and skipped, what is held and why; read from the ledger, so it is fresh.

What belongs here: the one document of it, and how it looks.
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from rich.console import Console

from estafette import show
from estafette.checking import describe_state, document, known
from estafette.counts import by, held
from estafette.session import Session
from journey.clock import from_us
from journey.codes import explain
from journey.words import MessageState
from resources.home import Home
from resources.ledger import US
from resources.tables import campaign as campaigns
from resources.tables import message, participant, quarantine, skip
from resources.tables import sender as senders

IN_ORDER = [str(one) for one in MessageState]


def status(session: Session, name: str | None) -> None:
    """Show the status of one campaign, or of all and of everything around them."""
    with session.open() as home:
        names = _names(home)
        if name is not None and name not in names:
            known(home.project, name)
        chosen = [name] if name is not None else names
        found = {"now": home.clock(), "campaigns": [_campaign(home, one) for one in chosen], **_around(home)}
    session.show(found, lambda console: _draw(console, found, alone=name is not None))


def _names(home: Home) -> list[str]:
    with home.ledger.read() as tx:
        ran = tx.execute(sa.select(campaigns.c.name)).scalars().all()
    return sorted({*ran, *home.project.campaigns, *home.project.holes})


def _campaign(home: Home, name: str) -> dict[str, Any]:
    with home.ledger.read() as tx:
        row = tx.execute(sa.select(campaigns).where(campaigns.c.name == name)).one_or_none()
        rows = tx.exec_driver_sql(
            "SELECT step, state, count(*) FROM participant WHERE campaign = ? AND left_at IS NULL GROUP BY 1, 2",
            (name,),
        ).all()
        left = by(tx, participant.c.reason, participant.c.campaign == name, participant.c.left_at.is_not(None))
        messages = tx.exec_driver_sql(
            "SELECT step, state, count(*) FROM message WHERE campaign = ? GROUP BY 1, 2", (name,)
        ).all()
        skips = by(tx, skip.c.reason, skip.c.campaign == name)
        codes = by(tx, message.c.error_code, message.c.campaign == name, message.c.state == "failed")
        entered = sum(by(tx, participant.c.campaign, participant.c.campaign == name).values())
    campaign = home.project.campaigns.get(name)
    order = list(campaign.steps) if campaign is not None else []
    steps = sorted(
        {r[0] for r in (*rows, *messages)} | set(order), key=lambda s: (order.index(s) if s in order else 99, s)
    )
    return {
        "campaign": name,
        "state": describe_state(home, name),
        "description": campaign.description if campaign is not None else "",
        "version": row.version if row is not None else None,
        "stopped_at": _time(row.stopped_at) if row is not None else None,
        "stopped_why": row.stopped_why if row is not None else None,
        "entered": entered,
        "steps": {
            step: {
                "inside": {state: number for s, state, number in rows if s == step},
                "messages": _ordered({state: number for s, state, number in messages if s == step}),
            }
            for step in steps
        },
        "left": left,
        "skipped": skips,
        "failed": {f"{code} {explain(int(code)).title}": number for code, number in codes.items()},
        "held": [
            {"why": one.why, "messages": one.messages, "expires_at": _time(one.expires_at)} for one in held(home, name)
        ],
        "holes": [document(one) for one in home.project.holes.get(name, [])],
    }


def _around(home: Home) -> dict[str, Any]:
    configured = home.project.settings.senders
    with home.ledger.read() as tx:
        rows = {row.name: row for row in tx.execute(sa.select(senders)).all()}
        quarantined = by(tx, quarantine.c.source)
        templates = tx.exec_driver_sql("SELECT name, language, status, code FROM template_hold ORDER BY 1, 2").all()
    return {
        "senders": [_sender(name, float(one.messages_per_second), rows.get(name)) for name, one in configured.items()],
        "templates_on_hold": [dict(row._mapping) for row in templates],
        "quarantined": quarantined,
        "leases": [
            {"name": row.name, "holder": row.holder, "note": row.note, "until": datetime.fromtimestamp(row.until, UTC)}
            for row in home.ledger.leases()
        ],
        "published_at": (
            datetime.fromtimestamp(home.paths.analytics.stat().st_mtime, UTC) if home.paths.analytics.exists() else None
        ),
    }


def _sender(name: str, ceiling: float, row: Any) -> dict[str, Any]:
    stopped = row is not None and row.stopped_at is not None
    slowed = row is not None and row.slowed_at is not None and row.pace < ceiling
    return {
        "sender": name,
        "messages_per_second": ceiling,
        "slowed_to": row.pace if slowed else None,
        "slowed_at": datetime.fromtimestamp(row.slowed_at / US, UTC) if slowed else None,
        "stopped_at": _time(row.stopped_at) if stopped else None,
        "stopped_why": row.stopped_why if stopped else None,
        "mend": f"{explain(row.stopped_code).sentence} Then: estafette resume --sender {name}" if stopped else None,
    }


def _time(us: int | None) -> datetime | None:
    return from_us(us) if us is not None else None


def _ordered(found: dict[str, int]) -> dict[str, int]:
    return {state: found[state] for state in IN_ORDER if state in found}


def _draw(console: Console, found: dict[str, Any], *, alone: bool) -> None:
    for one in found["campaigns"]:
        _draw_campaign(console, one)
    if not found["campaigns"]:
        console.print("There is no campaign yet; `estafette init DIR` makes a home with an example.")
    show.heading(console, "Senders")
    for one in found["senders"]:
        pace = f"{one['messages_per_second']:g} a second"
        if one["slowed_to"] is not None:
            pace += f", slowed to {one['slowed_to']:g} and recovering"
        console.print(f"{one['sender']}: {pace}")
        if one["stopped_at"] is not None:
            console.print(f"  stopped {show.cell(one['stopped_at'])}: {one['stopped_why']}", style="red")
            console.print(f"  {one['mend']}", style="red")
    if alone:
        return
    for one in found["templates_on_hold"]:
        console.print(
            f"Template {one['name']} ({one['language']}) is {one['status']}: its messages wait.", style="yellow"
        )
    if found["quarantined"]:
        console.print(show.counts("Quarantined", found["quarantined"]))
    for one in found["leases"]:
        console.print(f"At work: {one['name']}, {one['holder']}" + (f" ({one['note']})" if one["note"] else ""))
    published = found["published_at"]
    console.print(f"Published for analysts: {show.cell(published) or 'not yet; run `estafette tick`'}")


def _draw_campaign(console: Console, one: dict[str, Any]) -> None:
    show.heading(console, f"{one['campaign']} ({one['state']})")
    if one["description"]:
        console.print(one["description"], style="dim")
    if one["stopped_at"] is not None:
        console.print(f"Stopped {show.cell(one['stopped_at'])}: {one['stopped_why']}", style="red")
    for hole in one["holes"]:
        place = f"{hole['file']}:{hole['line']}" if hole["line"] else hole["file"]
        console.print(f"{place}: {hole['field']}: {hole['message']}. {hole['mend']}", style="red", soft_wrap=True)
    if not one["entered"]:
        console.print("Nobody has entered yet.")
        return
    states = [s for s in IN_ORDER if any(s in step["messages"] for step in one["steps"].values())]
    rows = [
        [name, sum(step["inside"].values()), *(step["messages"].get(state, 0) for state in states)]
        for name, step in one["steps"].items()
    ]
    console.print(f"{one['entered']:,} entered")
    console.print(show.table(["step", "inside", *states], rows))
    for title, key in (("Left", "left"), ("Skipped", "skipped"), ("Failed", "failed")):
        if one[key]:
            console.print(show.counts(title, one[key]))
    for wait in one["held"]:
        until = f", until {show.cell(wait['expires_at'])}" if wait["expires_at"] else ""
        console.print(f"Waiting: {wait['messages']:,} because {wait['why']}{until}", style="yellow")
