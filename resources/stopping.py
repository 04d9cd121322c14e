"""Campaigns and senders put on hold and let go again.

What belongs here: the writes, for the command line and the pages alike. Claiming a message looks at them, so a stop
holds within a turn of sending.
"""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from journey.problems import EstafetteError
from journey.spelling import suggest
from resources.ledger import Ledger
from resources.numbers import excuse
from resources.project import Project
from resources.spending import begin_anew
from resources.tables import campaign as campaigns
from resources.tables import sender as senders


@dataclass(frozen=True, slots=True)
class Stopped:
    """What a stop found: whether the campaign was stopped before, messages that wait, messages in flight."""

    already: bool
    waiting: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """For how many microseconds a campaign stood (None: it did not), and how many messages wait."""

    stood: int | None
    waiting: int


def known(project: Project, name: str) -> None:
    """EstafetteError where there is no campaign of that name; it names the nearest."""
    names = sorted({*project.campaigns, *project.holes})
    if name not in names:
        none = "Add campaigns/NAME.yaml"
        raise EstafetteError(f"there is no campaign `{name}`", mend=suggest(name, names, none=none))


def ensure_campaign(ledger: Ledger, project: Project, name: str, now: int) -> None:
    """The campaign's row in the ledger, where it has none yet. EstafetteError: there is no such campaign, or its file
    can't be read."""
    with ledger.read() as tx:
        row = tx.execute(sa.select(campaigns.c.name).where(campaigns.c.name == name)).one_or_none()
    if row is not None:
        return
    known(project, name)
    campaign = project.campaigns.get(name)
    if campaign is None:
        raise EstafetteError(f"{name} can't be read", mend=f"Run `estafette check {name}`")
    row_now = {"name": name, "version": campaign.version, "live_since": now}
    live = name in project.live_campaigns()
    with ledger.write() as tx:
        tx.execute(insert(campaigns).values(**row_now, live=live).on_conflict_do_nothing())


def stop_campaign(ledger: Ledger, project: Project, name: str, why: str, now: int) -> Stopped:
    """Stop a campaign. One that is stopped stays so, with its first reason. `now` in microseconds. EstafetteError as in
    `ensure_campaign`."""
    ensure_campaign(ledger, project, name, now)
    with ledger.write() as tx:
        row = tx.execute(sa.select(campaigns).where(campaigns.c.name == name)).one()
        if row.stopped_at is None:
            tx.execute(campaigns.update().where(campaigns.c.name == name).values(stopped_at=now, stopped_why=why))
        waiting, flying = waiting_messages(tx, name)
    return Stopped(row.stopped_at is not None, waiting, flying)


# The time in which a campaign stood does not count against its messages; `not_after` bounds them all the same.
_GIVE_BACK = """
UPDATE message SET expires_at = MIN(
  expires_at + MAX(0, :now - MAX(planned_at, :stopped)),
  COALESCE((SELECT p.not_after FROM participant p WHERE p.id = message.participant_id), 9223372036854775807)
)
WHERE campaign = :name AND state IN ('planned', 'held')
"""


def resume_campaign(ledger: Ledger, project: Project, name: str, now: int) -> Resumed:
    """Go on with a campaign; what waited expires later by as long as it stood. EstafetteError: there is no such
    campaign."""
    with ledger.read() as tx:
        row = tx.execute(sa.select(campaigns.c.stopped_at).where(campaigns.c.name == name)).one_or_none()
    if row is None:
        known(project, name)
        return Resumed(None, 0)
    with ledger.write() as tx:
        row = tx.execute(sa.select(campaigns.c.stopped_at).where(campaigns.c.name == name)).one()
        stood = None if row.stopped_at is None else max(0, now - row.stopped_at)
        if stood is not None:
            tx.exec_driver_sql(_GIVE_BACK, {"now": now, "stopped": row.stopped_at, "name": name})
            values = {"stopped_at": None, "stopped_why": None, "resumed_at": now}
            tx.execute(campaigns.update().where(campaigns.c.name == name).values(**values))
            begin_anew(tx, name)
        waiting, _ = waiting_messages(tx, name)
    return Resumed(stood, waiting)


def resume_sender(ledger: Ledger, name: str) -> bool:
    """Let a sender go on, and its bulk messages where they rest. False: neither was the case."""
    with ledger.write() as tx:
        rested = excuse(tx, name)
        done = tx.execute(
            senders.update()
            .where(senders.c.name == name, senders.c.stopped_at.is_not(None))
            .values(stopped_at=None, stopped_code=None, stopped_why=None)
        )
    return done.rowcount > 0 or rested


def waiting_messages(tx: sa.Connection, name: str) -> tuple[int, int]:
    """How many messages of a campaign wait (planned, held), and how many are in flight."""
    waiting, flying = (
        int(
            tx.exec_driver_sql(
                f"SELECT count(*) FROM message WHERE campaign = ? AND state IN ({states})", (name,)
            ).scalar_one()
        )
        for states in ("'planned', 'held'", "'attempted'")
    )
    return waiting, flying
