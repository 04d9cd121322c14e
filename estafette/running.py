"""`run`: one audience occurrence now, followed until its first messages are settled.

What belongs here: refusing what can't run, adding the occurrence, following it, its funnel. A pass that is at work
elsewhere may take the occurrence along; then it is followed, and a pass of our own is made where that one ends before.
This room imports Dagster.
"""

import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from rich.console import Console

from estafette import show
from estafette.counts import occurrence_funnel, settled
from estafette.failing import MOST_SECONDS
from estafette.lease import describe, holder
from estafette.session import Session, console
from journey.campaign import Campaign
from journey.clock import to_us
from journey.problems import EstafetteError, ProjectError
from pipelines.audiences import add_occurrence
from pipelines.run import run_pass
from resources.hold import held
from resources.home import Home
from resources.ledger import select_in
from resources.stopping import ensure_campaign, known
from resources.tables import occurrence

MOST = 20
"""Passes of one `run`: more than one are needed only where a sender was busy elsewhere."""

LOOK = 0.5

STUCK = 60.0
"""Seconds after which nobody waits for people whom the pass that is followed lets stand where they are."""

_STANDING = """SELECT count(*) FROM participant p JOIN occurrence o ON o.campaign = p.campaign AND o.name = p.occurrence
  WHERE o.id IN :ids AND p.left_at IS NULL AND p.wake_at <= :now
  AND NOT EXISTS (SELECT 1 FROM message m WHERE m.participant_id = p.id)
  AND NOT EXISTS (SELECT 1 FROM skip s WHERE s.participant_id = p.id)"""


def run(session: Session, name: str) -> None:
    """Run a campaign. EstafetteError: it can't run now, and why."""
    with session.open() as home:
        campaign = runnable(home, name)
        found = follow(session, home, campaign)
    session.show(found, lambda out: draw_funnel(out, found))


def runnable(home: Home, name: str) -> Campaign:
    """The campaign, if it can enter people now. EstafetteError says what is in the way."""
    known(home.project, name)
    if name in home.project.holes:
        raise ProjectError(home.project.holes[name])
    campaign = home.project.campaigns[name]
    if campaign.draft:
        raise EstafetteError(f"{name} is a draft", mend=f"Remove `draft: true` from {campaign.file}")
    with home.ledger.read() as tx:
        why = held(tx)
    if why is not None:
        raise EstafetteError(why, mend="Run the campaign once they go on")
    stopped = home.stopped_campaigns()
    if name in stopped:
        raise EstafetteError(f"{name} is stopped ({stopped[name]})", mend=f"Run `estafette resume {name}` first")
    if not any(entry.kind == "audience" for entry in campaign.entries):
        raise EstafetteError(f"{name} has no audience entry", mend="Only audiences are run by hand")
    return campaign


def follow(session: Session, home: Home, campaign: Campaign) -> dict[str, Any]:
    """Add the occurrence, and pass or wait until its first messages are settled. Gives its funnel."""
    ensure_campaign(home.ledger, home.project, campaign.name, to_us(home.clock()))
    ids = add_occurrence(home, campaign, home.clock())
    with show.progress(console(stderr=True), campaign.name, lambda: settled(home, campaign.name, ids)):
        for _ in range(MOST):
            if not _wait(session, home, campaign.name, ids):
                run_pass(home.path, session.now)
                _entered_or_refused(home, campaign, ids)
            _nobody_asked(home, campaign, ids)
            if not _elsewhere(home, campaign.name, ids):
                break
    return occurrence_funnel(home, campaign.name, ids)


def _wait(session: Session, home: Home, name: str, ids: Sequence[int]) -> bool:
    """Follow a pass that is at work elsewhere; True where it has done all there is."""
    told = stuck = False
    come, since = (0, 0), time.monotonic()
    while (row := holder(home.ledger)) is not None:
        if not told:
            session.note(f"A pass is at work, {describe(row)}; following it.")
            told = True
        done = _done(home, ids, stuck)  # looked at first: who is let in a moment later has no message yet
        before, come = come, (_let_in(home, ids), _standing(home, ids))
        since = since if come == before else time.monotonic()
        stuck = time.monotonic() - since > STUCK
        if done and (stuck or not come[1]) and not _open(home, name, ids):
            return True
        time.sleep(LOOK)
    return False


