"""Campaigns, their entries, and people on their way through them."""

import sqlalchemy as sa

from resources.tables.metadata import metadata

#: What the ledger knows of a campaign file: when it first ran live, whether it is live now, whether it
#: was stopped, its newest live version.
campaign = sa.Table(
    "campaign",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("live_since", sa.BigInteger, nullable=False),
    sa.Column("live", sa.Boolean, nullable=False),  # its file is there, without holes, and no draft
    sa.Column("stopped_at", sa.BigInteger),
    sa.Column("stopped_why", sa.Text),
    sa.Column("resumed_at", sa.BigInteger),  # `stop_if` counts from here: whoever resumes has said yes to what was
    sa.Column("cost_above", sa.BigInteger),  # `stop_if.cost_above` of the live version, in millionths
    sa.Column("cost_currency", sa.Text),
)

#: One firing of an audience entry. The segment is evaluated once into `audience_file` (rows ordered by the time at
#: which each contact enters); `position` is how many of its rows have been dealt with, moved in the same transaction.
occurrence = sa.Table(
    "occurrence",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("campaign", sa.Text, nullable=False),
    sa.Column("entry", sa.Integer, nullable=False),  # the entry's place in the campaign file, from 0
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),  # the scheduled time, or the moment of `run`
    sa.Column("evaluate_at", sa.BigInteger, nullable=False),
    sa.Column("audience_file", sa.Integer),
    sa.Column("rows", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("left_out", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("position", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("next_at", sa.BigInteger),  # when the row at `position` enters; null: not evaluated yet, or finished
    sa.Column("done_at", sa.BigInteger),
    sa.Column("asked_at", sa.BigInteger),  # its audience was above `stop_if`: the campaign was stopped, once, to ask
    sa.UniqueConstraint("campaign", "entry", "name"),
)

#: The schedule of an entry as it was last seen, and since when: an edited one starts anew and makes up for nothing.
schedule = sa.Table(
    "schedule",
    metadata,
    sa.Column("campaign", sa.Text, primary_key=True),
    sa.Column("entry", sa.Integer, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("since", sa.BigInteger, nullable=False),
)

#: One contact's one passage through one campaign. `occurrence` is the scheduled time, the event's id, or the request's
#: uuid. `key_name` is the property that `key` came from (null: none): events of this passage must carry the same.
#: `since` is from when events of `exit_on` count: the triggering event's own time, else `entered_at`.
participant = sa.Table(
    "participant",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("campaign", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("contact_id", sa.Text, nullable=False, index=True),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("key_name", sa.Text),
    sa.Column("entry", sa.Text, nullable=False),  # audience, trigger, api
    sa.Column("occurrence", sa.Text, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),  # 0 transactional, 1 bulk
    sa.Column("attributes", sa.Text),  # JSON
    sa.Column("entered_at", sa.BigInteger, nullable=False),
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("not_after", sa.BigInteger),  # bounds the messages reached without a wait; null after the first wait
    sa.Column("step", sa.Text, nullable=False),
    sa.Column("visit", sa.Integer, nullable=False),
    sa.Column("arrived_at", sa.BigInteger, nullable=False),
    sa.Column("wake_at", sa.BigInteger),  # looked at when this is over; null: only something from outside moves it
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("left_at", sa.BigInteger),
    sa.Column("reason", sa.Text),
    sa.UniqueConstraint("campaign", "contact_id", "key", "occurrence", "entered_at"),
)
#: A contact is in a campaign once at a time per key: the database itself refuses the second.
sa.Index(
    "participant_open",
    participant.c.campaign,
    participant.c.contact_id,
    participant.c.key,
    unique=True,
    sqlite_where=participant.c.left_at.is_(None),
    postgresql_where=participant.c.left_at.is_(None),
)
sa.Index(
    "participant_due",
    participant.c.campaign,
    participant.c.wake_at,
    participant.c.step,
    sqlite_where=participant.c.left_at.is_(None),
    postgresql_where=participant.c.left_at.is_(None),
)

#: Someone who was to enter and is not known: looked at again whenever contacts come, until `until`, then refused.
waiting_entry = sa.Table(
    "waiting_entry",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("campaign", sa.Text, nullable=False),
    sa.Column("entry", sa.Integer, nullable=False),  # the entry's place in the campaign file, from 0
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("occurrence", sa.Text, nullable=False),
    sa.Column("contact_id", sa.Text, nullable=False),
    sa.Column("event_id", sa.Text),
    sa.Column("request_uuid", sa.Text),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("key_name", sa.Text),
    sa.Column("attributes", sa.Text),
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("until", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("campaign", "entry", "occurrence", "contact_id", "key"),
)

#: How often a participant has been at a step that sends nothing and lies in a loop (message steps: `message`, `skip`).
visited = sa.Table(
    "visited",
    metadata,
    sa.Column("participant_id", sa.Integer, primary_key=True),
    sa.Column("step", sa.Text, primary_key=True),
    sa.Column("visits", sa.Integer, nullable=False),
)

#: An event that somebody at a `wait_for` step waits for: the earliest one of each branch (its number from 1).
met = sa.Table(
    "met",
    metadata,
    sa.Column("participant_id", sa.Integer, primary_key=True),
    sa.Column("step", sa.Text, primary_key=True),
    sa.Column("visit", sa.Integer, primary_key=True),
    sa.Column("branch", sa.Integer, primary_key=True),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("met_at", sa.BigInteger, nullable=False),  # when it occurred
)

#: A goal that a participant, treated or control, reached: once, by the earliest event that was known.
goal = sa.Table(
    "goal",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("campaign", sa.Text, nullable=False),
    sa.Column("goal", sa.Text, nullable=False),
    sa.Column("participant_id", sa.Integer, nullable=False),
    sa.Column("contact_id", sa.Text, nullable=False, index=True),
    sa.Column("arm", sa.Text, nullable=False),  # treated, control
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("reached_at", sa.BigInteger, nullable=False),
    sa.Column("value", sa.Float),
    sa.UniqueConstraint("participant_id", "goal"),
)
