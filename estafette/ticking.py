"""`tick`: a pass over all that is due, by the same job that the daemon runs.

What belongs here: when to make another pass, when to stop, and what the passes did, as the difference of two moments.
This room imports Dagster.
"""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from estafette import show
from estafette.counts import Snapshot, snapshot
from estafette.failing import failing, told
from estafette.lease import describe, holder
from estafette.session import Session
from journey.failures import KINDS, Failure
from pipelines.run import run_pass
from pipelines.sensors import look
from resources.containing import troubles
from resources.home import Home

MOST = 100
"""Passes of one `--until-idle`. A pass does all that is due, so a handful is much; this ends what would never end."""


def tick(session: Session, *, until_idle: bool) -> None:
    """Make a pass, or passes until nothing is due at this time or nothing more can be done. EstafetteError: a pass
    failed."""
    with session.open() as home:
        before, path = snapshot(home), home.path
        runs = [one_pass(session, home, path)]
        after, due = snapshot(home), look(home)
        while until_idle and due.anything and len(runs) < MOST:
            previous = after
            runs.append(one_pass(session, home, path))
            after, due = snapshot(home), look(home)
            if after == previous:
                break
        now, standing_still = home.clock(), troubles(home.ledger)
        held_up = [
            {"campaign": name, **one}
            for name, campaign in home.project.live_campaigns().items()
            if name not in home.stopped_campaigns()
            for one in failing(home, campaign)
        ]
    document = {**difference(before, after), "runs": runs, "still_due": str(due) if due.anything else None}
    document["failing"] = held_up
    document["troubles"] = [
        {"campaign": name, "doing": row.doing, "error": row.error} for name, row in standing_still.items()
    ]
    session.show(document, lambda console: _draw(console, document, now))


def one_pass(session: Session, home: Home, path: Path) -> str:
    """One pass of our own, after the one that may be at work elsewhere. Gives Dagster's run id."""
    row = holder(home.ledger)
    if row is not None:
        session.note(f"Waiting: a pass is at work, {describe(row)}.")
    return run_pass(path, session.now)


def difference(before: Snapshot, after: Snapshot) -> dict[str, Any]:
    """What happened between two moments, and the states of all messages after."""
    skips = {name: number - before.skips.get(name, 0) for name, number in after.skips.items()}
    return {
        "entered": after.participants - before.participants,
        "planned": after.planned - before.planned,
        "accepted": after.accepted - before.accepted,
        "skipped": {name: number for name, number in skips.items() if number},
        "left": (before.inside - after.inside) + (after.participants - before.participants),
        "replies": after.replies - before.replies,
        "quarantined": after.quarantined - before.quarantined,
        "inside": after.inside,
        "messages": dict(asdict(after)["messages"]),
    }


def _draw(console: Console, found: dict[str, Any], now: datetime) -> None:
    passes = len(found["runs"])
    console.print(f"{passes} {'pass' if passes == 1 else 'passes'} at {now:%Y-%m-%d %H:%M} UTC.")
    names = ("entered", "planned", "accepted", "replies", "quarantined", "left")
    console.print(show.counts("Now", {name: found[name] for name in names}))
    if found["skipped"]:
        console.print(show.counts("Skipped", found["skipped"]))
    console.print(show.counts("All messages", found["messages"]))
    console.print(f"{found['inside']:,} people are inside campaigns.")
    for one in found["failing"]:
        console.print(f"{one['campaign']}: {told(one)}", style="red", soft_wrap=True)
    for one in found["troubles"]:
        mend = KINDS[Failure.campaign_trouble].mend
        text = f"{one['campaign']} stands still: {one['doing']} failed: {one['error']}. {mend}"
        console.print(text, style="red", soft_wrap=True)
    if found["still_due"]:
        console.print(f"Still due: {found['still_due']}; `estafette status` says what holds them.", style="yellow")
