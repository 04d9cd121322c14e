"""Messages, what was not sent, and what came back."""

import sqlalchemy as sa

from resources.tables.metadata import metadata

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
#: What the messaging limit holds, in the order in which it goes on.
sa.Index(
    "message_limited",
    message.c.sender,
    message.c.campaign,
    message.c.priority,
    message.c.due_at,
    message.c.id,
    sqlite_where=sa.and_(message.c.state == "held", message.c.held_why == "messaging_limit"),
    postgresql_where=sa.and_(message.c.state == "held", message.c.held_why == "messaging_limit"),
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

#: A status that came before its message's wamid was known; joined when the outcome comes, else kept as it is. `uid` is
#: that of the message it names, where the ledger has no such message: after a restore, one that went out and is planned
#: anew finds it there.
early_status = sa.Table(
    "early_status",
    metadata,
    sa.Column("wamid", sa.Text, primary_key=True),
    sa.Column("status", sa.Text, primary_key=True),
    sa.Column("status_at", sa.BigInteger, nullable=False),
    sa.Column("received_at", sa.BigInteger, nullable=False),
    sa.Column("error_code", sa.Integer),
    sa.Column("error_title", sa.Text),
    sa.Column("uid", sa.BigInteger),
)
sa.Index(
    "early_status_uid",
    early_status.c.uid,
    sqlite_where=early_status.c.uid.is_not(None),
    postgresql_where=early_status.c.uid.is_not(None),
)

#: A passage that may have gone on, beyond what a restored ledger knows, from this step.
doubt = sa.Table(
    "doubt",
    metadata,
    sa.Column("participant_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("step", sa.Text, nullable=False),
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
