"""The ledger's tables: what must be exact under concurrency, one `Table` each, good for SQLite and PostgreSQL.

What belongs here: columns, keys and indexes. Times are INTEGER microseconds since 1970 UTC on the campaign's clock
(`now`) unless the comment says `wall`. Integer keys; external ids in unique indexes; rendered bodies never.
A change here raises `SCHEMA_VERSION` and brings a migration in `ledger.py`.
"""

import sqlalchemy as sa

SCHEMA_VERSION = 2

metadata = sa.MetaData()

#: Facts about the installation: schema_version, installation (random), epoch (raised by a restore), …
meta = sa.Table(
    "meta",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

#: Who may act now. `token` rises with every holder; a writer whose token is not the row's has lost. `until` is wall.
lease = sa.Table(
    "lease",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("until", sa.BigInteger, nullable=False),
    sa.Column("note", sa.Text),
)

#: How far each landing file has been read. A file is known by name and inode; `prefix_hash` covers the `offset` bytes
#: already read, so that a replaced file is read from its start. `line` is the number of the last line read.
landing_file = sa.Table(
    "landing_file",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),  # contacts, events, coupons, requests, webhooks
    sa.Column("name", sa.Text, nullable=False),  # path under landing/KIND/
    sa.Column("inode", sa.BigInteger, nullable=False),
    sa.Column("offset", sa.BigInteger, nullable=False),
    sa.Column("line", sa.BigInteger, nullable=False),
    sa.Column("prefix_hash", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("mtime_ns", sa.BigInteger, nullable=False),
    sa.Column("taken_at", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("quarantined", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("kind", "name"),
)

#: What could not be read, once per (source, file, line, reason, raw).
quarantine = sa.Table(
    "quarantine",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("source", sa.Text, nullable=False),  # contacts, events, webhooks, segments, …
    sa.Column("file", sa.Text, nullable=False),
    sa.Column("line", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("raw", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False, unique=True),
    sa.Column("quarantined_at", sa.BigInteger, nullable=False),
)

#: The type of each contact property: boolean, bigint, double, text, date, timestamptz. Settled by the first file that
#: brings values (or by the settings); bigint may widen to double, nothing else changes.
property = sa.Table(
    "property",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("dtype", sa.Text, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
)

#: Who may not be messaged, by contact (`contact:ID`) and by phone (`phone:+E164`): looked at when a message is planned
#: and again in the statement that claims it for sending. `scope` is all, marketing or file.
suppression = sa.Table(
    "suppression",
    metadata,
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("changed_at", sa.BigInteger, nullable=False),
)

#: Every change of consent, in the order in which it was taken in.
consent_history = sa.Table(
    "consent_history",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("contact_id", sa.Text, nullable=False, index=True),
    sa.Column("phone", sa.Text),
    sa.Column("change", sa.Text, nullable=False),  # opted_in, opted_out
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),  # the landing file
    sa.Column("wamid", sa.Text),
    sa.Column("changed_at", sa.BigInteger, nullable=False),
)

#: The lake's files that count. A file without a row here is an orphan of a crash and is never read.
lake_file = sa.Table(
    "lake_file",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),  # the lake's table
    sa.Column("path", sa.Text, nullable=False, unique=True),  # under data/lake/
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("min_at", sa.BigInteger),
    sa.Column("max_at", sa.BigInteger),
    sa.Column("created_at", sa.BigInteger, nullable=False),  # wall
    sa.Column("dropped_at", sa.BigInteger),  # wall; merged or replaced: no longer read, deleted a day later
)
sa.Index("lake_file_live", lake_file.c.name, lake_file.c.id, sqlite_where=lake_file.c.dropped_at.is_(None))

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

#: One message planned for one participant at one step and visit; `copy` is above 1 only where `when_unknown: resend`
#: sent it again. `uid` is a hash of what the message is (campaign, contact, key, occurrence, step, visit, copy): the
#: same on a restored ledger, which a counter is not. `due_at` is when it may be claimed, `not_before` (wall) when it
#: may be tried again; a held message carries why. `quiet_at` is when the next silent hours begin (null: none come);
#: from then on it is held again. `window_until` is the end of the service window, for free text. `counted` says that it
#: counts for frequency caps. `price` is in millionths of `currency`. `body_file` and `body_row` name its rendered body
#: in the lake. `lane` is the lease (name#token) under which it was last stamped.
message = sa.Table(
    "message",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uid", sa.BigInteger, nullable=False),
    sa.Column("participant_id", sa.Integer, nullable=False),
    sa.Column("campaign", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("step", sa.Text, nullable=False),
    sa.Column("visit", sa.Integer, nullable=False),
    sa.Column("copy", sa.Integer, nullable=False, server_default="1"),
    sa.Column("contact_id", sa.Text, nullable=False, index=True),
    sa.Column("phone", sa.Text, nullable=False),
    sa.Column("sender", sa.Text, nullable=False),
    sa.Column("share", sa.Integer, nullable=False),  # a stable integer of the phone: lanes take it modulo their number
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("template", sa.Text),
    sa.Column("language", sa.Text),
    sa.Column("category", sa.Text),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("held_why", sa.Text),
    sa.Column("due_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.Column("planned_at", sa.BigInteger, nullable=False),
    sa.Column("not_before", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),  # faults of Meta's that may be tried again
    sa.Column("lane", sa.Text),
    sa.Column("attempted_at", sa.BigInteger),
    sa.Column("attempted_wall", sa.BigInteger),
    sa.Column("accepted_at", sa.BigInteger),
    sa.Column("sent_at", sa.BigInteger),
    sa.Column("delivered_at", sa.BigInteger),
    sa.Column("read_at", sa.BigInteger),
    sa.Column("failed_at", sa.BigInteger),
    sa.Column("error_code", sa.Integer),
    sa.Column("error_title", sa.Text),
    sa.Column("wamid", sa.Text),
    sa.Column("body_file", sa.Integer),
    sa.Column("body_row", sa.Integer),
    sa.Column("author", sa.Text),
    sa.Column("quiet_at", sa.BigInteger),
    sa.Column("window_until", sa.BigInteger),
    sa.Column("counted", sa.Boolean, nullable=False, server_default=sa.text("0")),
    sa.Column("coupon_id", sa.Integer),
    sa.Column("market", sa.Text),
    sa.Column("price", sa.BigInteger),
    sa.Column("currency", sa.Text),
    sa.Column("price_source", sa.Text),  # estimate, meta
    sa.Column("pair_tries", sa.Integer, nullable=False, server_default="0"),  # 131056: too many to this person
    sa.UniqueConstraint("participant_id", "step", "visit", "copy"),
)
sa.Index("message_wamid", message.c.wamid, unique=True)
#: Who got how many of late, for frequency caps.
sa.Index(
    "message_counted",
    message.c.planned_at,
    message.c.contact_id,
    sqlite_where=message.c.counted,
    postgresql_where=message.c.counted,
)
#: What may be claimed, campaign by campaign: a million messages of one that is stopped stand in nobody's way.
sa.Index(
    "message_queue",
    message.c.sender,
    message.c.campaign,
    message.c.priority,
    message.c.due_at,
    message.c.id,
    message.c.quiet_at,  # so that in silent hours a long queue is passed over without a look at its rows
    sqlite_where=message.c.state == "planned",
    postgresql_where=message.c.state == "planned",
)
#: What has waited too long, campaign by campaign, for the same reason.
sa.Index(
    "message_expiry",
    message.c.campaign,
    message.c.expires_at,
    sqlite_where=message.c.state.in_(["planned", "held"]),
    postgresql_where=message.c.state.in_(["planned", "held"]),
)
sa.Index(
    "message_template",
    message.c.template,
    message.c.language,
    message.c.state,
    sqlite_where=message.c.state.in_(["planned", "held"]),
    postgresql_where=message.c.state.in_(["planned", "held"]),
)
sa.Index(
    "message_held",
    message.c.held_why,
    message.c.not_before,
    sqlite_where=message.c.state == "held",
    postgresql_where=message.c.state == "held",
)
#: What silent hours hold, by when they end.
sa.Index(
    "message_silent",
    message.c.held_why,
    message.c.due_at,
    sqlite_where=sa.and_(message.c.state == "held", message.c.held_why == "silent_hours"),
    postgresql_where=sa.and_(message.c.state == "held", message.c.held_why == "silent_hours"),
)
#: What may go out until silent hours begin, by when they do.
sa.Index(
    "message_quiet",
    message.c.quiet_at,
    sqlite_where=sa.and_(message.c.state == "planned", message.c.quiet_at.is_not(None)),
    postgresql_where=sa.and_(message.c.state == "planned", message.c.quiet_at.is_not(None)),
)
#: How many were attempted and how many failed, for `stop_if`.
sa.Index(
    "message_attempts",
    message.c.campaign,
    message.c.attempted_at,
    sqlite_where=message.c.attempted_at.is_not(None),
    postgresql_where=message.c.attempted_at.is_not(None),
)
sa.Index(
    "message_failed",
    message.c.campaign,
    message.c.attempted_at,
    sqlite_where=message.c.state == "failed",
    postgresql_where=message.c.state == "failed",
)
#: Copies of messages that stayed unknown, while they wait: news of the first one takes them back.
sa.Index(
    "message_again",
    message.c.campaign,
    sqlite_where=sa.and_(message.c.state.in_(["planned", "held"]), message.c.copy > 1),
    postgresql_where=sa.and_(message.c.state.in_(["planned", "held"]), message.c.copy > 1),
)
#: Whom Meta's own cap on marketing held back (131049): no other marketing for a day.
sa.Index(
    "message_capped",
    message.c.contact_id,
    message.c.failed_at,
    sqlite_where=message.c.error_code == 131049,
    postgresql_where=message.c.error_code == 131049,
)
sa.Index(
    "message_in_flight",
    message.c.state,
    sqlite_where=message.c.state.in_(["attempted", "unknown"]),
    postgresql_where=message.c.state.in_(["attempted", "unknown"]),
)

#: One message that was not sent, with its reason; `message_id` where it had been planned before.
skip = sa.Table(
    "skip",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("participant_id", sa.Integer, nullable=False),
    sa.Column("campaign", sa.Text, nullable=False),
    sa.Column("step", sa.Text, nullable=False),
    sa.Column("visit", sa.Integer, nullable=False),
    sa.Column("contact_id", sa.Text, nullable=False, index=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("detail", sa.Text),
    sa.Column("message_id", sa.Integer),
    sa.Column("skipped_at", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("participant_id", "step", "visit"),
)

#: A status that came before its message's wamid was known; joined when the outcome comes, else kept as it is.
early_status = sa.Table(
    "early_status",
    metadata,
    sa.Column("wamid", sa.Text, primary_key=True),
    sa.Column("status", sa.Text, primary_key=True),
    sa.Column("status_at", sa.BigInteger, nullable=False),
    sa.Column("received_at", sa.BigInteger, nullable=False),
    sa.Column("error_code", sa.Integer),
    sa.Column("error_title", sa.Text),
)

#: One inbound message (a reply, a button, a reaction), once per wamid. `quoted` is the wamid that it quotes; whose
#: message that is may become known later.
reply = sa.Table(
    "reply",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("wamid", sa.Text, nullable=False, unique=True),
    sa.Column("message_id", sa.Integer, index=True),
    sa.Column("participant_id", sa.Integer),
    sa.Column("campaign", sa.Text),
    sa.Column("step", sa.Text),
    sa.Column("contact_id", sa.Text, nullable=False, index=True),
    sa.Column("sender", sa.Text),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("payload", sa.Text),
    sa.Column("text", sa.Text),
    sa.Column("quoted", sa.Text),
    sa.Column("late", sa.Boolean, nullable=False),
    sa.Column("replied_at", sa.BigInteger, nullable=False),
    sa.Column("received_at", sa.BigInteger, nullable=False),
)

sa.Index(
    "reply_unmatched",
    reply.c.received_at,
    sqlite_where=sa.and_(reply.c.message_id.is_(None), reply.c.quoted.is_not(None)),
    postgresql_where=sa.and_(reply.c.message_id.is_(None), reply.c.quoted.is_not(None)),
)
#: Who wrote of late: silent hours and the service window ask.
sa.Index("reply_recent", reply.c.replied_at)

#: How far the events have been looked at, by whom: `journeys` (goals, exit_on, wait_for), or `trigger:CAMPAIGN:PLACE`.
#: Every taking-in of events is a batch with a number that rises; files of the lake registered after `file_id` hold
#: whatever is newer than `batch`. `position` is how many matches of the batch after `batch` have been dealt with.
event_cursor = sa.Table(
    "event_cursor",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("batch", sa.BigInteger, nullable=False),
    sa.Column("file_id", sa.BigInteger, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False, server_default="0"),
)

#: One API entry that was asked for, by its uuid: a second one with the same uuid changes nothing. `people` is a JSON
#: list of ids (`users`), of phones, or with the segment's name; `position` is how many have been dealt with.
request = sa.Table(
    "request",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uuid", sa.Text, nullable=False, unique=True),
    sa.Column("campaign", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),  # users, phones, segment
    sa.Column("people", sa.Text, nullable=False),
    sa.Column("attributes", sa.Text, nullable=False),  # a JSON object
    sa.Column("source", sa.Text, nullable=False),  # the landing file
    sa.Column("taken_at", sa.BigInteger, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("audience_file", sa.Integer),  # a segment's rows, evaluated once
    sa.Column("asked_at", sa.BigInteger),  # as of an occurrence
    sa.Column("done_at", sa.BigInteger),
    sa.Column("outcome", sa.Text),  # refused or stopped, where the whole request was; else null
    sa.Column("detail", sa.Text),
)
sa.Index(
    "request_open",
    request.c.id,
    sqlite_where=request.c.done_at.is_(None),
    postgresql_where=request.c.done_at.is_(None),
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

#: Coupon codes. A code belongs to one message ever: `claimed` when that is planned, `sent` when Meta accepts it, `free`
#: again only where it certainly never left. `tag` is what the receiver is still to be given; null: nothing, or done.
coupon = sa.Table(
    "coupon",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("pool", sa.Text, nullable=False),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("expires_at", sa.BigInteger),
    sa.Column("state", sa.Text, nullable=False),  # free, claimed, sent
    sa.Column("message_id", sa.Integer),
    sa.Column("contact_id", sa.Text),
    sa.Column("claimed_at", sa.BigInteger),
    sa.Column("tag", sa.Text),
    sa.UniqueConstraint("pool", "code"),
)
sa.Index(
    "coupon_free",
    coupon.c.pool,
    coupon.c.expires_at,
    coupon.c.id,
    sqlite_where=coupon.c.state == "free",
    postgresql_where=coupon.c.state == "free",
)
sa.Index(
    "coupon_tag",
    coupon.c.id,
    sqlite_where=sa.and_(coupon.c.state == "sent", coupon.c.tag.is_not(None)),
    postgresql_where=sa.and_(coupon.c.state == "sent", coupon.c.tag.is_not(None)),
)

#: Where the code of a counted link leads. `button` is its label.
link = sa.Table(
    "link",
    metadata,
    sa.Column("code", sa.Text, primary_key=True),
    sa.Column("message_id", sa.Integer, nullable=False, index=True),
    sa.Column("button", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
)

#: One tap on a counted link, once per event of the gateway's.
click = sa.Table(
    "click",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("event_id", sa.Text, nullable=False, unique=True),
    sa.Column("message_id", sa.Integer, nullable=False, index=True),
    sa.Column("participant_id", sa.Integer, nullable=False, index=True),
    sa.Column("campaign", sa.Text, nullable=False),
    sa.Column("step", sa.Text, nullable=False),
    sa.Column("contact_id", sa.Text, nullable=False, index=True),
    sa.Column("button", sa.Text, nullable=False),
    sa.Column("clicked_at", sa.BigInteger, nullable=False),
)

#: What a campaign's accepted messages cost since it was last resumed, by their estimated prices, in millionths.
spent = sa.Table(
    "spent",
    metadata,
    sa.Column("campaign", sa.Text, primary_key=True),
    sa.Column("currency", sa.Text, primary_key=True),
    sa.Column("amount", sa.BigInteger, nullable=False),
)

#: A sender's pace and whether it may send. `pace` is the messages a second in force (AIMD under the configured one).
sender = sa.Table(
    "sender",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("pace", sa.Float, nullable=False),
    sa.Column("ceiling", sa.Float, nullable=False),
    sa.Column("slowed_at", sa.BigInteger),  # wall
    sa.Column("stopped_at", sa.BigInteger),
    sa.Column("stopped_code", sa.Integer),
    sa.Column("stopped_why", sa.Text),
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

#: A template that Meta refused to send (paused, disabled): its messages are held until it is seen approved again.
template_hold = sa.Table(
    "template_hold",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("language", sa.Text, primary_key=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("code", sa.Integer),
    sa.Column("changed_at", sa.BigInteger, nullable=False),
)

#: Phones that Meta said cannot be reached (131026).
unreachable = sa.Table(
    "unreachable",
    metadata,
    sa.Column("phone", sa.Text, primary_key=True),
    sa.Column("code", sa.Integer, nullable=False),
    sa.Column("seen_at", sa.BigInteger, nullable=False),
)

#: Who may use the API, by name. `hash` is the SHA-256 of the token, which stands nowhere. One that was revoked keeps
#: its row; a new token may take its name.
token = sa.Table(
    "token",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("hash", sa.Text, nullable=False, unique=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("revoked_at", sa.BigInteger),
    sa.Column("last_used_at", sa.BigInteger),  # to the minute or so
)

#: Requests that came over HTTP with an `Idempotency-Key`, by the uuid that follows from token, campaign and key.
#: `digest` is of what was asked: the same key for something else is refused.
idempotency = sa.Table(
    "idempotency",
    metadata,
    sa.Column("request_uuid", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("met_at", sa.BigInteger, nullable=False),
)

#: Who may log in to the pages, by name. `password` is a scrypt hash with its salt and parameters, `role` viewer, agent
#: or operator. A user who was removed keeps the row, because the inbox names who answered.
user = sa.Table(
    "user",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("password", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("disabled_at", sa.BigInteger),
)

#: Who is logged in. `hash` is the SHA-256 of the random id in the cookie; `csrf` is what every form must bring.
session = sa.Table(
    "session",
    metadata,
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("user", sa.Text, nullable=False, index=True),
    sa.Column("csrf", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
)

#: Log-ins that were tried and did not succeed (yet), for the limits by name and by address. Kept for a day.
login_attempt = sa.Table(
    "login_attempt",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),  # as it was typed, in lower case, cut off
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("tried_at", sa.BigInteger, nullable=False),
)
sa.Index("login_attempt_name", login_attempt.c.name, login_attempt.c.tried_at)
sa.Index("login_attempt_address", login_attempt.c.address, login_attempt.c.tried_at)

#: How far a user has read a conversation: up to the newest `reply.received_at` that was there when they looked.
user_seen = sa.Table(
    "user_seen",
    metadata,
    sa.Column("user", sa.Text, primary_key=True),
    sa.Column("contact_id", sa.Text, primary_key=True),
    sa.Column("seen_at", sa.BigInteger, nullable=False),
)

#: Which buckets of mutable rows changed since they were last exported for the analysts (100,000 ids a bucket).
dirty = sa.Table(
    "dirty",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("bucket", sa.Integer, primary_key=True),
)

#: The analyst database's files of exported state: the newest one of each (table, bucket).
export = sa.Table(
    "export",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("bucket", sa.Integer, primary_key=True),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
)
