"""`status`: who stands where, what was sent and skipped, what is held and why; read from the ledger, so it is fresh.

What belongs here: the one document of it, and how it looks.
"""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from rich.console import Console

from estafette import show
from estafette.campaign_now import IN_ORDER, campaign_now
from estafette.counts import by
from estafette.failing import told
from estafette.session import Session
from journey.clock import from_us, to_us
from journey.codes import code_of, explain
from journey.failures import KINDS, RUNBOOK, Failure, Found, place
from journey.messaging_limit import NO_LIMIT
from journey.pacing import faster
from resources.doing import evaluating
from resources.failures import failures, of_campaign
from resources.hold import doubtful, foreign, held, restored
from resources.home import Home
from resources.ledger import US
from resources.reached import standings
from resources.sharing import sharing
from resources.stopping import known
from resources.tables import campaign as campaigns
from resources.tables import quarantine
from resources.tables import sender as senders

BLOCKED_SECONDS = 3.0  # no transaction of ours takes one

TOLD_ELSEWHERE = frozenset(
    {
        Failure.ledger_blocked,
        Failure.sends_held, Failure.quarantine, Failure.sender_stopped, Failure.sender_resting, Failure.sender_shared,
        Failure.sender_slowed, Failure.template_held, Failure.coupons_out, Failure.campaign_trouble,
        Failure.campaign_holes, Failure.campaign_stopped, Failure.campaign_stranded,
    }
)  # fmt: skip
"""What the lines about a campaign, a sender and so on tell already, with more about it."""


def status(session: Session, name: str | None) -> None:
    """Show the status of one campaign, or of all and of everything around them."""
    with session.open() as home:
        names = _names(home)
        if name is not None and name not in names:
            known(home.project, name)
        chosen = [name] if name is not None else names
        wrong, shown = failures(home, home.project, home.clock()), [campaign_now(home, one) for one in chosen]
        if name is not None:
            campaign = home.project.campaigns.get(name)
            pools = campaign.pools() if campaign is not None else ()
            wrong = of_campaign(wrong, name, campaign.sender if campaign is not None else None, pools)
        found = {"now": home.clock(), "failures": [_failure(one) for one in wrong], "campaigns": shown, **_around(home)}
    session.show(found, lambda console: _draw(console, found, alone=name is not None))


def _failure(one: Found) -> dict[str, Any]:
    """Something that is wrong, as a document; `runbook` is where to read on."""
    return {
        "failure": str(one.kind),
        "about": one.about or None,
        "grave": one.known.grave,
        "what": one.says(one.known.what, show.cell),
        "detail": one.detail or None,
        "code": one.code,
        "mend": f"{one.asks} {one.says(one.known.mend, show.cell)}".strip(),
        "runbook": place(one.entry),
    }


def _names(home: Home) -> list[str]:
    with home.ledger.read() as tx:
        ran = tx.execute(sa.select(campaigns.c.name)).scalars().all()
    return sorted({*ran, *home.project.campaigns, *home.project.holes})


def _around(home: Home) -> dict[str, Any]:
    blocked = home.ledger.blocked(BLOCKED_SECONDS)
    configured = home.project.settings.senders
    shared = sharing(home, configured)
    with home.ledger.read() as tx:
        rows = {row.name: row for row in tx.execute(sa.select(senders)).all()}
        quarantined = by(tx, quarantine.c.source)
        limits = standings(tx, to_us(home.clock()))
        templates = tx.exec_driver_sql("SELECT name, language, status, code FROM template_hold ORDER BY 1, 2").all()
        after_restore = _after_restore(tx)
    return {
        "blocked": None if blocked is None else {"message": blocked.message, "mend": blocked.mend},
        "held_after_restore": after_restore,
        "senders": [
            {**_sender(home, name, float(one.messages_per_second), rows.get(name)), "shared": shared.get(name, [])}
            for name, one in configured.items()
        ],
        "messaging_limits": [
            {
                "portfolio": one.portfolio,
                "senders": list(one.senders),
                "people_in_24_hours": None if one.limit == NO_LIMIT else one.limit,
                "unlimited": one.limit == NO_LIMIT,
                "said_at": _time(one.said_at),
                "people": one.people,
                "waiting": one.waiting,
            }
            for one in limits
        ],
        "templates_on_hold": [dict(row._mapping) for row in templates],
        "quarantined": quarantined,
        "leases": [
            {
                "name": row.name,
                "holder": row.holder,
                "note": row.note,
                "segment": asdict(doing) if (doing := evaluating(row.note)) is not None else None,
                "until": datetime.fromtimestamp(row.until, UTC),
            }
            for row in home.ledger.leases()
        ],
        "published_at": (
            datetime.fromtimestamp(home.paths.analytics.stat().st_mtime, UTC)
            if home.paths.analytics.is_file()
            else None
        ),
    }


