"""Take in: what lies in the landing zone becomes contacts, events, coupon codes, requests, statuses and answers.

What belongs here: the order (campaigns as they are, then people, what they did, coupon codes, requests, and what Meta
reports of messages to people) and the sum of what was taken. How each kind is read is with `resources`.
"""

from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from pipelines.campaigns import know_campaigns
from pipelines.moved_phones import skip_moved
from resources.contact_intake import IntakeRules, TakenFile, take_in_contacts
from resources.coupon_intake import take_in_coupons
from resources.coupons import write_tags
from resources.deliveries import TakenWebhooks, take_in_webhooks
from resources.event_intake import take_in_events
from resources.home import Home
from resources.ledger import Lease
from resources.requests import take_in_requests


@dataclass
class TakenIn:
    """What one pass took in: files of contacts, events, codes and requests one by one, the webhook log as a whole."""

    contacts: list[TakenFile] = field(default_factory=list)
    events: list[TakenFile] = field(default_factory=list)
    coupons: list[TakenFile] = field(default_factory=list)
    requests: list[TakenFile] = field(default_factory=list)
    webhooks: TakenWebhooks = field(default_factory=TakenWebhooks)

    @property
    def files(self) -> list[TakenFile]:
        """The files, in the order in which they were taken in."""
        return [*self.contacts, *self.events, *self.coupons, *self.requests]

    @property
    def anything(self) -> bool:
        """Whether anything new was read."""
        return any(one.rows or one.quarantined for one in self.files) or self.webhooks.lines > 0


def take_in(home: Home, lease: Lease, now: datetime, *, final: bool = False) -> TakenIn:
    """Take in everything that is pending. `final`: also a last line without its newline, when it parses."""
    taken = take_in_files(home, lease, now, final=final)
    taken.webhooks = take_in_webhooks(home, lease, now, final)
    write_tags(home.contacts, lease)  # of whoever's code Meta has accepted, also as the log says only now
    return taken


def take_in_files(home: Home, lease: Lease, now: datetime, *, final: bool = False) -> TakenIn:
    """Take in everything but the webhook log. Campaigns come first: a trigger of a file that is there knows the events
    that are taken in after it."""
    know_campaigns(home, lease, now)
    settings = home.project.settings
    rules = IntakeRules(
        region=settings.region,
        timezone=ZoneInfo(settings.timezone),
        default=settings.consent.default == "opted_in",
        properties=settings.properties,
    )
    wall = home.wall()
    contacts = take_in_contacts(home.landing, home.contacts, rules, lease, now, wall, final)
    if contacts:  # what contacts are known to have decides whether a campaign has a hole
        home.reload()
        know_campaigns(home, lease, now)
    if any(one.changed for one in contacts):
        skip_moved(home, lease, now)
    return TakenIn(
        contacts=contacts,
        events=take_in_events(home.landing, home.events, home.contacts, rules, lease, now, wall, final),
        coupons=take_in_coupons(home.landing, rules.timezone, lease, now, wall, final),
        requests=take_in_requests(home.landing, settings.senders, lease, now, wall, final),
    )
