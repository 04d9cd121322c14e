"""`drop`: people taken out of a campaign by hand.

What belongs here: finding them and saying who was not inside. What leaving does is `resources.leaving`.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from rich.console import Console

from estafette import show
from estafette.session import Session
from estafette.why import find
from journey.clock import to_us
from journey.problems import UsageError
from journey.words import LeaveReason
from resources.leaving import leave
from resources.ledger import BULK
from resources.stopping import ensure_campaign
from resources.tables import participant


def drop(session: Session, name: str, given: Sequence[str]) -> None:
    """End every open passage of these contacts (ids or phones). EstafetteError: there is nobody of one of these
    names; then nobody is dropped."""
    if not given:
        raise UsageError("nobody is named", mend="Write `estafette drop CAMPAIGN CONTACT…`")
    with session.open() as home:
        ensure_campaign(home.ledger, home.project, name, to_us(home.clock()))
        people = {one: find(home, one) for one in dict.fromkeys(given)}
        now = to_us(home.clock())
        ids = list(dict.fromkeys(people.values()))
        dropped: dict[str, int] = {}
        for start in range(0, len(ids), BULK):
            part = ids[start : start + BULK]
            with home.ledger.write() as tx:
                inside = (participant.c.campaign == name) & participant.c.left_at.is_(None)
                rows = tx.execute(
                    sa.select(participant.c.id, participant.c.contact_id).where(
                        inside, participant.c.contact_id.in_(part)
                    )
                ).all()
                gone = set(leave(tx, [row.id for row in rows], LeaveReason.dropped_by_hand, now))
            for row in rows:
                if row.id in gone:
                    dropped[row.contact_id] = dropped.get(row.contact_id, 0) + 1
    told = [{"given": one, "contact_id": who, "passages": dropped.get(who, 0)} for one, who in people.items()]
    document = {"campaign": name, "dropped": sum(dropped.values()), "contacts": told}

    def draw(out: Console) -> None:
        rows = [
            [one["contact_id"], one["passages"], "taken out" if one["passages"] else "was not inside"] for one in told
        ]
        out.print(show.table([name, "passages", ""], rows))
        if dropped:
            out.print("What was planned for them is cancelled; what is on its way still arrives.")

    session.show(document, draw)