def _after_restore(tx: sa.Connection) -> dict[str, Any] | None:
    """What a restore holds, where it holds anything."""
    why, found = held(tx), restored(tx)
    if why is None or found is None:
        return None
    return {
        "why": why,
        "restored_at": _time(found.at),
        "backup_at": _time(found.since),
        "caught_up": found.known is not None,
        "in_doubt": doubtful(tx),
        "sent_and_not_known": foreign(tx),
    }


def _sender(home: Home, name: str, ceiling: float, row: Any) -> dict[str, Any]:
    stopped = row is not None and row.stopped_at is not None
    pace = ceiling  # it recovers by itself, and the row changes only when it is lowered
    if row is not None and row.slowed_at is not None:
        pace = faster(row.pace, ceiling, home.wall() - row.slowed_at / US)
    slowed = pace < ceiling
    return {
        "sender": name,
        "messages_per_second": ceiling,
        "slowed_to": pace if slowed else None,
        "slowed_at": datetime.fromtimestamp(row.slowed_at / US, UTC) if slowed else None,
        "stopped_at": _time(row.stopped_at) if stopped else None,
        "stopped_why": row.stopped_why if stopped else None,
        "mend": _resume(name, row.stopped_code) if stopped else None,
        "resting_since": _time(row.paused_at) if row is not None else None,
        "resting_why": row.paused_why if row is not None else None,
    }


def _resume(name: str, code: int | None) -> str:
    """What to do about a sender that Meta's code has stopped."""
    return f"{explain(code).sentence} {KINDS[Failure.sender_stopped].mend.format(name=name)}"


def _time(us: int | None) -> datetime | None:
    return from_us(us) if us is not None else None


def _draw(console: Console, found: dict[str, Any], *, alone: bool) -> None:
    if found["blocked"] is not None:
        console.print(f"Blocked: {found['blocked']['message']}.", style="red", soft_wrap=True)
        console.print(f"  {found['blocked']['mend']}.", style="red", soft_wrap=True)
    for one in sorted(found["failures"], key=lambda one: not one["grave"]):
        if one["failure"] not in TOLD_ELSEWHERE:
            style = "red" if one["grave"] else "yellow"
            about = f"{one['about']}: " if one["failure"] == Failure.messages_unknown and one["about"] else ""
            detail = f" {one['detail']}" if one["detail"] else ""
            console.print(f"{about}{one['what']}{detail}", style=style, soft_wrap=True)
            console.print(f"  {one['mend']}", style=style, soft_wrap=True)
    back = found["held_after_restore"]
    if back is not None:
        console.print(
            f"Restored {show.cell(back['restored_at'])} as of {show.cell(back['backup_at'])}: {back['why']}.",
            style="red",
        )
        console.print(
            f"{back['in_doubt']:,} messages may have gone out in between: they are taken as sent then, or go out with"
            " --send-unconfirmed.",
            style="red",
        )
    for one in found["campaigns"]:
        _draw_campaign(console, one)
    if not found["campaigns"]:
        console.print("There is no campaign yet; `estafette init DIR` makes a home with an example.")
    show.heading(console, "Senders")
    for one in found["senders"]:
        pace = f"{one['messages_per_second']:g} a second"
        if one["slowed_to"] is not None:
            pace += f", slowed to {one['slowed_to']:g} and recovering by itself, because Meta asked for it"
        console.print(f"{one['sender']}: {pace}")
        for what in one["shared"]:
            mend = KINDS[Failure.sender_shared].mend
            console.print(f"  shared? {what}. {mend}", style="yellow", soft_wrap=True)
        if one["resting_since"] is not None:
            since = show.cell(one["resting_since"])
            console.print(
                f"  bulk rests since {since}: {one['resting_why']}. What is transactional goes on.", style="red"
            )
            mend = KINDS[Failure.sender_resting].mend.format(name=one["sender"])
            console.print(f"  {mend}", style="red", soft_wrap=True)
        if one["stopped_at"] is not None:
            console.print(f"  stopped {show.cell(one['stopped_at'])}: {one['stopped_why']}", style="red")
            console.print(f"  {one['mend']}", style="red", soft_wrap=True)
    for one in found["messaging_limits"]:
        if one["people_in_24_hours"] is not None:
            of = f" ({one['portfolio']})" if len(found["messaging_limits"]) > 1 else ""
            room = f"{one['people']:,} of {one['people_in_24_hours']:,} people in 24 hours"
            console.print(f"Messaging limit{of}: {room}; {one['waiting']:,} messages wait for a place.")
    told = ("skipped", "failed", "held", "did_not_enter")
    if found["failures"] or any(one[key] for one in found["campaigns"] for key in told):
        console.print(f"{RUNBOOK} tells more of each.", style="dim")
    for one in found["templates_on_hold"]:
        console.print(
            f"Template {one['name']} ({one['language']}) is {one['status']}: its messages wait.", style="yellow"
        )
        meant = f"{explain(one['code']).sentence} " if one["code"] else ""  # 0: Meta's news said so
        console.print(f"  {meant}{KINDS[Failure.template_held].mend}", style="yellow", soft_wrap=True)
    if found["quarantined"]:
        console.print(show.counts("Quarantined", found["quarantined"]))
        console.print(f"  {KINDS[Failure.quarantine].mend}", soft_wrap=True)
    if alone:
        return
    for one in found["leases"]:
        console.print(f"At work: {one['name']}, {one['holder']}" + (f" ({one['note']})" if one["note"] else ""))
    published = found["published_at"]
    console.print(f"Published for analysts: {show.cell(published) or 'not yet; run `estafette tick`'}")


