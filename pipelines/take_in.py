"""Take in: what lies in the landing zone becomes contacts, events, coupon codes, statuses and answers.

What belongs here: the order (people first, then what they did, then coupon codes, then what Meta reports of messages to
people) and the sum of what was taken. How each kind is read is with `resources`.
"""

from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from resources.contact_intake import IntakeRules, TakenFile, take_in_contacts
from resources.coupon_intake import take_in_coupons
from resources.coupons import write_tags
from resources.deliveries import TakenWebhooks, take_in_webhooks
from resources.events import take_in_events
from resources.home import Home
from resources.ledger import Lease


@dataclass
class TakenIn:
    """What one pass took in: files of contacts, events and codes one by one, the webhook log as a whole."""

    contacts: list[TakenFile] = field(default_factory=list)
    events: list[TakenFile] = field(default_factory=list)
    coupons: list[TakenFile] = field(default_factory=list)
    webhooks: TakenWebhooks = field(default_factory=TakenWebhooks)

    @property
    def anything(self) -> bool:
        """Whether anything new was read."""
        files = [*self.contacts, *self.events, *self.coupons]
        return any(one.rows or one.quarantined for one in files) or self.webhooks.lines > 0


def take_in(home: Home, lease: Lease, now: datetime, *, final: bool = False) -> TakenIn:
    """Take in everything that is pending. `final`: also a last line without its newline, when it parses."""
    settings = home.project.settings
    rules = IntakeRules(
        region=settings.region,
        timezone=ZoneInfo(settings.timezone),
        default=settings.consent.default == "opted_in",
        properties=settings.properties,
    )
    wall = home.wall()
    taken = TakenIn(
        contacts=take_in_contacts(home.landing, home.contacts, rules, lease, now, wall, final),
        events=take_in_events(home.landing, home.events, home.contacts, rules, lease, now, wall, final),
        coupons=take_in_coupons(home.landing, rules.timezone, lease, now, wall, final),
        webhooks=take_in_webhooks(home, lease, now, final),
    )
    write_tags(home.contacts, lease)  # of whoever's code Meta has accepted, also as the log says only now
    return taken
