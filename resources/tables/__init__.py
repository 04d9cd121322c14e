"""The ledger's tables: what must be exact under concurrency, one `Table` each, good for SQLite and PostgreSQL.

What belongs here: columns, keys and indexes, a room a subject. Times are INTEGER microseconds since 1970 UTC on the
campaign's clock (`now`) unless the comment says `wall`. Integer keys; external ids in unique indexes; rendered bodies
never.
"""

from resources.tables.access import idempotency, login_attempt, session, token, user, user_seen
from resources.tables.around_messages import (
    click,
    coupon,
    link,
    portfolio,
    reached,
    sender,
    shared_number,
    spent,
    template_hold,
)
from resources.tables.coming_in import answer, event_cursor, landing_file, quarantine, request
from resources.tables.journeys import campaign, goal, met, occurrence, participant, schedule, visited, waiting_entry
from resources.tables.keeping import dirty, export, lake_file, lease, meta, trouble
from resources.tables.messages import doubt, early_status, message, reply, skip
from resources.tables.metadata import SCHEMA_VERSION, metadata, statements
from resources.tables.people import consent_history, forgotten, property, suppression, unreachable

__all__ = [
    "SCHEMA_VERSION",
    "answer",
    "campaign",
    "click",
    "consent_history",
    "coupon",
    "dirty",
    "doubt",
    "early_status",
    "event_cursor",
    "export",
    "forgotten",
    "goal",
    "idempotency",
    "lake_file",
    "landing_file",
    "lease",
    "link",
    "login_attempt",
    "message",
    "met",
    "meta",
    "metadata",
    "occurrence",
    "participant",
    "portfolio",
    "property",
    "quarantine",
    "reached",
    "reply",
    "request",
    "schedule",
    "sender",
    "session",
    "shared_number",
    "skip",
    "spent",
    "statements",
    "suppression",
    "template_hold",
    "token",
    "trouble",
    "unreachable",
    "user",
    "user_seen",
    "visited",
    "waiting_entry",
]
