"""Publish: the analysts' database is brought up to date, and the lake kept in order.

What belongs here: when to publish and to keep house. What is published, and how, is `resources.analyst_db`.
"""

from datetime import timedelta

from journey.clock import to_us
from resources.analyst_db import Published
from resources.analyst_db import publish as publish_database
from resources.home import Home
from resources.ledger import Lease
from resources.statuses import sweep_early
from resources.vitals import note_pass

EARLY = timedelta(days=30)
"""How long a status waits for a message to bear its wamid: Meta drops what it could not deliver by then."""


def publish(home: Home, lease: Lease) -> Published:
    """Publish what has changed, merge small files, fold changed contacts, sweep away what was dropped a day ago."""
    home.contacts.fold(lease)
    home.lake.merge(lease)
    published = publish_database(
        home.paths,
        home.ledger,
        home.lake,
        home.contacts,
        home.project.settings,
        home.project.templates,
        now=home.clock(),
        lease=lease,
        goals={
            name: [goal.name for goal in campaign.settings.goals] for name, campaign in home.project.campaigns.items()
        },
        wall=home.wall,
    )
    home.lake.sweep(lease)
    with home.ledger.write(lease) as tx:
        sweep_early(tx, to_us(home.clock() - EARLY))
        note_pass(tx, home.wall())
    home.mark.set()
    return published