def _elsewhere(home: Home, name: str, ids: Sequence[int]) -> bool:
    """Wait while lanes of another process send for this occurrence; whether another pass is of use then."""
    before = waiting = _open(home, name, ids)
    while waiting and any(row.name.startswith("send:") for row in home.ledger.leases()):
        time.sleep(LOOK)
        waiting = _open(home, name, ids)
    return waiting > 0 and waiting < before


def _done(home: Home, ids: Sequence[int], stuck: bool) -> bool:
    """Whether all are let in who enter now. `stuck`: whether their audience is known."""
    now = to_us(home.clock())
    with home.ledger.read() as tx:
        rows = tx.execute(sa.select(occurrence).where(occurrence.c.id.in_(ids))).all()
    return all(
        row.audience_file is not None and (stuck or row.done_at is not None or (row.next_at or 0) > now) for row in rows
    )


def _let_in(home: Home, ids: Sequence[int]) -> int:
    """How many of the audience have been let in, or refused."""
    positions = sa.select(sa.func.sum(occurrence.c.position)).where(occurrence.c.id.in_(ids))
    with home.ledger.read() as tx:
        return int(tx.execute(positions).scalar_one())


def _standing(home: Home, ids: Sequence[int]) -> int:
    """People who have been let in and have no message yet, nor a skip, though their time has come."""
    with home.ledger.read() as tx:
        [row] = select_in(tx, _STANDING, list(ids), now=to_us(home.clock()))
    return int(row[0])


def _open(home: Home, name: str, ids: Sequence[int]) -> int:
    """Messages that could still go out at this time."""
    found = occurrence_funnel(home, name, ids)
    tried = sum(number for why, number in found["held"].items() if why.startswith(("it is next", "it is tried")))
    return int(tried + found["states"].get("attempted", 0))


def _entered_or_refused(home: Home, campaign: Campaign, ids: Sequence[int]) -> None:
    """EstafetteError where the audience could not be evaluated; such an occurrence does not come back by itself."""
    with home.ledger.read() as tx:
        rows = tx.execute(
            sa.select(occurrence).where(occurrence.c.id.in_(ids), occurrence.c.audience_file.is_(None))
        ).all()
    with home.ledger.write() as tx:  # all of them, before the first one is told
        tx.execute(
            occurrence.update()
            .where(occurrence.c.id.in_([row.id for row in rows]), occurrence.c.audience_file.is_(None))
            .values(done_at=to_us(home.clock()))
        )
    for row in rows:  # once more, to say why; one that takes long is not given all its time again
        home.segment(campaign.entries[row.entry].segment, home.clock(), MOST_SECONDS)
        raise EstafetteError(
            f"the audience of {campaign.name} was not evaluated",
            mend="Run it again; Dagster's pages have the run's log",
        )


def _nobody_asked(home: Home, campaign: Campaign, ids: Sequence[int]) -> None:
    """EstafetteError where the audience waits for a yes (`stop_if`): nobody of it has entered."""
    waits = occurrence.c.asked_at.is_not(None) & occurrence.c.done_at.is_(None) & (occurrence.c.position == 0)
    with home.ledger.read() as tx:
        asked = tx.execute(sa.select(occurrence.c.id).where(occurrence.c.id.in_(ids), waits).limit(1)).first()
    why = home.stopped_campaigns().get(campaign.name)
    if asked is not None and why is not None:
        raise EstafetteError(
            f"{campaign.name} is stopped, nobody has entered: {why}",
            mend=f"`estafette resume {campaign.name}` says yes, and the next pass (`estafette tick`) lets them in",
        )


def draw_funnel(out: Console, found: dict[str, Any]) -> None:
    """The funnel of an occurrence, and what did not go on in it."""
    steps = {"audience": found["audience"], "entered": found["entered"], "planned": found["planned"]}
    out.print(f"{found['campaign']}: {', '.join(found['occurrences'])}")
    out.print(show.funnel({**steps, "accepted": found["accepted"]}))
    if found["left_out"]:
        out.print(f"Left out: {found['left_out']:,} rows of the segment without a known contact.")
    for title, key in (("Did not enter", "refused"), ("Skipped", "skipped"), ("Failed", "failed"), ("Held", "held")):
        if found[key]:
            out.print(show.table([title, "messages" if key in ("failed", "held") else "people"], found[key].items()))
    if found["unknown"]:
        out.print(
            f"{found['unknown']:,} unknown: nobody can say whether they went out; a status settles them.",
            style="yellow",
        )
    if not found["audience"]:
        out.print("Nobody is in the audience now.")
