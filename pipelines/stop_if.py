"""stop_if: campaigns that stop by themselves, because too much fails or it costs too much.

What belongs here: what each pass looks at while a campaign runs. It then stops like `estafette stop`, with the reason;
`resume` says yes to what was, and counting begins anew. `audience_above` and `audience_grows` are asked before anyone
enters (`letting_in`); the cost is asked for at every claim as well (`resources.spending`).
"""

from datetime import datetime

import sqlalchemy as sa

from journey.campaign import Campaign
from journey.clock import to_us
from resources.home import Home
from resources.ledger import Lease
from resources.spending import budget_of
from resources.tables import campaign as campaigns

ENOUGH = 200
"""Attempts from which on a share of failures says something."""

_FAILED = "SELECT count(*) FROM message WHERE campaign = ? AND state = 'failed' AND attempted_at >= ?"
_ATTEMPTS = "SELECT count(*) FROM message WHERE campaign = ? AND attempted_at >= ? AND attempted_at IS NOT NULL"


def stop_by_rule(home: Home, lease: Lease, now: datetime) -> dict[str, str]:
    """Stop the live campaigns whose `stop_if` says so. Gives why, by campaign."""
    ruled = {
        name: campaign
        for name, campaign in home.project.live_campaigns().items()
        if campaign.settings.stop_if.failures_above is not None or campaign.settings.stop_if.cost_above is not None
    }
    if not ruled:
        return {}
    stopped: dict[str, str] = {}
    with home.ledger.read() as tx:  # asked each second while a pass is live, and hardly ever to be written
        query = sa.select(campaigns).where(campaigns.c.name.in_(list(ruled)), campaigns.c.stopped_at.is_(None))
        for row in tx.execute(query).all():
            with home.troubles.contained(lease, row.name, "looking at its stop_if", now):
                budget = budget_of(tx, row)
                why = _too_many_failures(tx, ruled[row.name], row.resumed_at or 0)
                why = why or (budget.overspent if budget is not None else None)
                if why is not None:
                    stopped[row.name] = why
    for name, why in stopped.items():
        with home.ledger.write(lease) as tx:
            running = (campaigns.c.name == name) & campaigns.c.stopped_at.is_(None)
            tx.execute(campaigns.update().where(running).values(stopped_at=to_us(now), stopped_why=why))
    return stopped


def _too_many_failures(tx: sa.Connection, campaign: Campaign, since: int) -> str | None:
    """Failures are counted first: they are few, and with fewer than the share of 200 no attempts need be."""
    limit = campaign.settings.stop_if.failures_above
    if limit is None:
        return None
    failed = int(tx.exec_driver_sql(_FAILED, (campaign.name, since)).scalar_one())
    if failed <= round(limit * ENOUGH, 6):
        return None
    attempts = int(tx.exec_driver_sql(_ATTEMPTS, (campaign.name, since)).scalar_one())
    if attempts < ENOUGH or failed <= round(limit * attempts, 6):
        return None
    shares = f"more than the {limit * 100:g}% of stop_if"
    return f"{failed:,} of {attempts:,} attempts failed, {shares} (failures_above)"
