"""`stop` and `resume`: a campaign, or a sender, put on hold and let go again.

What belongs here: the two writes. Claiming a message looks at them, so a stop holds within a turn of sending.
"""

from typing import Any

import sqlalchemy as sa
from rich.console import Console
from sqlalchemy.dialects.sqlite import insert

from estafette.checking import known
from estafette.session import Session
from journey.clock import show_duration, to_us
from journey.problems import EstafetteError, UsageError
from journey.spelling import suggest
from resources.home import Home
from resources.ledger import US
from resources.spending import begin_anew
from resources.tables import campaign as campaigns
from resources.tables import sender as senders


def stop(session: Session, name: str, why: str) -> None:
    """Stop a campaign. One that is stopped stays so, with its first reason."""
    with session.open() as home:
        ensure_campaign(home, name)
        with home.ledger.write() as tx:
            row = tx.execute(sa.select(campaigns).where(campaigns.c.name == name)).one()
            if row.stopped_at is None:
                now = to_us(home.clock())
                tx.execute(campaigns.update().where(campaigns.c.name == name).values(stopped_at=now, stopped_why=why))
            waiting, flying = (
                int(
                    tx.exec_driver_sql(
                        f"SELECT count(*) FROM message WHERE campaign = ? AND state IN ({states})", (name,)
                    ).scalar_one()
                )
                for states in ("'planned', 'held'", "'attempted'")
            )
    already = row.stopped_at is not None
    document = {"campaign": name, "stopped": True, "already": already, "waiting": waiting, "in_flight": flying}

    def draw(console: Console) -> None:
        console.print(f"{name} {'was stopped already' if already else 'is stopped'}.")
        console.print(f"{waiting:,} messages wait; {flying:,} in flight still end. Go on with: estafette resume {name}")

    session.show(document, draw)


def resume(session: Session, name: str | None, sender: str | None) -> None:
    """Go on with a campaign, a sender, or both. What waited expires later by as long as the campaign was stopped."""
    if name is None and sender is None:
        raise UsageError(
            "nothing is named", mend="Write `estafette resume CAMPAIGN` or `estafette resume --sender NAME`"
        )
    document: dict[str, Any] = {}
    lines: list[str] = []
    with session.open() as home:
        if sender is not None:
            resumed = _sender(home, sender)
            document |= {"sender": sender, "sender_resumed": resumed}
            lines.append(f"The sender {sender} " + ("sends again." if resumed else "was not stopped."))
        if name is not None:
            stood, waiting = _campaign(home, name)
            document |= {"campaign": name, "campaign_resumed": stood is not None, "waiting": waiting}
            lines.append(
                f"{name} was not stopped."
                if stood is None
                else f"{name} goes on after {_length(stood)}; {waiting:,} messages wait. The next pass sends them."
            )
    session.show(document, lambda console: console.print("\n".join(lines)))


def ensure_campaign(home: Home, name: str) -> None:
    """The campaign's row in the ledger, where it has none yet. EstafetteError: there is no such campaign."""
    with home.ledger.read() as tx:
        row = tx.execute(sa.select(campaigns.c.name).where(campaigns.c.name == name)).one_or_none()
    if row is not None:
        return
    known(home.project, name)
    campaign = home.project.campaigns.get(name)
    if campaign is None:
        raise EstafetteError(f"{name} can't be read", mend=f"Run `estafette check {name}`")
    row_now = {"name": name, "version": campaign.version, "live_since": to_us(home.clock())}
    live = name in home.project.live_campaigns()
    with home.ledger.write() as tx:
        tx.execute(insert(campaigns).values(**row_now, live=live).on_conflict_do_nothing())


# The time in which a campaign stood does not count against its messages; `not_after` bounds them all the same.
_GIVE_BACK = """
UPDATE message SET expires_at = MIN(
  expires_at + MAX(0, :now - MAX(planned_at, :stopped)),
  COALESCE((SELECT p.not_after FROM participant p WHERE p.id = message.participant_id), 9223372036854775807)
)
WHERE campaign = :name AND state IN ('planned', 'held')
"""


def _campaign(home: Home, name: str) -> tuple[int | None, int]:
    """For how many microseconds a campaign stood (None: it did not), and how many messages wait."""
    with home.ledger.read() as tx:
        row = tx.execute(sa.select(campaigns.c.stopped_at).where(campaigns.c.name == name)).one_or_none()
    if row is None:
        known(home.project, name)
        return None, 0
    with home.ledger.write() as tx:
        row = tx.execute(sa.select(campaigns.c.stopped_at).where(campaigns.c.name == name)).one()
        stood = None if row.stopped_at is None else max(0, to_us(home.clock()) - row.stopped_at)
        if stood is not None:
            tx.exec_driver_sql(_GIVE_BACK, {"now": to_us(home.clock()), "stopped": row.stopped_at, "name": name})
            values = {"stopped_at": None, "stopped_why": None, "resumed_at": to_us(home.clock())}
            tx.execute(campaigns.update().where(campaigns.c.name == name).values(**values))
            begin_anew(tx, name)
        waiting = tx.exec_driver_sql(
            "SELECT count(*) FROM message WHERE campaign = ? AND state IN ('planned', 'held')", (name,)
        ).scalar_one()
    return stood, int(waiting)


def _sender(home: Home, name: str) -> bool:
    names = list(home.project.settings.senders)
    if name not in names:
        raise EstafetteError(f"there is no sender `{name}` in estafette.yaml", mend=suggest(name, names, none=""))
    with home.ledger.write() as tx:
        done = tx.execute(
            senders.update()
            .where(senders.c.name == name, senders.c.stopped_at.is_not(None))
            .values(stopped_at=None, stopped_code=None, stopped_why=None)
        )
    return done.rowcount > 0


def _length(us: int) -> str:
    from datetime import timedelta

    return show_duration(timedelta(seconds=us // US))
