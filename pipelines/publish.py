"""Publish: the analysts' database is brought up to date, and the lake kept in order.

What belongs here: when to publish and to keep house. What is published, and how, is `resources.analyst_db`.
"""

from resources.analyst_db import Published
from resources.analyst_db import publish as publish_database
from resources.home import Home
from resources.ledger import Lease


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
        wall=home.wall,
    )
    home.lake.sweep(lease)
    return published
