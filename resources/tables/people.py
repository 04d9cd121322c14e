"""People, as far as they must be exact: the types of their properties, consent, phones that can't be reached."""

import sqlalchemy as sa

from resources.tables.metadata import metadata

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

#: Every change of consent, in the order in which it was taken in; a person's own word also where it changed nothing, so
#: that words which come in another order than they were said in end with what was said last.
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

#: Opt-outs of people who were forgotten, by a keyed hash of the phone, or of Meta's user id where there is no phone:
#: brought back into force when it comes in again. The key is in `meta` (`forget_key`).
forgotten = sa.Table(
    "forgotten",
    metadata,
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("cause", sa.Text, nullable=False),
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
