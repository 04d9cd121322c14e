"""What came in: how far files were read, what could not be, events looked at, requests."""

import sqlalchemy as sa

from resources.tables.metadata import metadata

#: How far each landing file has been read. A file is known by name and inode; `prefix_hash` covers the `offset` bytes
#: already read (a sample, their check sum, a hash of a file that was read whole), so that a replaced file is read from
#: its start, and one that the disk spoilt is known. `line` is the number of the last line read.
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

#: What could not be read, once per (source, file, line, reason, raw). `header` is the first line of a CSV file, without
#: which its rows mean nothing. What reads in the end has no row here any more.
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
    sa.Column("header", sa.Text),
)

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

#: What a person wrote in the inbox, by its uuid: a second one with the same uuid changes nothing. `content` is JSON: a
#: free text, or a template with what fills it. Planned by the next turn as a message of no campaign; `outcome` is
#: planned, the reason for which it was not sent, or failed: then the quarantine has it.
answer = sa.Table(
    "answer",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uuid", sa.Text, nullable=False, unique=True),
    sa.Column("contact_id", sa.Text, nullable=False),
    sa.Column("sender", sa.Text, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),  # the landing file
    sa.Column("taken_at", sa.BigInteger, nullable=False),
    sa.Column("done_at", sa.BigInteger),
    sa.Column("outcome", sa.Text),
)
sa.Index(
    "answer_open",
    answer.c.id,
    sqlite_where=answer.c.done_at.is_(None),
    postgresql_where=answer.c.done_at.is_(None),
)
