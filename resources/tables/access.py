"""Who may use the API and the pages, and what a user has seen."""

import sqlalchemy as sa

from resources.tables.metadata import metadata

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
#: `digest` is of what was asked: the same key for something else is refused. A row goes after seven days, once the
#: request itself is in `request`.
idempotency = sa.Table(
    "idempotency",
    metadata,
    sa.Column("request_uuid", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("met_at", sa.BigInteger, nullable=False, index=True),
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