def _draw_campaign(console: Console, one: dict[str, Any]) -> None:
    show.heading(console, f"{one['campaign']} ({one['state']})")
    if one["description"]:
        console.print(one["description"], style="dim")
    if one["stopped_at"] is not None:
        console.print(f"Stopped {show.cell(one['stopped_at'])}: {one['stopped_why']}", style="red", soft_wrap=True)
        code, mend = code_of(one["stopped_why"]), KINDS[Failure.campaign_stopped].mend.format(name=one["campaign"])
        meant = f"{explain(code).sentence} " if code is not None else ""
        console.print(f"  {meant}{mend}", style="red", soft_wrap=True)
    for hole in one["holes"]:
        place = f"{hole['file']}:{hole['line']}" if hole["line"] else hole["file"]
        console.print(f"{place}: {hole['field']}: {hole['message']}. {hole['mend']}", style="red", soft_wrap=True)
    if one["trouble"] is not None:
        trouble = one["trouble"]
        since = show.cell(trouble["since"])
        what = f"Stands still since {since}: {trouble['doing']} failed: {trouble['error']}"
        console.print(what, style="red", soft_wrap=True)
        console.print(f"  {trouble['mend']}", style="red", soft_wrap=True)
    if one["stranded"] is not None:
        people = one["stranded"]["people"]
        who = f"{people:,} {'person is' if people == 1 else 'people are'} inside, and nobody moves."
        console.print(f"{who} {one['stranded']['mend']}.", style="yellow", soft_wrap=True)
    _draw_entries(console, one)
    if one["did_not_enter"]:
        console.print(show.counts("Did not enter", one["did_not_enter"]))
    if not one["entered"] and not one["control"]:
        console.print("Nobody has entered yet.")
        return
    states = [s for s in IN_ORDER if any(s in step["messages"] for step in one["steps"].values())]
    rows = [
        [name, step["kind"], sum(step["inside"].values()), *(step["messages"].get(state, 0) for state in states)]
        for name, step in one["steps"].items()
    ]
    control = f", and {one['control']:,} in the control group" if one["control"] else ""
    console.print(f"{one['entered']:,} entered{control}")
    console.print(show.table(["step", "kind", "inside", *states], rows))
    for title, key in (("Left", "left"), ("Skipped", "skipped"), ("Failed", "failed")):
        if one[key]:
            console.print(show.counts(title, one[key]))
    for goal in one["goals"]:
        value = f", worth {goal['value']:g}" if goal["value"] is not None else ""
        console.print(f"Goal {goal['goal']}: {goal['reached']:,} passages reached it, {goal['arm']}{value}")
    for wait in one["held"]:
        console.print(
            f"Waiting: {wait['messages']:,} because {wait['why']}{_until(wait, one)}", style="yellow", soft_wrap=True
        )
        if wait["mend"]:
            console.print(f"  {wait['mend']}", style="yellow", soft_wrap=True)
    for pool in one["coupons"]:
        expired = f", {pool['expired']:,} expired" if pool["expired"] else ""
        style = "yellow" if not pool["free"] else ""
        console.print(f"Coupons {pool['pool']}: {pool['free']:,} of {pool['codes']:,} free{expired}", style=style)
        if not pool["free"]:
            console.print(f"  {KINDS[Failure.coupons_out].mend.format(name=pool['pool'])}", style=style, soft_wrap=True)


def _until(wait: dict[str, Any], campaign: dict[str, Any]) -> str:
    """When what waits may go out, and when the first is given up: never while its campaign stands still."""
    due = f", until {show.cell(wait['due_at'])}" if wait["due_at"] else ""
    if campaign["state"] != "live" or not wait["expires_at"]:
        return due
    return f"{due}, given up at {show.cell(wait['expires_at'])}"


def _draw_entries(console: Console, one: dict[str, Any]) -> None:
    """What comes next, what a failing segment holds up, and who is waited for."""
    for segment in one["failing"]:
        console.print(told(segment), style="red", soft_wrap=True)
    for entry in one["next"]:
        if entry["still_to_enter"]:
            when = show.cell(entry["next_enter_at"])
            console.print(f"{entry['segment']}: {entry['still_to_enter']:,} still to enter, the next at {when}")
        local = f" (as soon as clocks show {entry['local']})" if entry["local"] else ""
        fires = f"next at {show.cell(entry['fires_at'])}{local}" if entry["fires_at"] else "does not fire again"
        console.print(f"{entry['segment']} {fires}")
    for wait in one["waiting_for_their_contact"]:
        until = show.cell(wait["first_given_up_at"])
        console.print(
            f"{wait['people']:,} wait for their contact ({wait['entry']}), the first until {until}", style="yellow"
        )
